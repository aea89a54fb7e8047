"""The summary of a run: every clip judged, the causes of failures, and the verdict.

It also contains the arena, the environment, and warnings about outputs that may explain a silent model.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

from harness.clips.clip import Clip
from harness.clips.sound import ClipWarning
from harness.run.allowing import account, allowing, proposal
from harness.run.causes import Found, Wrong, bisect_line, find_operator, name_causes, wrong_clips
from harness.run.execution import Execution
from harness.run.judging import Judge, Observed, plain_problems
from harness.run.options import RunOptions
from harness.run.quality import evaluate_clips, quality_problems
from harness.run.results import ArenaResult, ClipResult, Problem, RunResult, VadSource, Verdict
from harness.targets.base import ArenaUse, TargetInfo
from harness.targets.registry import spec_of_kind
from mww.core.errors import UnknownRuntimeError, UnsupportedModelError
from mww.core.resources import NOT_INSTALLED, distribution_version
from mww.esphome.contract import DEFAULT_RUNTIME, MIN_SLICES_BEFORE_DETECTION
from mww.esphome.model import Model
from mww.tflite.model_file import read_model
from mww.tflm.arena import fits, predict_arena
from mww.tflm.builds import runtime_among
from mww.verification.bounds import output_bounds
from mww.verification.rules import Subject


def judge_arena(model: Model, info: TargetInfo, use: ArenaUse) -> ArenaResult:
    """Compare a target's arena with the manifest and with the prediction for its chip and reported versions.

    A measured arena fits if use and allocation are within the manifest's size; a predicted arena if the predicted
    minimum is also.
    """
    try:
        runtime = runtime_among(info.versions) or DEFAULT_RUNTIME
        predicted = predict_arena(model.content, info.chip, runtime=runtime)
    except (UnknownRuntimeError, UnsupportedModelError):
        predicted = None
    needed = max(use.used, use.size) if use.source == "measured" else use.used
    if predicted is not None and use.source == "predicted":
        needed = max(needed, predicted.minimum)
    return ArenaResult(
        used=use.used,
        size=use.size,
        source=use.source,
        manifest=model.tensor_arena_size,
        fits=None if model.tensor_arena_size is None else fits(needed, model.tensor_arena_size),
        predicted=None if predicted is None else predicted.used,
    )


def warnings_for(model: Model, arena: ArenaResult | None, clips: Sequence[ClipResult]) -> tuple[str, ...]:
    """Warnings beside the verdict, each with a remedy."""
    results = list(model.manifest_problems)
    carried_out = [clip for clip in clips if clip.status != "error"]
    earliest = (MIN_SLICES_BEFORE_DETECTION // model.stride + 1) * model.stride
    short = [clip.name for clip in carried_out if clip.slices < earliest]
    if short:
        results.append(
            f"{_listed(short)} too short for a detection: ESPHome detects nothing in the first second; "
            "--lead-in 1 puts a second of silence in front"
        )
    if arena is not None and arena.fits is False:
        results.append(
            f"the manifest's tensor_arena_size of {arena.manifest} is too small; mww arena shows the needed size"
        )
    if arena is not None and arena.predicted is not None and arena.used != arena.predicted:
        results.append(
            f"the target uses {arena.used} bytes of arena where {arena.predicted} are predicted for its chip"
        )
    differing = [clip.name for clip in carried_out if clip.status == "pass" and _detects_otherwise(clip)]
    if differing:
        results.append(f"{_listed(differing)} detected at other inferences than in the golden, within what is allowed")
    return tuple(results)


def environment() -> tuple[tuple[str, str], ...]:
    """Names and versions on this machine."""
    names = ("mww-harness", "numpy", "pymicro-features")
    system = (("python", platform.python_version()), ("system", f"{platform.system()} {platform.machine()}"))
    return system + tuple((name, (distribution_version(name) or NOT_INSTALLED)) for name in names)


def _detects_otherwise(clip: ClipResult) -> bool:
    golden = clip.golden_detections
    return golden is not None and [d.inference for d in golden] != [d.inference for d in clip.detections]


def _listed(names: Sequence[str]) -> str:
    first = names[0] if len(names) == 1 else f"{len(names)} clips ({names[0]}, ...)"
    return f"{first} {'is' if len(names) == 1 else 'are'}"


_CAUSES: Final = ("silence",)
"""Warnings about the input that make any model's output constant."""


def with_warnings(model: Model, clips: Sequence[ClipResult], positive: Collection[str]) -> tuple[ClipResult, ...]:
    """The results with warnings about input and outputs; `positive` are the clips with the word.

    A good model may give 0 throughout a clip without the word. So a constant 0 is only suspicious where the model
    cannot give another output, or where the clip contains the word; and any constant only where all clips agree.
    """
    long_enough = [clip for clip in clips if clip.status != "error" and _is_long_enough(model, clip)]
    values = {value for clip in long_enough for value in (clip.trace.outputs.min(), clip.trace.outputs.max())}
    constant = int(values.pop()) if len(values) == 1 else None
    if constant == 0 and not {clip.name for clip in long_enough} & set(positive):
        constant = 0 if output_bounds(Subject(read_model(model.content)))[1] == 0 else None
    judged = {clip.name for clip in long_enough}
    return tuple(
        replace(clip, warnings=(*_of_input(clip), *(_of_outputs(model, clip, constant) if clip.name in judged else ())))
        for clip in clips
    )


def _is_long_enough(model: Model, clip: ClipResult) -> bool:
    return len(clip.trace.outputs) * model.stride >= MIN_SLICES_BEFORE_DETECTION


def _of_input(clip: ClipResult) -> tuple[ClipWarning, ...]:
    return clip.input.warnings if clip.input is not None else ()


def _of_outputs(model: Model, clip: ClipResult, constant: int | None) -> list[ClipWarning]:
    if any(warning.code in _CAUSES for warning in _of_input(clip)):
        return []
    warnings = []
    if constant is not None:
        message = f"every output is {constant} for any input: the model is broken, mww verify may show where"
        warnings.append(ClipWarning("constant-output", message))
    lowest = int(clip.trace.outputs.min())
    if lowest >= model.cutoff_byte:
        message = (
            f"no output is below the cutoff's {model.cutoff_byte} (the lowest is {lowest}): ESPHome begins to listen "
            f"only after {MIN_SLICES_BEFORE_DETECTION} slices below it, so it never wakes"
        )
        warnings.append(ClipWarning("never-below-cutoff", message))
    return warnings


def summarize(execution: Execution, options: RunOptions) -> RunResult:
    """Judge a run. Clips with wrong outputs run again, to find the cause."""
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
    """All problems; clips with wrong outputs run again to find the cause."""
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
