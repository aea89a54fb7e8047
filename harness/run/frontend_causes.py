"""What is wrong with a target's front-end: an error that gives the very same features, or else where they part.

The side behind the front-end is judged too: whether the model, given these features, did what the golden engine does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from harness.bisect.reenactment import Streamer
from harness.clips.clip import AudioClip, Clip
from harness.run.results import ClipResult, Problem
from mww.core.errors import MwwError
from mww.esphome.contract import FEATURES, SAMPLE_RATE
from mww.esphome.frontend import Slices
from mww.esphome.frontend_errors import FrontendError, known_errors
from mww.esphome.model import Model

_SEARCHED: Final = 3
"""Clips for which every error is tried; the others are taken to have the cause of one of them."""
_SHOWN: Final = 3_000
"""Slices of a clip that must be the same: half a minute."""
_HISTORY: Final = 60
"""Seconds of sound before a clip: more than a noise estimate remembers."""


@dataclass(frozen=True, slots=True)
class Misheard:
    """A clip whose features the target made otherwise, after the clips `before` since its front-end began."""

    clip: Clip
    result: ClipResult
    before: tuple[Clip, ...]


def name_frontend_causes(model: Model, misheard: Sequence[Misheard], golden: Streamer | None) -> list[Problem]:
    """Say what is wrong with the front-end, each cause once; without a `golden`, nothing about the model behind it."""
    causes: dict[tuple[str, str], list[Misheard]] = {}
    for item in misheard[:_SEARCHED]:
        causes.setdefault(_cause(model, item, golden), []).append(item)
    if len(misheard) > _SEARCHED:
        last = list(causes)[-1]  # only the first clip has no other before it
        causes[last].extend(misheard[_SEARCHED:])
    return [
        Problem(
            code="frontend",
            clips=tuple(item.clip.name for item in members),
            inference=_first_inference(model, members[0]),
            message=message,
            hint=hint,
        )
        for (message, hint), members in causes.items()
    ]


def _cause(model: Model, item: Misheard, golden: Streamer | None) -> tuple[str, str]:
    """What is wrong, in a sentence, and where to look."""
    error = _recognised(model, item)
    behind = _behind(model, item, golden)
    if error is not None:
        return f"the front-end {error.account}{behind}", f"look at {error.look_at}"
    first = item.result.features.first_mismatch if item.result.features else None
    at = "" if first is None else f" from slice {first.slice} on"
    return (
        f"the front-end makes other features of the same sound{at}{behind}",
        "look at FrontendConfig, and at the samples in front of it: level, width, byte order, gaps",
    )


def _recognised(model: Model, item: Misheard) -> FrontendError | None:
    """The first known error with the very same features; None without one."""
    slices = item.result.trace.features
    if slices is None or not isinstance(item.clip, AudioClip):
        return None
    slices = slices[:_SHOWN]
    try:
        sound, before = _sound([item.clip], len(slices)), _sound(item.before, None)
    except MwwError:  # the clip is gone: the run stands without an explanation
        return None
    for error in known_errors(model.feature_step_size):
        made = error.features(sound, before, model.feature_step_size)[: len(slices)]
        if len(slices) and np.array_equal(made, slices):
            return error
    return None


def _sound(clips: Iterable[Clip], slices: int | None) -> bytes:
    """The sound of clips one behind the other, enough for so many slices; the last minute where all is wanted."""
    most = None if slices is None else (slices + 3) * SAMPLE_RATE * 2 * 30 // 1000
    blocks = bytearray()
    for clip in clips:
        for samples, _ in clip.sound() if isinstance(clip, AudioClip) else ():
            blocks += samples
            if most is not None and len(blocks) >= most:
                return bytes(blocks)
            if most is None:
                del blocks[: max(0, len(blocks) - _HISTORY * SAMPLE_RATE * 2)]
    return bytes(blocks)


def _behind(model: Model, item: Misheard, golden: Streamer | None) -> str:
    """What the golden engine makes of the target's own features, against what the target made."""
    slices, outputs = item.result.trace.features, item.result.trace.outputs
    if golden is None or slices is None:
        return ""
    frames = _frames(slices, model.stride)
    try:
        golden.reset()
        expected = golden.outputs(frames)
    except MwwError:
        return ""
    if np.array_equal(expected, outputs[: len(expected)]):
        return "; behind it all is right: the outputs are those of the features that it made"
    return "; behind it something is wrong too: the outputs are not those of the features that it made"


def _frames(slices: Slices, stride: int) -> Slices:
    return slices[: len(slices) // stride * stride].reshape(-1, stride, FEATURES)


def _first_inference(model: Model, item: Misheard) -> int | None:
    first = item.result.features.first_mismatch if item.result.features else None
    return None if first is None else first.slice // model.stride
