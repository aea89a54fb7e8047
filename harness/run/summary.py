"""What a run means: every clip judged, what lies behind the failures, and the verdict."""

from __future__ import annotations

import time
from collections.abc import Sequence

from harness.clips.clip import Clip
from harness.run.account import environment, judge_arena, warnings_for
from harness.run.allowing import account, allowing, proposal
from harness.run.causes import Wrong, bisect_line, name_causes, wrong_clips
from harness.run.clip_warnings import with_warnings
from harness.run.execution import Execution
from harness.run.judging import Judge, Observed
from harness.run.options import RunOptions
from harness.run.problems import plain_problems
from harness.run.quality import evaluate_clips, quality_problems
from harness.run.results import ArenaResult, ClipResult, Problem, RunResult, VadSource, Verdict
from harness.run.search import Found, find_operator
from harness.targets.base import TargetInfo
from harness.targets.registry import spec_of_kind


def summarize(execution: Execution, options: RunOptions) -> RunResult:
    """Judge a run. Clips whose outputs are wrong are run again, to find out why."""
    inputs, info, observed = execution.inputs, execution.info, execution.observed
    model, vad, allowances = inputs.setup.model, inputs.setup.vad, inputs.allowances
    judge = Judge(model, vad, inputs.tolerance, allowing(allowances, model, info))
    clips = tuple(judge.judge(clip, seen) for clip, seen in zip(inputs.clips, observed, strict=True))
    positive = {name for name, label in inputs.labels.items() if label.kind == "positive"}
    clips = with_warnings(model, clips, positive)
    evaluation = evaluate_clips(judge, inputs.clips, observed, inputs.labels)
    quality = quality_problems(options, evaluation)
    arena = None if execution.arena is None else judge_arena(model, info, execution.arena)
    problems = _problems(judge, options, info, arena, list(zip(inputs.clips, observed, clips, strict=True)))
    problems = (*problems, *quality)
    return RunResult(
        verdict=_verdict(arena, [clip.status for clip in clips], quality),
        model=model.name,
        model_sha256=model.sha256,
        manifest_sha256=inputs.manifest_sha256,
        stride=model.stride,
        feature_step_size=model.feature_step_size,
        probability_cutoff=model.probability_cutoff,
        sliding_window_size=model.sliding_window_size,
        target=info,
        golden=inputs.golden,
        tolerance=inputs.tolerance,
        lead_in=inputs.lead_in,
        arena=arena,
        clips=clips,
        warnings=(*execution.warnings, *warnings_for(model, arena, clips)),
        environment=environment(),
        started=execution.started,
        seconds=time.monotonic() - execution.clock,
        evaluation=evaluation,
        problems=problems,
        allowances=account(allowances, model, info, clips),
        proposed_allowance=proposal(model, info, clips, problems),
        vad=None if vad is None else VadSource(vad.name, vad.sha256, inputs.setup.vad_engine or ""),
        profile=execution.profile,
    )


def _problems(
    judge: Judge,
    options: RunOptions,
    info: TargetInfo,
    arena: ArenaResult | None,
    carried_out: Sequence[tuple[Clip, Observed, ClipResult]],
) -> tuple[Problem, ...]:
    """Everything that is wrong, by name; clips whose outputs are wrong are run again to say why."""
    lead_ins = {clip.name: clip.lead_in for clip, _, _ in carried_out}
    results = [result for _, _, result in carried_out]
    plain = plain_problems(arena, results, lambda item: judge.expected_of_device(item, lead_ins[item.name]))
    target_options, spec = options.target_options, spec_of_kind(info.kind)
    searches = options.flash and spec.bisects_unasked if options.bisect is None else options.bisect

    def search(wrong: Wrong) -> Found | None:
        return find_operator(judge.model, wrong.clip, wrong.target or options.target, target_options)

    causes = name_causes(
        judge.model,
        wrong_clips(carried_out),
        has_link=spec.has_link,
        bisect=bisect_line(judge.model, options.target, target_options),
        search=search if searches else None,
    )
    return (*plain, *causes)


def _verdict(arena: ArenaResult | None, clips: Sequence[Verdict], quality: Sequence[Problem]) -> Verdict:
    if arena is None or "error" in clips:
        return "error"
    return "fail" if "fail" in clips or arena.fits is False or quality else "pass"
