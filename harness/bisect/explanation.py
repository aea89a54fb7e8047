"""Why a target's outputs are not the golden ones: an explanation that reproduces them, or the operator that differs.

Three explanations lie outside the model and need no search, since the golden engine gives the very same wrong outputs
under them: a reset that keeps the state, slices in another order, and a single damaged output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from exporter.contract import FEATURES
from exporter.model_file import read_model
from harness.bisect.operator_search import Divergence, Frames, OperatorSearch
from harness.bisect.probing import TensorSource
from harness.bisect.reenactment import Difference, Explanation, explain_outside
from harness.clips.clip import Clip
from harness.model import Model


@dataclass(frozen=True, slots=True)
class BisectResult:
    """What was found.

    Attributes:
        model_sha256: Of the `.tflite`.
        clip: The first clip whose outputs differ; None where all agree.
        first_mismatch: Its first inference with another output, from 0.
        explanation: Why; None where all agree.
        divergence: The operator's result that differs first; None where the cause is another.
        refused: Operators that the target could not be asked about, each with its reason.
        examined: Operators that were compared.
        target: What was asked, with its versions.
        golden: What it was compared with.
    """

    model_sha256: str
    clip: str | None
    first_mismatch: int | None
    explanation: Explanation | None
    divergence: Divergence | None
    refused: tuple[tuple[str, str], ...]
    examined: int
    target: Mapping[str, str]
    golden: Mapping[str, str]


def bisect(
    model: Model,
    clips: Sequence[Clip],
    target: TensorSource,
    golden: TensorSource,
    progress: Callable[[str, int, int], None] = lambda description, done, total: None,
) -> BisectResult:
    """Explain the first clip whose outputs on `target` are not `golden`'s.

    Raises:
        MwwError: A clip cannot be read, or a source fails on the model as it is.
    """
    difference = _first_difference(model, clips, target, golden)
    told = (target.versions(), golden.versions())
    if difference is None:
        return BisectResult(model.sha256, None, None, None, None, (), 0, *told)
    explanation = explain_outside(difference, golden)
    search = OperatorSearch(read_model(model.content), difference.frames[: difference.first + 1], target, golden)
    found = None if explanation else search.run(progress)
    if explanation is None:
        explanation = _by_operator(found) if found else _once_more(model, difference, target)
    return BisectResult(
        model_sha256=model.sha256,
        clip=difference.clip,
        first_mismatch=difference.first,
        explanation=explanation,
        divergence=found,
        refused=tuple(search.refused),
        examined=search.examined,
        target=told[0],
        golden=told[1],
    )


def _first_difference(
    model: Model, clips: Sequence[Clip], target: TensorSource, golden: TensorSource
) -> Difference | None:
    """Stream the clips, the first one twice, so that there is always a reset between two."""
    for source in (target, golden):
        source.load(model.content)
    before = np.empty((0, model.stride, FEATURES), np.int8)
    for clip in (*clips[:1], *clips):
        frames = _frames(clip, model.stride)
        for source in (target, golden):
            source.reset()
        found, expected = target.outputs(frames), golden.outputs(frames)
        if not np.array_equal(found, expected):
            return Difference(clip.name, frames, found, expected, before)
        before = np.concatenate([before, frames])
    return None


def _frames(clip: Clip, stride: int) -> Frames:
    slices = np.concatenate([np.empty((0, FEATURES), np.int8), *clip.blocks()])
    whole = len(slices) - len(slices) % stride
    frames: Frames = slices[:whole].reshape(-1, stride, FEATURES)
    return frames


def _by_operator(found: Divergence) -> Explanation:
    return Explanation("operator", f"{found.op}, operator {found.operator}, is the first whose result differs")


def _once_more(model: Model, difference: Difference, target: TensorSource) -> Explanation:
    """Stream the clip again where no operator is to blame."""
    target.load(model.content)
    if np.array_equal(target.outputs(difference.frames), difference.expected):
        said = "it did not happen again, and no operator differs: look at power, memory and clock of the board"
        return Explanation("passing", said)
    return Explanation("unknown", "it happens again, but no operator's own result differs up to there")
