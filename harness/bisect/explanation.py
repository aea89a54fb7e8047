"""Explains why a target's outputs differ from the golden outputs: a fault that reproduces them, or an operator.

Three explanations lie outside the model and need no search, since the golden engine gives the very same wrong outputs
under them: a reset that keeps the state, slices in another order, and a single damaged output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from harness.bisect.operator_search import Divergence, OperatorSearch
from harness.bisect.reenactment import (
    Difference,
    Explanation,
    Frames,
    Outputs,
    explain_besides_reset,
    explain_by_order,
    explain_by_reset,
)
from harness.clips.clip import Clip, frames_of
from harness.clips.golden import Golden
from harness.targets.base import TensorSource
from mww.core.errors import FeatureError, GoldenError
from mww.core.progress import Progress, no_progress
from mww.esphome.contract import FEATURES
from mww.esphome.model import Model
from mww.tflite.model_file import read_model

_REPEATS: Final = 2
"""How often a clip with wrong outputs is repeated from the initial state."""
_CHANCE: Final = 3
"""With up to this many wrong outputs, an order of slices may reproduce them by chance."""
_UNSTEADY: Final = "the same frames give other outputs from run to run"


@dataclass(frozen=True, slots=True)
class BisectResult:
    """The result of a bisection.

    Attributes:
        model_sha256: Of the `.tflite`.
        clips: Number of clips that were compared, up to the first that differs.
        inferences: And their inferences; the first clip runs twice, so that there is always a reset between two.
        clip: The first clip whose outputs, or with `inside` inner results, differ; None where all agree.
        first_mismatch: Its first inference with another output, from 0; None where only inner results differ.
        mismatches: How many of its outputs differ.
        explanation: Why; None where all agree.
        divergence: The operator's result that differs first; None where the cause is another.
        remarks: What else the target was seen to do otherwise than it should.
        refused: Operators that the target could not be asked about, each with its reason.
        examined: Results of operators that were compared.
        copies: Changed copies of the model that the target was given.
        target: What was asked, with its versions.
        golden: What it was compared with.
    """

    model_sha256: str
    clips: int
    inferences: int
    clip: str | None
    first_mismatch: int | None
    mismatches: int
    explanation: Explanation | None
    divergence: Divergence | None
    remarks: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]
    examined: int
    copies: int
    target: Mapping[str, str]
    golden: Mapping[str, str]


def bisect(
    model: Model,
    clips: Sequence[Clip],
    target: TensorSource,
    golden: TensorSource,
    progress: Progress = no_progress,
    *,
    inside: bool = False,
    recorded: Golden | None = None,
) -> BisectResult:
    """Explain the first clip whose outputs on `target` are not `golden`'s.

    With `inside`, where all outputs agree, look for the first clip with an inner result that differs and reaches none.
    With `recorded`, which the clips are from, `golden` is first held against what it has.

    Raises:
        GoldenError: `golden` does not compute what was recorded.
        FeatureError: The clips have no whole frame.
        MwwError: A clip cannot be read, or a source fails on the model as it is, or is lost.
    """
    compared, difference = _first_difference(model, clips, target, golden, progress, recorded)
    if not compared.inferences:
        raise FeatureError("no clip has a whole frame", hint=f"the model takes {model.stride} slices at once")
    clip, explanation, search = None, None, None
    if difference is not None:
        inquiry = _Inquiry(model, difference, target, golden)
        clip, explanation, search = difference.clip, inquiry.explain(progress), inquiry.search
    elif inside:
        clip, search = _look_inside(model, clips, target, golden, progress)
        explanation = _hidden(search.found) if search and search.found else None
    return BisectResult(
        model_sha256=model.sha256,
        clips=compared.clips,
        inferences=compared.inferences,
        clip=clip,
        first_mismatch=difference.first if difference else None,
        mismatches=len(difference.wrong) if difference else 0,
        explanation=explanation,
        divergence=search.found if search else None,
        remarks=target.remarks(),
        refused=tuple(search.refused) if search else (),
        examined=search.examined if search else 0,
        copies=search.copies if search else 0,
        target=target.versions(),
        golden=golden.versions(),
    )


def _look_inside(
    model: Model, clips: Sequence[Clip], target: TensorSource, golden: TensorSource, progress: Progress
) -> tuple[str | None, OperatorSearch | None]:
    """The first clip with an inner result that differs, and its search; the last search where all agree."""
    search: OperatorSearch | None = None
    file = read_model(model.content)
    for clip in clips:
        frames = frames_of([clip], model.stride)
        search = OperatorSearch(file, frames, target, golden)
        search.run(len(frames), progress, every=True)
        if search.found is not None:
            return clip.name, search
    return None, search


@dataclass(frozen=True, slots=True)
class _Compared:
    """Counts of what was streamed."""

    clips: int
    inferences: int


def _first_difference(
    model: Model,
    clips: Sequence[Clip],
    target: TensorSource,
    golden: TensorSource,
    progress: Progress,
    recorded: Golden | None,
) -> tuple[_Compared, Difference | None]:
    """Stream the clips, the first one twice, so that there is always a reset between two."""
    for source in (target, golden):
        source.load(model.content)
    before = [np.empty((0, model.stride, FEATURES), np.int8)]
    loudest = _Loudest()
    for number, clip in enumerate((*clips[:1], *clips)):
        frames = frames_of([clip], model.stride)
        for source in (target, golden):
            source.reset()
        result, expected = target.outputs(frames), golden.outputs(frames)
        progress("clips", number + 1, len(clips) + 1)
        if recorded is not None and not np.array_equal(expected, recorded.outputs(clip.name)):
            raise _stale(recorded, clip, golden)
        if not np.array_equal(result, expected):
            compared = _Compared(max(number, 1), sum(map(len, before)) + len(frames))
            return compared, Difference(clip.name, frames, result, expected, np.concatenate(before))
        before.append(frames)
        loudest.hear(clip, frames, expected)
    compared = _Compared(len(clips), sum(map(len, before)))
    return compared, _reset_in_the_middle(loudest, np.concatenate(before), target, golden)


class _Loudest:
    """The clip with the highest output, and the index of that output."""

    def __init__(self) -> None:
        self.clip, self.frames, self.at = "", np.empty((0, 1, FEATURES), np.int8), 0
        self._highest = -1

    def hear(self, clip: Clip, frames: Frames, outputs: Outputs) -> None:
        """Keep a clip if its output is higher than all before."""
        if len(outputs) and int(outputs.max()) > self._highest:
            self.clip, self.frames, self.at = clip.name, frames, int(outputs.argmax())
            self._highest = int(outputs.max())


def _reset_in_the_middle(
    loudest: _Loudest, before: Frames, target: TensorSource, golden: TensorSource
) -> Difference | None:
    """Check a reset where the state matters most: silence at the ends of clips hides a reset without effect."""
    if not len(loudest.frames):
        return None
    ahead, rest = loudest.frames[: loudest.at + 1], loudest.frames[loudest.at :]
    for source in (target, golden):
        source.reset()
        source.outputs(ahead)
        source.reset()
    result, expected = target.outputs(rest), golden.outputs(rest)
    if np.array_equal(result, expected):
        return None
    name = f"{loudest.clip} from inference {loudest.at} on, after a reset there,"
    return Difference(name, rest, result, expected, np.concatenate([before, ahead]))


def _stale(recorded: Golden, clip: Clip, golden: TensorSource) -> GoldenError:
    reported = golden.versions()
    now = f"{reported['engine']} {reported[reported['engine']]}"
    return GoldenError(
        f"{now} computes other outputs for {clip.name} than {recorded.path} has",
        hint="bisect with --features or --wav; if the new outputs are right, mww record makes the golden anew",
    )


class _Inquiry:
    """The explanations in order: first faults outside the model, which need no search, then operators, then the rest.

    Attributes:
        search: The search among the operators; None where no search was needed.
    """

    def __init__(self, model: Model, difference: Difference, target: TensorSource, golden: TensorSource) -> None:
        self._model, self._difference, self._target, self._golden = model, difference, target, golden
        self.search: OperatorSearch | None = None

    def explain(self, progress: Progress) -> Explanation:
        """The first explanation that fits."""
        difference = self._difference
        if (explanation := explain_by_reset(difference, self._golden)) is not None:
            return explanation
        runs = [difference.found, *(self._run() for _ in range(_REPEATS))]
        wrong = [run for run in runs if not np.array_equal(run, difference.expected)]
        if len(wrong) == 1:
            return self._partial_reset() or explain_besides_reset(difference, self._golden) or _passing(len(runs))
        # Chance may reproduce a few wrong outputs, so a wrong operator comes first.
        if len(difference.wrong) > _CHANCE and (explanation := explain_by_order(difference, self._golden)) is not None:
            return explanation
        steady = all(np.array_equal(run, runs[0]) for run in runs)
        self.search = OperatorSearch(read_model(self._model.content), difference.frames, self._target, self._golden)
        self.search.run(difference.first + 1, progress, every=not steady)
        if (result := self.search.found) is not None:
            return _by_operator(result, steady=steady)
        self._golden.load(self._model.content)
        unexplained = _unexplained(len(self.search.refused), steady=steady)
        return explain_besides_reset(difference, self._golden) or unexplained

    def _run(self) -> Outputs:
        """The clip's outputs after the model is opened again."""
        self._target.load(self._model.content)
        return self._target.outputs(self._difference.frames)

    def _partial_reset(self) -> Explanation | None:
        """An incomplete reset: right after the model is opened again, wrong after the same clips again."""
        difference, target = self._difference, self._target
        if not len(difference.before):
            return None
        target.load(self._model.content)
        target.outputs(difference.before)
        target.reset()
        if not np.array_equal(target.outputs(difference.frames), difference.found):
            return None
        message = (
            "the reset between two clips restores only a part of the streaming state: after the model is reopened "
        )
        return Explanation("reset", f"{message}the clip is right, and after other clips it is wrong again")


def _passing(runs: int) -> Explanation:
    message = f"it happened in one run of {runs}, and not again: look at power, memory and clock of the board"
    return Explanation("passing", message)


def _by_operator(result: Divergence, *, steady: bool) -> Explanation:
    message = f"{result.op}, operator {result.operator}, is the first whose result differs"
    if steady:
        return Explanation("operator", message)
    return Explanation("unsteady", f"{_UNSTEADY}; {message}: it reads memory that nobody has written, or races")


def _hidden(result: Divergence) -> Explanation:
    message = (
        f"{result.op}, operator {result.operator}, is the first whose result differs; it reaches no output of this clip"
    )
    return Explanation("operator", message)


def _unexplained(refused: int, *, steady: bool) -> Explanation:
    if refused:
        message = f"no operator gave another result, but {refused} of them could not be read"
    else:
        message = (
            "every operator's own result is right once all of them are kept in memory: something writes over the "
            "tensor arena, or the output is damaged behind the model"
        )
    if steady:
        return Explanation("unknown", f"it happens again, and {message}")
    return Explanation("unsteady", f"{_UNSTEADY}, and {message}")
