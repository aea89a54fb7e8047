"""The probability cutoff from labelled clips: the device's own model and rule, at every cutoff that a byte can say.

The model runs once over each clip; what counts as a detection is `mww.esphome.detection`'s, what the counts say is
`harness.run.evaluation.statistics`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.clips.clip import Clip, audio_clips, check_step
from harness.run.evaluation.labels import LABELS, Label
from harness.run.evaluation.statistics import LabelledOutputs, Rule, SweepPoint, sweep
from harness.run.streaming import Feed
from harness.targets.emulator import EmulatorTarget
from mww.core.errors import InputError, MwwError, UsageError
from mww.core.progress import Progress, no_progress
from mww.esphome.model import Model, model_of

DEFAULT_TARGET_RECALL: Final = 0.9
LEAD_IN: Final = 1.0
"""Seconds of silence in front of each clip: ESPHome detects nothing in the first second."""

_BYTES: Final = range(256)


class CutoffError(MwwError):
    """No cutoff gives the recall that is wanted."""

    code = "cutoff"
    exit_code = 1


@dataclass(frozen=True, slots=True)
class CutoffChoice:
    """A cutoff, and what it was chosen from.

    Attributes:
        cutoff: What the manifest says; `int(cutoff * 255)` is `cutoff_byte`.
        cutoff_byte: What the device compares with.
        target_recall: The recall that was asked for.
        at: Recall and false accepts at this cutoff, with their exact intervals.
        sweep: The same at each of the 256 bytes.
    """

    cutoff: float
    cutoff_byte: int
    target_recall: float
    at: SweepPoint
    sweep: tuple[SweepPoint, ...]


def choose_cutoff(
    model: Model,
    folder: Path,
    *,
    target_recall: float = DEFAULT_TARGET_RECALL,
    progress: Progress = no_progress,
) -> CutoffChoice:
    """Choose the cutoff with the fewest false accepts among those that reach a recall; of equals, the highest.

    Args:
        model: Its window, step and stride make the rule; its own cutoff does not matter.
        folder: Holds WAV files in `positive/` and `negative/`.
        target_recall: Part of the positive clips that must be detected, above 0, at most 1.
        progress: Called with what is done, clips done and clips in all.

    Raises:
        UsageError: `target_recall` is out of range.
        InputError: The folder lacks one kind of clip, or a clip cannot be read.
        EngineError: The model does not run.
        CutoffError: No cutoff reaches the recall.
    """
    if not 0 < target_recall <= 1:
        raise UsageError(f"a target recall of {target_recall}", hint="above 0, at most 1")
    clips = [(clip, Label(kind)) for kind in LABELS.values() for clip in _clips(folder / kind)]
    check_step(model.feature_step_size, (clip for clip, _ in clips))
    recorded = _record(model, clips, progress)
    rule = Rule(model.sliding_window_size, model.stride, model.feature_step_size)
    points = sweep(recorded, rule, _BYTES)
    at = _choose(points, target_recall)
    return CutoffChoice(at.cutoff, at.cutoff_byte, target_recall, at, points)


def cutoff_chooser(
    folder: Path,
    *,
    target_recall: float = DEFAULT_TARGET_RECALL,
    progress: Progress = no_progress,
) -> Callable[[bytes, int, int], CutoffChoice]:
    """Make the callable that `export_to_tflite` takes.

    It is called with the bytes of the `.tflite`, the sliding window and the milliseconds a slice.
    """

    def choose(content: bytes, sliding_window_size: int, feature_step_size: int) -> CutoffChoice:
        model = model_of(content, sliding_window_size=sliding_window_size, feature_step_size=feature_step_size)
        return choose_cutoff(model, folder, target_recall=target_recall, progress=progress)

    return choose


def _choose(points: Sequence[SweepPoint], target_recall: float) -> SweepPoint:
    reaching = [point for point in points if (point.recall.value or 0.0) >= target_recall]
    if not reaching:
        best = max(points, key=lambda point: (point.recall.hits, point.cutoff_byte))
        said = f"no cutoff gives a recall of {target_recall}: {best.recall.hits} of {best.recall.trials} clips are "
        said += f"detected at most, at {best.cutoff}"
        raise CutoffError(said, hint="a lower --target-recall, or clips in which the wake word is said as in training")
    return min(reaching, key=lambda point: (point.false_accepts.count, -point.cutoff_byte))


def _clips(folder: Path) -> Sequence[Clip]:
    if not folder.is_dir():
        hint = "WAV files with the wake word in positive/, others in negative/"
        raise InputError(f"there is no folder {folder}", hint=hint)
    return audio_clips([folder], lead_in=LEAD_IN)


def _record(model: Model, clips: Sequence[tuple[Clip, Label]], progress: Progress) -> list[LabelledOutputs]:
    recorded = []
    with EmulatorTarget() as target:
        target.load(model)
        feed = Feed(target, model.stride)
        for clip, label in clips:
            slices = 0
            feed.start()
            for block in clip.blocks():
                slices += len(block)
                feed.push(block)
            seconds = max(0.0, slices * model.feature_step_size / 1000 - clip.lead_in)
            recorded.append(LabelledOutputs(clip.name, label, feed.outputs, seconds, clip.lead_in))
            progress("cutoff", len(recorded), len(clips))
    return recorded
