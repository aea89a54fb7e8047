"""The cause of a run's mismatches: a fault that reproduces them, an operator, or a description of the pattern.

A fault reproduces them where the golden engine, with that fault, gives the same wrong outputs byte for byte. An error
of the front-end does where ESPHome's front-end, with that error, gives the same wrong features.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import numpy as np

from harness.bisect.reenactment import (
    Difference,
    Explanation,
    Streamer,
    explain_besides_reset,
    explain_by_reset,
)
from harness.clips.clip import AudioClip, Clip, FeatureClip, frames_of
from harness.run.allowances import LIKELY_ROUNDING
from harness.run.judging import Observed
from harness.run.results import ClipResult, Problem, ProblemCode
from harness.targets.registry import TargetOptions, open_tensors
from mww.core.errors import MwwError
from mww.esphome.contract import FEATURES, SAMPLE_RATE
from mww.esphome.frontend import Slices
from mww.esphome.frontend_errors import FrontendError, known_errors
from mww.esphome.model import Model

_SEARCHED_FEATURES: Final = 3
"""Clips for which every front-end error is tried; the other clips are assumed to have the same cause."""
_SHOWN: Final = 3_000
"""Slices of a clip that must be equal: half a minute."""
_FEATURE_HISTORY: Final = 60
"""Seconds of sound before a clip: more than the noise estimate remembers."""

Search: TypeAlias = "Callable[[Wrong], Found | None]"
"""Searches the operator that causes a clip's wrong outputs."""

_SEARCHED: Final = 2
"""Clips for which every fault is tried; for other clips only a reset that keeps the state, which is quick."""
_LONGEST: Final = 60_000
"""Slices, ten minutes, beyond which a clip is not run again."""
_EXAMINED: Final = 20
"""Clips that are examined one by one; where all have the same cause, the other clips are assumed to have it too."""
_HISTORY: Final = 3_000
"""Slices of earlier clips that run before a clip: far more than any model remembers."""

_CODES: Final[Mapping[str, ProblemCode]] = {"reset": "reset", "slice-order": "slice-order", "output": "output"}


@dataclass(frozen=True, slots=True)
class Wrong:
    """A clip that fails on `target` by its outputs or its features.

    `before` are the clips that the target ran since it loaded the model.
    """

    clip: Clip
    result: ClipResult
    before: tuple[Clip, ...]
    target: str | None


def name_frontend_causes(model: Model, misheard: Sequence[Wrong], golden: Streamer | None) -> list[Problem]:
    """The problems of the front-end, each cause once; without a `golden`, nothing about the model after it."""
    causes: dict[tuple[str, str], list[Wrong]] = {}
    for item in misheard[:_SEARCHED_FEATURES]:
        causes.setdefault(_cause(model, item, golden), []).append(item)
    if len(misheard) > _SEARCHED_FEATURES:
        last = list(causes)[-1]  # only the first clip has none before it
        causes[last].extend(misheard[_SEARCHED_FEATURES:])
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


def _cause(model: Model, item: Wrong, golden: Streamer | None) -> tuple[str, str]:
    """The problem, in a sentence, and where to look."""
    error = _recognised(model, item)
    behind = _behind(model, item, golden)
    if error is not None:
        return f"the front-end {error.account}{behind}", f"look at {error.look_at}"
    first = item.result.features.first_mismatch if item.result.features else None
    at = "" if first is None else f" from slice {first.slice} on"
    return (
        f"the front-end gives different features for the same sound{at}{behind}",
        "check FrontendConfig and the samples before it: level, width, byte order, gaps",
    )


def _recognised(model: Model, item: Wrong) -> FrontendError | None:
    """The first known error that gives the same features; None without such an error."""
    slices = item.result.trace.features
    if slices is None or not isinstance(item.clip, AudioClip):
        return None
    slices = slices[:_SHOWN]
    try:
        sound, before = _sound([item.clip], len(slices)), _sound(item.before, None)
    except MwwError:  # the clip is gone: the run is complete without an explanation
        return None
    for error in known_errors(model.feature_step_size):
        made = error.features(sound, before, model.feature_step_size)[: len(slices)]
        if len(slices) and np.array_equal(made, slices):
            return error
    return None


def _sound(clips: Iterable[Clip], slices: int | None) -> bytes:
    """The sound of clips one after the other, enough for `slices`; the last minute where all is requested."""
    most = None if slices is None else (slices + 3) * SAMPLE_RATE * 2 * 30 // 1000
    blocks = bytearray()
    for clip in clips:
        for samples, _ in clip.sound() if isinstance(clip, AudioClip) else ():
            blocks += samples
            if most is not None and len(blocks) >= most:
                return bytes(blocks)
            if most is None:
                del blocks[: max(0, len(blocks) - _FEATURE_HISTORY * SAMPLE_RATE * 2)]
    return bytes(blocks)


def _behind(model: Model, item: Wrong, golden: Streamer | None) -> str:
    """Compare the golden engine's outputs for the target's features with the target's outputs."""
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
        return "; the model is right: the outputs match these features"
    return "; the model is wrong too: the outputs do not match these features"


def _frames(slices: Slices, stride: int) -> Slices:
    return slices[: len(slices) // stride * stride].reshape(-1, stride, FEATURES)


def _first_inference(model: Model, item: Wrong) -> int | None:
    first = item.result.features.first_mismatch if item.result.features else None
    return None if first is None else first.slice // model.stride


@dataclass(frozen=True, slots=True)
class Found:
    """The result of a search: a sentence, and where to look, or None."""

    account: str
    look_at: str | None


def find_operator(model: Model, clip: Clip, target: str, options: TargetOptions) -> Found | None:
    """Search on a target that is not open; None where all outputs are right this time, or a search is not possible.

    A board gets a copy of the model that outputs all operators' results, and afterwards its own model again.
    """
    from harness.bisect.explanation import bisect
    from harness.bisect.reenactment import suspect
    from harness.targets.emulator import golden_tensors

    try:
        with ExitStack() as stack:
            source = stack.enter_context(open_tensors(target, options, model))
            golden = stack.enter_context(golden_tensors())
            result = bisect(model, [clip], source, golden)
    except MwwError:  # the run is complete without it: `mww bisect` itself reports this error
        return None
    if result.explanation is None:
        return None
    account, results = result.explanation.account, result.divergence
    if results is None:
        return Found(account, None)
    place = f"at inference {results.inference}, element {list(results.position)}"
    where = f"{place} is {results.found:g}, not {results.expected:g}"
    return Found(f"{account}: {where}", suspect(results, result.target))


def wrong_clips(carried_out: Sequence[tuple[Clip, Observed, ClipResult]]) -> list[Wrong]:
    """The clips with differences from the golden outputs that are not allowed, or with different features."""
    there = {clip.name: (clip, observed) for clip, observed, _ in carried_out}

    def before(observed: Observed) -> Iterator[Clip]:
        slices = 0
        while observed.after is not None and slices < _HISTORY:
            clip, observed = there[observed.after]
            slices += observed.streamed.slices
            yield clip

    return [
        Wrong(clip, result, tuple(before(observed))[::-1], observed.target)
        for clip, observed, result in carried_out
        if result.status == "fail" and (_misheard(result) or (result.mismatches and not result.allowed))
    ]


def _misheard(result: ClipResult) -> bool:
    return result.features is not None and result.features.mismatches > 0


def name_causes(
    model: Model, wrong: Sequence[Wrong], *, has_link: bool, bisect: Callable[[Wrong], str], search: Search | None
) -> list[Problem]:
    """The causes of wrong clips, each once.

    `search` runs where only a search finds the cause; without it, `bisect` gives the command to type.
    """
    misheard = [item for item in wrong if _misheard(item.result)]
    wrong = [item for item in wrong if not _misheard(item.result)]
    causes: dict[tuple[ProblemCode, str], list[Wrong]] = {}
    with ExitStack() as stack:
        golden = _golden_engine(model, stack) if has_link and (wrong or misheard) else None
        front = name_frontend_causes(model, misheard, golden)
        left = _SEARCHED
        for item in wrong[:_EXAMINED]:
            results = _explain(model, item, golden, thorough=left > 0) if golden is not None else None
            left -= results is None
            cause = _appearance(wrong) if results is None else (_CODES[results.cause], results.account)
            causes.setdefault(cause, []).append(item)
    if len(wrong) > _EXAMINED:
        causes.setdefault(_appearance(wrong) if len(causes) > 1 else next(iter(causes)), []).extend(wrong[_EXAMINED:])
    problems = [_problem(code, message, members, bisect) for (code, message), members in causes.items()]
    if search is not None:
        problems = [_searched(each, wrong, search) if each.code == "arithmetic" else each for each in problems]
    return [*front, *problems]


def _searched(problem: Problem, wrong: Sequence[Wrong], search: Search) -> Problem:
    """The problem, with the result of a search for its first clip."""
    results = search(next(item for item in wrong if item.clip.name == problem.clips[0]))
    if results is None:
        return problem
    hint = problem.hint if results.look_at is None else f"{results.look_at}; {problem.hint}"
    return replace(problem, message=results.account, hint=hint)


def _problem(code: ProblemCode, message: str, members: Sequence[Wrong], bisect: Callable[[Wrong], str]) -> Problem:
    first = members[0].result.first_mismatch
    hints = {
        "reset": "check the firmware's reset: every resource variable must return to its initial value",
        "slice-order": "check how the firmware fills the model's input: slice by slice, the oldest first",
        "output": "check the way of an output from the interpreter to the wire",
        "rounding": "if these kernels are known for it, an allowance accepts it: --write-allowance FILE --reason TEXT",
    }
    return Problem(
        code=code,
        clips=tuple(item.clip.name for item in members),
        inference=None if first is None else first.inference,
        message=message,
        hint=hints.get(code) or f"for details about the operator: {bisect(members[0])}",
    )


def _golden_engine(model: Model, stack: ExitStack) -> Streamer | None:
    """TFLM with the model; None where it is not available: a run is complete without explanations."""
    from harness.targets.emulator import golden_tensors

    try:
        engine = stack.enter_context(golden_tensors())
        engine.load(model.content)
    except MwwError:
        return None
    return engine


def _explain(model: Model, item: Wrong, golden: Streamer, *, thorough: bool) -> Explanation | None:
    trace, slices = item.result.trace, item.result.slices
    if trace.golden is None or slices > _LONGEST:
        return None
    try:
        frames, before = frames_of([item.clip], model.stride), frames_of(item.before, model.stride)
        difference = Difference(item.clip.name, frames, trace.outputs, trace.golden, before)
        return explain_by_reset(difference, golden) or _elsewhere(difference, golden, thorough=thorough)
    except MwwError:  # the clip or the engine is gone: the run is complete without an explanation
        return None


def _elsewhere(difference: Difference, golden: Streamer, *, thorough: bool) -> Explanation | None:
    """A fault outside the model other than a reset.

    Not where outputs differ by 1 only: one of hundreds of orders of slices may give that by chance.
    """
    apart = np.abs(difference.found.astype(np.int16) - difference.expected)
    if int(apart.max()) <= LIKELY_ROUNDING:
        return None
    return explain_besides_reset(difference, golden, thorough=thorough)


def _appearance(wrong: Sequence[Wrong]) -> tuple[ProblemCode, str]:
    """A description of differences that no known fault reproduces."""
    if all(map(_by_rounding, wrong)):
        return "rounding", "no output differs by more than 1 of 255: this looks like kernels that round differently"
    if all(other.before and _only_at_first(other.result) for other in wrong):
        return "reset", (
            "outputs differ only at the beginning of clips that follow another one: this looks like state that a reset "
            "does not put back"
        )
    return "arithmetic", "this looks like an operator that computes a wrong result"


def _by_rounding(item: Wrong) -> bool:
    return (item.result.max_abs_difference or 0) <= LIKELY_ROUNDING


def _only_at_first(result: ClipResult) -> bool:
    """Whether the first third of a clip has all its differences, and its first outputs are among them."""
    outputs, golden = result.trace.outputs, result.trace.golden
    if golden is None:
        return False
    differing = np.flatnonzero(outputs != golden)
    return bool(len(differing) and differing[0] < len(outputs) // 10 and differing[-1] < len(outputs) // 3)


def bisect_line(model: Model, target: str, options: TargetOptions) -> Callable[[Wrong], str]:
    """The `mww bisect` command for a clip; `target` is used for clips whose target is not known."""
    known = [("--engine", options.engine), ("--chip", options.chip), ("--baud", options.baud)]
    known += [("--fault", fault) for fault in options.faults]

    def line(wrong: Wrong) -> str:
        clip = wrong.clip
        words = ["mww", "bisect", str(model.path)]
        if isinstance(clip, AudioClip):
            words += ["--wav", str(clip.path)] + (["--lead-in", f"{clip.lead_in:g}"] if clip.lead_in else [])
        else:
            words += ["--features", str(clip.archive.path) if isinstance(clip, FeatureClip) else "FILE.npz"]
        words += ["--target", wrong.target or target]
        return shlex.join([*words, *(str(word) for pair in known if pair[1] is not None for word in pair)])

    return line
