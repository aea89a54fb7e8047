"""Chooses the probability cutoff from labelled clips, with the device's own model and rule at every cutoff byte.

The model runs once over each clip; `mww.esphome.detection` defines a detection, and `harness.run.evaluation.statistics`
the figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from math import inf
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from harness.clips.clip import Clip
from harness.clips.sources import open_folders
from harness.engines.opening import golden_engine
from harness.run.evaluation.labels import LABELS, Label, LabelKind, labels_from_names, read_labels
from harness.run.evaluation.statistics import LabelledOutputs, Rule, SweepPoint, sweep
from harness.run.streaming import Block, Feed, whole_frames
from harness.targets.emulator import EmulatorTarget
from mww.core.errors import InputError, MwwError, UsageError
from mww.core.progress import Progress, no_progress
from mww.core.readable import is_folder
from mww.esphome.contract import FEATURES
from mww.esphome.frontend import Slices
from mww.esphome.model import Model, model_of

DEFAULT_TARGET_RECALL: Final = 0.9
LEAD_IN: Final = 1.0
"""Seconds of silence in front of each clip: ESPHome detects nothing in the first second."""

NEEDED: Final[tuple[LabelKind, ...]] = ("positive", "negative")
"""The kinds of clips that are needed; near misses are only counted."""

_BYTES: Final = range(256)
LINE: Final = 60_000
"""Slices of short clips that run together, ten minutes; a longer clip runs block by block."""

LEVELS: Final = {"slightly": 0.0, "moderately": 0.375, "very": 0.75}
"""Sensitivities with the names of the Home Assistant Voice PE, and the most false accepts an hour for each: the figures
beside okay_nabu's three cutoffs in its configuration (`home-assistant-voice.yaml`: 0, 0.376 and 0.751).
"""
HOURS_FOR_LEVELS: Final = 1 / LEVELS["moderately"]
"""Hours of negative clips in which a single false accept is within the middle level's limit."""


class CutoffError(MwwError):
    """No cutoff meets the requirement."""

    code = "cutoff"
    exit_code = 1


@dataclass(frozen=True, slots=True)
class CutoffChoice:
    """A cutoff, and the sweep behind it.

    Attributes:
        cutoff: The value for the manifest; `int(cutoff * 255)` is `cutoff_byte`.
        cutoff_byte: The byte that the device compares with.
        target_recall: The required recall; None where false accepts were limited.
        max_false_accepts_per_hour: The limit; None where a recall was.
        at: Recall and false accepts at this cutoff, with their exact intervals.
        sweep: The same at each of the 256 bytes.
    """

    cutoff: float
    cutoff_byte: int
    target_recall: float | None
    max_false_accepts_per_hour: float | None
    at: SweepPoint
    sweep: tuple[SweepPoint, ...]

    @property
    def levels_differ(self) -> bool:
        """Whether the negative clips are long enough to separate the levels."""
        return self.at.false_accepts.hours >= HOURS_FOR_LEVELS

    @property
    def levels(self) -> dict[str, SweepPoint]:
        """For each of `LEVELS`, the lowest cutoff within its limit of false accepts; absent where no cutoff is.

        Negative clips that are too short say little about low cutoffs: then it is the highest of the cutoffs with the
        highest recall.
        """
        result = {name: self._level(limit) for name, limit in LEVELS.items()}
        return {name: point for name, point in result.items() if point is not None}

    def _level(self, limit: float) -> SweepPoint | None:
        best = _most_sensitive(self.sweep, limit)
        if best is None or not self.levels_differ:
            return best
        recalling = [point for point in self.sweep if point.recall.hits and _rate(point) <= limit]
        return min(recalling, key=lambda point: point.cutoff_byte, default=best)


def choose_cutoff(
    model: Model,
    folder: Path,
    *,
    target_recall: float | None = None,
    max_false_accepts_per_hour: float | None = None,
    lead_in: float = LEAD_IN,
    labels: Path | None = None,
    progress: Progress = no_progress,
) -> CutoffChoice:
    """Choose the cutoff with the fewest false accepts among those that reach a recall; among equals, the highest.

    With `max_false_accepts_per_hour`, it is the cutoff with the highest recall within that limit; among equals, the
    highest. Without either, the recall is `DEFAULT_TARGET_RECALL`.

    Args:
        model: Its window, step and stride make the rule; its own cutoff does not matter.
        folder: Holds clips in `positive/` and `negative/`, near misses in `near-miss/`; or is the official trainer's.
        target_recall: Part of the positive clips that must be detected, above 0, at most 1.
        max_false_accepts_per_hour: Of the negative clips, 0 or more.
        lead_in: Seconds of silence in front of each clip.
        labels: A CSV file that labels the folder's clips, as `read_labels` reads it; None: by their folders.
        progress: Called with what is done, clips done and clips in all.

    Raises:
        UsageError: Both are given, or one is out of range.
        InputError: The folder does not have one kind of clip, or a clip cannot be read.
        EngineError: The model does not run.
        CutoffError: No cutoff reaches the recall, or has so few false accepts.
    """
    _check_wish(target_recall, max_false_accepts_per_hour)
    if max_false_accepts_per_hour is None and target_recall is None:
        target_recall = DEFAULT_TARGET_RECALL
    recorded = _record(model, _labelled_clips(folder, lead_in, model.feature_step_size, labels), progress)
    rule = Rule(model.sliding_window_size, model.stride, model.feature_step_size)
    points = sweep(recorded, rule, _BYTES)
    at = _reaching(points, target_recall) if target_recall is not None else None
    if max_false_accepts_per_hour is not None:
        at = _within(points, max_false_accepts_per_hour)
    assert at is not None
    return CutoffChoice(at.cutoff, at.cutoff_byte, target_recall, max_false_accepts_per_hour, at, points)


def cutoff_chooser(
    folder: Path,
    *,
    target_recall: float = DEFAULT_TARGET_RECALL,
    progress: Progress = no_progress,
) -> Callable[[bytes, int, int], CutoffChoice]:
    """Make the callable for `export_to_tflite`.

    It takes the bytes of the `.tflite`, the sliding window and the milliseconds a slice.
    """

    def choose(content: bytes, sliding_window_size: int, feature_step_size: int) -> CutoffChoice:
        model = model_of(content, sliding_window_size=sliding_window_size, feature_step_size=feature_step_size)
        return choose_cutoff(model, folder, target_recall=target_recall, progress=progress)

    return choose


def _check_wish(target_recall: float | None, max_false_accepts_per_hour: float | None) -> None:
    if target_recall is not None and max_false_accepts_per_hour is not None:
        raise UsageError("a target recall and a limit of false accepts", hint="give one of them")
    if target_recall is not None and not 0 < target_recall <= 1:
        raise UsageError(f"a target recall of {target_recall}", hint="above 0, at most 1")
    if max_false_accepts_per_hour is not None and not 0 <= max_false_accepts_per_hour < inf:
        raise UsageError(f"a limit of {max_false_accepts_per_hour} false accepts an hour", hint="0 or more")


def _reaching(points: Sequence[SweepPoint], target_recall: float) -> SweepPoint:
    reaching = [point for point in points if (point.recall.value or 0.0) >= target_recall]
    if not reaching:
        best = max(points, key=lambda point: (point.recall.hits, point.cutoff_byte))
        message = f"no cutoff gives a recall of {target_recall}: {best.recall.hits} of {best.recall.trials} clips are "
        message += f"detected at most, at {best.cutoff}"
        raise CutoffError(
            message, hint="use a lower --target-recall, or clips in which the word is spoken as in training"
        )
    return min(reaching, key=lambda point: (point.false_accepts.count, -point.cutoff_byte))


def _within(points: Sequence[SweepPoint], limit: float) -> SweepPoint:
    point = _most_sensitive(points, limit)
    if point is None or not point.recall.hits:
        least = min(points, key=lambda at: (not at.recall.hits, at.false_accepts.count))
        rate = least.false_accepts.rate or 0.0
        message = (
            f"no cutoff that detects the word has at most {limit:g} false accepts an hour: {rate:.2f} is the least"
        )
        raise CutoffError(
            message, hint="train with more negative clips, or allow more with --max-false-accepts-per-hour"
        )
    return point


def _rate(point: SweepPoint) -> float:
    return point.false_accepts.rate or 0.0


def _most_sensitive(points: Sequence[SweepPoint], limit: float) -> SweepPoint | None:
    within = [point for point in points if _rate(point) <= limit]
    return max(within, key=lambda point: (point.recall.hits, point.cutoff_byte), default=None)


def _labelled_clips(folder: Path, lead_in: float, step_ms: int, csv: Path | None) -> list[tuple[Clip, Label]]:
    """The clips of `positive/`, `near-miss/` and `negative/`, of a trainer's folder, or those that a CSV labels."""
    hint = "put clips with the wake word into positive/, others into negative/, or give --labels FILE.csv"
    if not is_folder(folder):
        raise InputError(f"the folder {folder} does not exist", hint=hint)
    below = [folder / kind for kind in LABELS if csv is None and is_folder(folder / kind)]
    clips = open_folders(below or [folder], lead_in=lead_in, step_ms=step_ms)
    names = [clip.name for clip in clips]
    labels = labels_from_names(names) if csv is None else read_labels(csv, names)[0]
    for kind in NEEDED:
        if not any(label.kind == kind for label in labels.values()):
            if csv is not None:
                raise InputError(f"{csv} labels no clip as {kind}", hint="a cutoff needs clips of both kinds")
            place = folder / kind
            state = "has no clip" if is_folder(place) else "does not exist"
            raise InputError(f"the folder {place} {state}", hint=hint)
    return [(clip, labels[clip.name]) for clip in clips if clip.name in labels]


def _record(model: Model, clips: Sequence[tuple[Clip, Label]], progress: Progress) -> list[LabelledOutputs]:
    recorded = []
    with EmulatorTarget(golden_engine(model.content)) as target:
        target.load(model)
        outputs = _outputs(target, model.stride, [clip for clip, _ in clips])
        for (clip, label), (slices, given) in zip(clips, outputs, strict=True):
            seconds = max(0.0, slices * model.feature_step_size / 1000 - clip.lead_in)
            recorded.append(LabelledOutputs(clip.name, label, given, seconds, clip.lead_in))
            progress("cutoff", len(recorded), len(clips))
    return recorded


def _outputs(target: EmulatorTarget, stride: int, clips: Sequence[Clip]) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
    """The number of slices of each clip, and its outputs; short clips run together."""
    line: list[Slices] = []
    for clip in clips:
        blocks, slices = clip.blocks(), np.empty((0, FEATURES), np.int8)
        while len(slices) < LINE and (block := next(blocks, None)) is not None:
            slices = np.concatenate([slices, block])
        if len(slices) < LINE:
            line.append(slices)
        if len(slices) >= LINE or sum(map(len, line)) >= LINE:
            yield from _together(target, stride, line)
            line = []
        if len(slices) >= LINE:
            feed, length = Feed(target, stride), 0
            feed.start()
            for block in chain([slices], blocks):
                length += len(block)
                feed.push(Block(block))
            yield length, feed.outputs
    yield from _together(target, stride, line)


def _together(
    target: EmulatorTarget, stride: int, clips: Sequence[Slices]
) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
    frames = [whole_frames(slices, stride) for slices in clips]
    yield from zip(map(len, clips), target.infer_clips(frames), strict=True)
