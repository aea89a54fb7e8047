"""The changes between two recorded runs: in what they ran on, and in their results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.report.run_document import RecordedClip, RecordedRun


@dataclass(frozen=True, slots=True)
class Change:
    """A value that differs; None where a run does not have it."""

    what: str
    a: str | None
    b: str | None


@dataclass(frozen=True, slots=True)
class ClipChange:
    """The changes of a clip."""

    name: str
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class RunComparison:
    """Two runs of a model.

    Attributes:
        model: Its name.
        conditions: Target, versions, and the model itself. They explain differences and are not judged.
        results: Verdict, arena, recall, false accepts.
        clips: Clips whose outputs, detections or status differ, or that are in one run only.
        timing: What an inference costs, where that moved: median times, and instructions by operator. It never makes
            two runs unequal.
    """

    model: str
    conditions: tuple[Change, ...]
    results: tuple[Change, ...]
    clips: tuple[ClipChange, ...]
    timing: tuple[Change, ...]

    @property
    def equal(self) -> bool:
        """Whether the results are the same."""
        return not self.results and not self.clips


def compare_runs(a: Sequence[RecordedRun], b: Sequence[RecordedRun]) -> tuple[RunComparison, ...]:
    """Compare runs model by model, by sha256 first and then by name, in the order of `a`."""
    comparisons: list[RunComparison] = []
    left = list(b)
    for run in a:
        other = _partner(run, left, a)
        if other is not None:
            left.remove(other)
        comparisons.append(_compare(run, other))
    return (*comparisons, *(_compare(None, run) for run in left))


def _partner(run: RecordedRun, others: Sequence[RecordedRun], own: Sequence[RecordedRun]) -> RecordedRun | None:
    same = [other for other in others if other.model_sha256 == run.model_sha256]
    if same:
        return same[0]
    taken = {item.model_sha256 for item in own}
    free = [other for other in others if other.model_sha256 not in taken]
    named = [other for other in free if other.model == run.model]
    if named:
        return named[0]
    return free[0] if len(own) == len(others) == 1 and free else None


def _compare(a: RecordedRun | None, b: RecordedRun | None) -> RunComparison:
    if a is None or b is None:
        there = a or b
        assert there is not None
        only = Change("run", a.verdict if a else None, b.verdict if b else None)
        return RunComparison(there.model, (), (only,), (), ())
    pairs = _pairs(a.clips, b.clips)
    changed = [ClipChange(name, tuple(_clip_changes(item, two))) for name, item, two in pairs]
    return RunComparison(
        model=a.model,
        conditions=tuple(_conditions(a, b)),
        results=tuple(_results(a, b)),
        clips=tuple(clip for clip in changed if clip.changes),
        timing=(*_instructions(a, b), *_timing(pairs)),
    )


def _conditions(a: RecordedRun, b: RecordedRun) -> Iterator[Change]:
    yield from _change("model", a.model, b.model)
    yield from _change("model_sha256", a.model_sha256, b.model_sha256)
    yield from _change("target", a.kind, b.kind)
    yield from _change("chip", a.chip, b.chip)
    yield from _change("engine", a.engine, b.engine)
    yield from _change("tolerance", a.tolerance, b.tolerance)
    yield from _change("allowances", a.allowances, b.allowances)
    before, after = dict(a.versions), dict(b.versions)
    for name in {**before, **after}:
        yield from _change(f"versions.{name}", before.get(name), after.get(name))


def _results(a: RecordedRun, b: RecordedRun) -> Iterator[Change]:
    yield from _change("verdict", a.verdict, b.verdict)
    yield from _change("arena.used", a.arena_used, b.arena_used)
    yield from _change("recall", a.recall, b.recall)
    yield from _change("false_accepts", a.false_accepts, b.false_accepts)


Pair = tuple[str, RecordedClip | None, RecordedClip | None]


def _pairs(a: Sequence[RecordedClip], b: Sequence[RecordedClip]) -> list[Pair]:
    before, after = {clip.name: clip for clip in a}, {clip.name: clip for clip in b}
    return [(name, before.get(name), after.get(name)) for name in {**before, **after}]


def _clip_changes(a: RecordedClip | None, b: RecordedClip | None) -> Iterator[Change]:
    if a is None or b is None:
        yield Change("clip", a.status if a else None, b.status if b else None)
        return
    yield from _change("status", a.status, b.status)
    yield from _change("error", a.error, b.error)
    yield from _change("inferences", a.inferences, b.inferences)
    yield from _change("outputs_sha256", a.outputs_sha256, b.outputs_sha256)
    if a.mismatches is not None and b.mismatches is not None:  # else one of them was not compared with a golden
        yield from _change("mismatches", a.mismatches, b.mismatches)
        yield from _change("max_abs_difference", a.max_abs_difference, b.max_abs_difference)
    if a.detections != b.detections:
        yield Change("detections", _detections_text(a), _detections_text(b))


def _detections_text(clip: RecordedClip) -> str:
    """The times of a clip's detections, as text that differs where they differ."""
    if not clip.detections:
        return "none"
    entries = []
    for each in clip.detections:
        blocked = ", blocked" if each.vad_blocked else ""
        entries.append(f"{each.time_s:.2f} s (inference {each.inference}, {each.average}/{each.maximum}{blocked})")
    return ", ".join(entries)


def _timing(pairs: Sequence[Pair]) -> Iterator[Change]:
    for name, a, b in pairs:
        if a is not None and b is not None:
            yield from _change(f"{name}: latency_us.p50", a.latency_p50, b.latency_p50)
            yield from _change(f"{name}: instructions.p50", a.instructions_p50, b.instructions_p50)


def _instructions(a: RecordedRun, b: RecordedRun) -> Iterator[Change]:
    """The times of operators, where both runs were profiled."""
    before, after = dict(a.instructions), dict(b.instructions)
    if before and after:
        for name in {**before, **after}:
            yield from _change(f"instructions of {name}", before.get(name), after.get(name))


def _change(what: str, a: object, b: object) -> Iterator[Change]:
    if a != b:
        yield Change(what, None if a is None else str(a), None if b is None else str(b))
