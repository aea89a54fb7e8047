"""Records a golden: features of clips, and the outputs of the device's runtime on this computer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.clips.clip import AudioClip, Clip
from harness.clips.golden import Golden, Provenance, RecordedClip, write_golden
from harness.clips.sources import ClipSource, open_clips
from harness.run.streaming import Block, Feed
from harness.targets.emulator import EmulatorTarget
from mww.core.errors import GoldenError
from mww.core.progress import Progress, no_progress
from mww.core.readable import is_there
from mww.esphome.contract import FEATURES
from mww.esphome.frontend import Slices, frontend_version
from mww.esphome.model import Model


@dataclass(frozen=True, slots=True)
class RecordedSummary:
    """A clip of a golden, without its arrays.

    Attributes:
        name: The clip's.
        slices: Number of slices of its features.
        inferences: Number of whole frames.
        outputs_sha256: sha256 of the uint8 outputs.
        changed: Outputs that differ from those in the golden that is replaced; None where it has no such clip, of that
            length.
        former: Number of outputs of the clip in the golden that is replaced; None where it has no such clip.
    """

    name: str
    slices: int
    inferences: int
    outputs_sha256: str
    changed: int | None
    former: int | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """The result of a recording.

    Attributes:
        path: The golden.
        provenance: Its origin.
        clips: Its clips.
        replaced: The origin of the golden that it replaces; None where there was no golden.
        removed: Clips of that golden that are not in the new one.
    """

    path: Path
    provenance: Provenance
    clips: tuple[RecordedSummary, ...]
    replaced: Provenance | None = None
    removed: tuple[str, ...] = ()


def record(
    model: Model,
    clips: ClipSource,
    output: Path,
    *,
    lead_in: float = 0.0,
    progress: Progress = no_progress,
) -> Recorded:
    """Write the golden of a model for clips: each clip runs from the initial state.

    Args:
        model: The model to record.
        clips: As for `harness.check.check`; a golden's features are recorded again.
        output: The file to write; an existing file is replaced.
        lead_in: Seconds of digital silence in front of each WAV.
        progress: Called with the model's name, clips done and clips in all.

    Raises:
        MwwError: A clip cannot be read or run, or the golden not be written; then nothing is.
    """
    summaries: list[RecordedSummary] = []
    with ExitStack() as stack:
        chosen, former = open_clips(clips, lead_in, stack, model.feature_step_size)
        target = stack.enter_context(EmulatorTarget())
        target.load(model)
        info = target.info()
        audio = [frontend_version()] if isinstance(chosen[0], AudioClip) else []
        provenance = Provenance(
            model=model.name,
            model_sha256=model.sha256,
            stride=model.stride,
            engine=info.engine,
            versions=(*info.versions, *audio),
            lead_in=former.provenance.lead_in if former else chosen[0].lead_in,
        )

        replaced = _open_replaced(output, stack)

        def recorded() -> Iterator[RecordedClip]:
            feed = Feed(target, model.stride)
            for clip in chosen:
                done = _record(clip, feed)
                yield done
                summaries.append(_summary(done, replaced))
                progress(model.name, len(summaries), len(chosen))

        write_golden(output, provenance, recorded())
        names = {clip.name for clip in summaries}
        removed = tuple(clip.name for clip in (replaced.clips if replaced else ()) if clip.name not in names)
    return Recorded(output, provenance, tuple(summaries), replaced.provenance if replaced else None, removed)


def _open_replaced(output: Path, stack: ExitStack) -> Golden | None:
    """The existing golden, which will be replaced; None where it cannot be read."""
    if not is_there(output):
        return None
    try:
        golden = Golden.open(output)
    except GoldenError:
        return None
    stack.callback(golden.close)
    return golden


def _record(clip: Clip, feed: Feed) -> RecordedClip:
    feed.start()
    blocks: list[Slices] = [np.empty((0, FEATURES), np.int8)]
    for block in clip.blocks():
        feed.push(Block(block))
        blocks.append(block)
    return RecordedClip(clip.name, np.concatenate(blocks), feed.outputs)


def _summary(clip: RecordedClip, replaced: Golden | None) -> RecordedSummary:
    changed, count = None, None
    if replaced is not None and clip.name in {former.name for former in replaced.clips}:
        former = replaced.outputs(clip.name)
        count = len(former)
        changed = int((former != clip.outputs).sum()) if count == len(clip.outputs) else None
    digest = hashlib.sha256(clip.outputs.tobytes()).hexdigest()
    return RecordedSummary(clip.name, len(clip.features), len(clip.outputs), digest, changed, count)
