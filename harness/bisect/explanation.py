"""Why a target's outputs are not the golden ones: an explanation that reproduces them, or the operator that differs.

Three explanations lie outside the model and need no search, since the golden engine gives the very same wrong outputs
under them: a reset that keeps the state, slices in another order, and a single damaged output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from exporter.contract import FEATURES
from exporter.model_file import read_model
from harness.bisect.operator_search import Divergence, Frames, OperatorSearch
from harness.bisect.probing import TensorSource
from harness.clips.clip import Clip
from harness.model import Model

Outputs = npt.NDArray[np.uint8]

Cause = Literal["operator", "reset", "slice-order", "output", "passing", "unknown"]
"""`operator`: its result differs; `reset`: the state outlives a reset; `slice-order`: slices reach the model in another
order; `output`: a result was damaged behind the model; `passing`: it did not happen again; `unknown`: none of these."""

_MEMORY: Final = 120
"""Frames back from a wrong output in which an exchange of slices is looked for: more than any model remembers."""
_LONGEST: Final = 4000
"""Frames of a clip, two minutes, beyond which an exchange in a single frame is not looked for: that takes too long."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """A cause, in a sentence."""

    cause: Cause
    account: str


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


@dataclass(frozen=True, slots=True)
class _Difference:
    """A clip that went wrong; `before` are the frames of all that was streamed since the model was loaded."""

    clip: str
    frames: Frames
    found: Outputs
    expected: Outputs
    before: Frames

    @property
    def first(self) -> int:
        return int(np.flatnonzero(self.found != self.expected)[0])


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
    explanation = _outside_the_model(difference, golden)
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
) -> _Difference | None:
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
            return _Difference(clip.name, frames, found, expected, before)
        before = np.concatenate([before, frames])
    return None


def _frames(clip: Clip, stride: int) -> Frames:
    slices = np.concatenate([np.empty((0, FEATURES), np.int8), *clip.blocks()])
    whole = len(slices) - len(slices) % stride
    frames: Frames = slices[:whole].reshape(-1, stride, FEATURES)
    return frames


def _outside_the_model(difference: _Difference, golden: TensorSource) -> Explanation | None:
    """What reproduces every output of the clip with kernels that are right."""
    if len(difference.before):
        golden.reset()
        golden.outputs(difference.before)
        if np.array_equal(golden.outputs(difference.frames), difference.found):
            said = "the reset between two clips does not put the streaming state back: it goes on from the clip before"
            return Explanation("reset", said)
    for frames, account in _reorderings(difference):
        if _gives(golden, frames, difference.found, difference.first + 1) and _gives(golden, frames, difference.found):
            return Explanation("slice-order", account)
    wrong = np.flatnonzero(difference.found != difference.expected)
    if len(wrong) == 1:
        found, expected = int(difference.found[wrong[0]]), int(difference.expected[wrong[0]])
        bits = (found ^ expected).bit_count()
        said = (
            f"one output alone is wrong, {found} for {expected} ({bits} of its bits), and no later one: the model ran"
        )
        return Explanation("output", f"{said} rightly, and the result was damaged behind it")
    return None


def _gives(golden: TensorSource, frames: Frames, outputs: Outputs, count: int | None = None) -> bool:
    """Whether the golden engine makes these outputs of these frames; of the first `count`, to be quick."""
    golden.reset()
    return np.array_equal(golden.outputs(frames[:count]), outputs[:count])


def _reorderings(difference: _Difference) -> Iterator[tuple[Frames, str]]:
    """The clip with its slices in other orders: in every frame, then in a single one."""
    frames, first = difference.frames, difference.first
    orders = _orders(frames.shape[1])
    for order in orders:
        yield frames[:, order], f"the slices of every frame reach the model in the order {order}"
    if len(frames) > _LONGEST:
        return
    for index in range(first, max(-1, first - _MEMORY), -1):
        for order in orders:
            changed = frames.copy()
            changed[index] = frames[index, order]
            if not np.array_equal(changed, frames):
                yield changed, f"the slices of frame {index} reach the model in the order {order}"


def _orders(stride: int) -> list[list[int]]:
    """Every other order of a frame's slices; of long frames, every exchange of two."""
    straight = list(range(stride))
    if stride <= 4:
        return [list(order) for order in permutations(straight)][1:]
    return [
        [two if at == one else one if at == two else at for at in straight] for one, two in combinations(straight, 2)
    ]


def _by_operator(found: Divergence) -> Explanation:
    return Explanation("operator", f"{found.op}, operator {found.operator}, is the first whose result differs")


def _once_more(model: Model, difference: _Difference, target: TensorSource) -> Explanation:
    """Stream the clip again where no operator is to blame."""
    target.load(model.content)
    if np.array_equal(target.outputs(difference.frames), difference.expected):
        said = "it did not happen again, and no operator differs: look at power, memory and clock of the board"
        return Explanation("passing", said)
    return Explanation("unknown", "it happens again, but no operator's own result differs up to there")
