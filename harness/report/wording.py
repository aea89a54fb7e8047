"""The sentences of a report, in one place for all its forms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from harness.clips.sound import Sound
from harness.run.allowances import Allowance, AllowanceUse
from harness.run.evaluation.statistics import Delay, Evaluation, Proportion, Rate
from harness.run.results import ArenaResult, ClipResult, Problem, RunResult, Spread
from harness.targets.base import OperatorCost
from harness.targets.registry import spec_of_kind

_WORST_FIRST = {"error": 0, "fail": 1, "pass": 2}


def headline(result: RunResult) -> str:
    """The reason of the verdict, in a sentence."""
    return "; ".join(_failures_of(result)) or _all_well(result)


def _failures_of(result: RunResult) -> Iterator[str]:
    clips, inferences = result.clips, sum(clip.inferences for clip in result.clips)
    of_clips = f"of {counted(len(clips), 'clip')}"
    errors = sum(clip.status == "error" for clip in clips)
    if errors:
        yield f"{errors} {of_clips} ended in an error"
    differing = [clip.mismatches for clip in clips if clip.status == "fail" and clip.mismatches and not _misheard(clip)]
    if differing:
        yield f"{number(sum(differing))} of {number(inferences)} outputs differ, in {len(differing)} {of_clips}"
    for problem in result.problems:
        if problem.code == "frontend":
            yield f"the features of the target's front-end differ in {len(problem.clips)} {of_clips}"
        elif problem.code == "detection":
            yield f"the detections of the target's own rule differ in {len(problem.clips)} {of_clips}"
        elif problem.code == "count":
            yield f"the target's count of inferences differs in {len(problem.clips)} {of_clips}"
    yield from (problem.message for problem in result.problems if problem.code == "quality")
    if result.arena is not None and result.arena.fits is False:
        yield f"the tensor arena of {number(result.arena.manifest or 0)} bytes is too small"


def _misheard(clip: ClipResult) -> bool:
    return clip.features is not None and clip.features.mismatches > 0


def _all_well(result: RunResult) -> str:
    inferences = sum(clip.inferences for clip in result.clips)
    outputs = counted(inferences, "output")
    clips = counted(len(result.clips), "clip")
    if result.golden is None:
        return f"{counted(inferences, 'inference')} of {clips} ran; nothing was compared"
    within = f"within {result.tolerance} of" if result.tolerance else "equal to"
    allowed = [clip.mismatches or 0 for clip in result.clips if clip.allowed]
    if not allowed:
        return f"all {outputs} of {clips} are {within} the golden ones"
    differing = f"{number(sum(allowed))} of {outputs} differ as an allowance accepts, in {len(allowed)} of {clips}"
    return f"{differing}; all others are {within} the golden ones"


def place(result: RunResult) -> str:
    """The target of the run, in words."""
    target = result.target
    return f"{target.engine} {spec_of_kind(target.kind).place.format(chip=target.chip)}"


def profile_account(profile: Sequence[OperatorCost]) -> str:
    """The cost of an inference by operator, or why it is not known."""
    operators = counted(len(profile), "operator")
    rows, unit = profile_rows(profile)
    if not rows:
        return f"{operators}; their times were not measured, since no chip ran them"
    return f"{number(sum(row.amount for row in rows))} {unit} an inference, in {operators}"


@dataclass(frozen=True, slots=True)
class ProfileRow:
    """All operators of a name: their number, their cost in an inference, and their share of the whole."""

    operator: str
    count: int
    amount: int
    share: float


def profile_rows(profile: Sequence[OperatorCost]) -> tuple[list[ProfileRow], str]:
    """The most expensive first, and the unit of their amounts; no rows without a measurement."""
    amounts = [cost.microseconds for cost in profile], [cost.instructions for cost in profile]
    for unit, values in zip(("µs", "instructions"), amounts, strict=True):
        total = sum(value or 0 for value in values)
        if not total:
            continue
        kinds: dict[str, list[int]] = {}
        for cost, value in zip(profile, values, strict=True):
            kinds.setdefault(cost.operator, []).append(value or 0)
        rows = [ProfileRow(kind, len(each), sum(each), sum(each) / total) for kind, each in kinds.items()]
        return sorted(rows, key=lambda row: -row.amount), unit
    return [], ""


def compared_with(result: RunResult) -> str:
    """The reference of the outputs, and the tolerance."""
    golden = result.golden
    if golden is None:
        return "nothing: the target is itself the runtime that makes goldens"
    origin = "a recorded golden" if golden.origin == "file" else "a second interpreter during the run"
    strictness = f"differences up to {result.tolerance} allowed" if result.tolerance else "byte for byte"
    return f"{origin} ({golden.engine} {golden.version}), {strictness}"


def clip_account(clip: ClipResult) -> str:
    """The result of a clip, in a sentence."""
    if clip.error is not None:
        at = "" if clip.error.inference is None else f" at inference {clip.error.inference}"
        return f"{clip.error.code}{at}: {clip.error.message}"
    if clip.features is not None and clip.features.first_mismatch is not None:
        mismatch = clip.features.first_mismatch
        others = f"; {number(clip.mismatches)} outputs differ" if clip.mismatches else "; all outputs equal the golden"
        slices = counted(clip.features.mismatches, "slice")
        return f"{slices} with different features, the first is {mismatch.slice}{others}"
    if clip.first_mismatch is not None:
        first = clip.first_mismatch
        return (
            f"{number(clip.mismatches or 0)} of {number(clip.inferences)} outputs differ by up to "
            f"{clip.max_abs_difference}; first at inference {first.inference}: "
            f"expected {first.expected}, found {first.found}{'; allowed' if clip.allowed else ''}"
        )
    compared = "" if clip.mismatches is None else ", all equal to the golden"
    compared += ", with equal features" if clip.features is not None else ""
    heard = sum(not detection.vad_blocked for detection in clip.detections)
    wrong = "; the target's detections or count of inferences differ" if clip.status == "fail" else ""
    return f"{counted(clip.inferences, 'output')}{compared}; {counted(heard, 'detection')}{wrong}"


def problem_account(problem: Problem) -> str:
    """A problem, and the clips that it explains."""
    if not problem.clips:
        return problem.message
    at = "" if problem.inference is None else f" from inference {problem.inference} on"
    more = f" and {counted(len(problem.clips) - 1, 'more clip')}" if len(problem.clips) > 1 else ""
    return f"{problem.message} ({problem.clips[0]}{at}{more})"


def allowance_account(use: AllowanceUse) -> str:
    """An allowance, and its effect."""
    allowance = use.allowance
    who = f"{allowance.by or 'nobody'}, {allowance.date}: {allowance.reason or 'no reason given'}"
    return f"{use.state}: {allowance_effect(use)}; {terms(allowance)} ({who})"


def terms(allowance: Allowance) -> str:
    """The differences that an allowance accepts, and where."""
    versions = ", ".join(f"{name} {version}" for name, version in allowance.versions.items())
    outputs = f"{counted(sum(allowance.clips.values()), 'output')} of {counted(len(allowance.clips), 'clip')}"
    return f"{outputs} may differ by up to {allowance.max_difference}, on {allowance.chip} with {versions}"


def allowance_effect(use: AllowanceUse) -> str:
    """The effect of an allowance in a run."""
    if use.why is not None:
        return use.why
    there = {clip: entry for clip, entry in use.found.items() if entry is not None}
    differing = sum(entry > 0 for entry in there.values())
    if use.state == "unused":
        seen = counted(len(there), "clip of it", "clips of it")
        return f"the run has {seen} of its clips, and no output differs" if there else "the run has none of its clips"
    over = [clip for clip, entry in there.items() if entry > use.allowance.clips[clip]]
    if use.state == "exceeded":
        return f"{over[0]} differs in {there[over[0]]} outputs" if over else "an output differs by more"
    return f"it accepts {counted(sum(there.values()), 'output')} of {counted(differing, 'clip')}"


def detections_agree(clip: ClipResult) -> bool:
    """Whether target and golden have the same detections; also true for a clip without a comparison."""
    return clip.golden_detections is None or clip.detections == clip.golden_detections


def worst_first(result: RunResult) -> list[ClipResult]:
    """Errors, then failures, then clips that contradict their label, then the others, each in the given order."""
    rated = result.evaluation
    wrong = {*rated.missed, *rated.woken_by, *rated.near_misses_woken_by} if rated is not None else set()
    return sorted(result.clips, key=lambda clip: (_WORST_FIRST[clip.status], clip.name not in wrong))


def arena_account(arena: ArenaResult) -> str:
    """The arena compared with manifest and prediction."""
    words = [f"{number(arena.used)} of {number(arena.size)} bytes used ({arena.source})"]
    if arena.predicted is not None and arena.source == "measured":
        off = arena.used - arena.predicted
        words.append(
            "as predicted" if off == 0 else f"{number(abs(off))} {'more' if off > 0 else 'less'} than predicted"
        )
    if arena.manifest is not None:
        free = arena.manifest - arena.used
        words.append(f"{number(abs(free))} {'below' if free >= 0 else 'above'} the manifest's")
    return ", ".join(words)


def instructions_account(result: RunResult) -> str | None:
    """Instructions an inference over all clips; None where they were not counted."""
    counts = [clip.instructions for clip in result.clips if clip.instructions]
    if not counts:
        return None
    median, most = sorted(count.p50 for count in counts)[len(counts) // 2], max(count.max for count in counts)
    return f"median {number(median)} instructions an inference, at most {number(most)}; they are not a time"


def latency_account(latency: Spread, result: RunResult) -> str:
    """Microseconds of an inference, compared with the time available for it."""
    budget = result.stride * result.feature_step_size * 1000
    return (
        f"median {number(latency.p50)} us, 95 % within {number(latency.p95)} us, longest {number(latency.max)} us: "
        f"{latency.max / budget:.0%} of the {budget // 1000} ms available for an inference"
    )


def recall_account(evaluation: Evaluation) -> str:
    """Recall with its counts and interval."""
    recall = evaluation.at.recall
    return f"{proportion(recall)} ({recall.hits} of {counted(recall.trials, 'clip')})"


def false_accepts_account(evaluation: Evaluation) -> str:
    """False accepts with their counts, hours and interval."""
    accepts = evaluation.at.false_accepts
    account = f"{rate(accepts)} ({accepts.count} in {duration(accepts.hours)})"
    return account if accepts.count or not accepts.hours else f"{account}; {zero_account(accepts)}"


def zero_account(accepts: Rate) -> str:
    """The meaning of hours without a false accept: the rule of three."""
    return f"none in {duration(accepts.hours)}; the rate can be up to {short(3 / accepts.hours)} an hour"


def near_misses_account(evaluation: Evaluation) -> str:
    """Near misses that wake the device; they are not false accepts an hour."""
    near = evaluation.at.near_misses
    return f"{near.hits} of {counted(near.trials, 'clip')} wake it, {proportion(near)}"


_LISTED: Final = 10


def names_account(names: Sequence[str]) -> str:
    """The names of some clips, or of all where they are few."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def sound_account(sound: Sound) -> str:
    """Level, offset, clipping and bandwidth of a clip."""
    parts = [f"peak {sound.peak_dbfs:.1f} dBFS", f"RMS {sound.rms_dbfs:.1f} dBFS"]
    parts += [f"DC {sound.dc:+.4f}"] if abs(sound.dc) >= 0.0005 else []
    parts += [f"{sound.clipped:.1%} clipped"] if sound.clipped else []
    parts += [f"up to {sound.bandwidth_hz:.0f} Hz"] if sound.bandwidth_hz is not None else []
    parts += [f"converted from {sound.converted_from}"] if sound.converted_from else []
    return ", ".join(parts)


def delay_account(delay: Delay) -> str:
    """Latency: seconds from the end of the word to the detection."""
    return (
        f"median {delay.p50:.2f} s after the word's end, 95 % within {delay.p95:.2f} s, longest {delay.max:.2f} s "
        f"({counted(delay.clips, 'clip')})"
    )


def proportion(value: Proportion) -> str:
    """A proportion and its 95 % confidence interval, in percent."""
    if value.value is None:
        return "no positive clips"
    return f"{value.value:.1%}, 95 % interval {value.low:.1%} to {value.high:.1%}"


def rate(value: Rate) -> str:
    """A rate and its 95 % confidence interval."""
    if value.rate is None or value.low is None or value.high is None:
        return "no negative clips"
    return f"{short(value.rate)} an hour, 95 % interval {short(value.low)} to {short(value.high)}"


def duration(hours: float) -> str:
    """A duration in hours, or in a smaller unit that reads better."""
    if hours >= 1:
        return f"{short(hours)} h"
    return f"{short(hours * 60)} min" if hours >= 1 / 60 else f"{short(hours * 3600)} s"


def short(value: float) -> str:
    """A number with three digits and without an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}" if value >= 0.001 or not value else f"{value:.4f}"


def number(value: int) -> str:
    """Digits in groups of three."""
    return f"{value:,}"


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """A number and its noun."""
    return f"{number(count)} {noun if count == 1 else plural or noun + 's'}"
