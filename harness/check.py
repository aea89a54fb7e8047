"""A run: clips through a target, every output against the golden, ESPHome's detection rule, the arena, the verdict.

The target is opened by name through `harness.targets.registry`, what a clip's numbers mean is for `harness.judging` to
say, and results are written by `harness.report`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path

from exporter.contract import FEATURE_STEP_MS
from exporter.errors import FeatureError, InputError, MwwError, UnsupportedModelError, UsageError
from harness.account import environment, judge_arena, warnings_for
from harness.bench import Bench, ClipOutcome, Setup, run_clips
from harness.clips import Clip, WavClip
from harness.engines.catalog import DEFAULT_ENGINE, engine_spec, installed_version
from harness.errors import GoldenError
from harness.evaluation import Evaluation, LabelledOutputs, Rule, evaluate
from harness.golden import Golden
from harness.judging import refused
from harness.labels import Label, labels_from_names
from harness.model import Model, load_model
from harness.results import ArenaResult, GoldenSource, RunResult, VadSource, Verdict
from harness.sources import ClipSource, open_clips
from harness.targets.registry import EMULATOR, TargetOptions, target_spec


def check(  # noqa: PLR0913 -- each is an option of `mww run`, by the same name
    model: Model | Path | str,
    clips: ClipSource,
    *,
    target: str = EMULATOR,
    engine: str | None = None,
    chip: str | None = None,
    baud: int | None = None,
    flash: bool = True,
    tolerance: int | None = None,
    lead_in: float = 0.0,
    vad: Model | Path | str | None = None,
    labels: Mapping[str, Label] | None = None,
    jobs: int = 1,
    progress: Callable[[str, int, int], None] = lambda description, done, total: None,
) -> RunResult:
    """Stream clips through a model on a target and judge every output.

    Args:
        model: A manifest or `.tflite`.
        clips: WAV files and folders; a feature file or golden (`.npz`); or arrays int8 or uint16 `[slices, 40]` by
            name. A golden's recorded outputs are what is compared with. Otherwise TFLM makes them on the spot, unless
            the target is the emulator's TFLM itself: then nothing is compared.
        target: `emulator`, `virtual`, `qemu`, or the port of a board.
        engine: The emulator's interpreter; None: TFLM.
        chip: The chip; None: the target's own, or its default.
        baud: Of a board's port.
        flash: Whether a board may be given the model when it has another.
        tolerance: The largest difference of an output byte that passes; None: 0, or 1 for engines that are not the
            device's own.
        lead_in: Seconds of digital silence in front of each WAV.
        vad: A VAD model that gates detections; it runs in TFLM on this machine.
        labels: What clips hold; None: clips in folders named `positive` and `negative` are labelled by them.
        jobs: Clips at a time, where several of the target can be had.
        progress: Called with the model's name, clips done and clips in all.

    Returns:
        The result; its verdict is `error` where a clip could not be carried out, or the model not be loaded.

    Raises:
        MwwError: Nothing could be run: an option, file or package is wrong, or the target cannot be opened.
    """
    model = model if isinstance(model, Model) else load_model(model)
    options = TargetOptions(engine=engine, chip=chip, baud=baud, flash=flash)
    with ExitStack() as stack:
        chosen, recorded = open_clips(clips, lead_in, stack)
        setup = _set_up(model, target, options, tolerance, recorded, vad)
        _check_inputs(setup, chosen, jobs)
        started, clock = datetime.now(timezone.utc), time.monotonic()
        benches = [stack.enter_context(Bench(setup)) for _ in range(min(jobs, len(chosen)))]
        arena, outcomes = _run(setup, benches, chosen, progress)
        results = tuple(outcome.result for outcome in outcomes)
        return RunResult(
            verdict=_verdict(arena, [result.status for result in results]),
            model=model.name,
            model_sha256=model.sha256,
            manifest_sha256=_sha256(model.path) if model.from_manifest else None,
            stride=model.stride,
            feature_step_size=model.feature_step_size,
            probability_cutoff=model.probability_cutoff,
            sliding_window_size=model.sliding_window_size,
            target=benches[0].info(),
            golden=_golden_source(setup),
            tolerance=setup.tolerance,
            lead_in=recorded.provenance.lead_in if recorded else lead_in,
            arena=arena,
            clips=results,
            warnings=warnings_for(model, arena, results, setup.tolerance),
            environment=environment(),
            started=started.isoformat(timespec="seconds"),
            seconds=time.monotonic() - clock,
            evaluation=_evaluate(setup, chosen, outcomes, labels),
            vad=None if setup.vad is None else VadSource(setup.vad.name, setup.vad.sha256, DEFAULT_ENGINE),
        )


def _set_up(
    model: Model,
    target: str,
    options: TargetOptions,
    tolerance: int | None,
    recorded: Golden | None,
    vad: Model | Path | str | None,
) -> Setup:
    target_spec(target)
    emulated = engine_spec(options.engine or DEFAULT_ENGINE) if target == EMULATOR else None
    if tolerance is None:
        tolerance = emulated.tolerance if emulated else 0
    if not 0 <= tolerance <= 255:
        raise UsageError(f"a tolerance of {tolerance}", hint="0 to 255, the steps of the uint8 output")
    if vad is not None and not isinstance(vad, Model):
        vad = load_model(vad)
    compare = recorded is None and not (emulated and emulated.name == DEFAULT_ENGINE)
    return Setup(model, target, options, tolerance, recorded, compare, vad)


def _check_inputs(setup: Setup, clips: Sequence[Clip], jobs: int) -> None:
    """Refuse, before anything is opened, what cannot be meant."""
    model, recorded = setup.model, setup.recorded
    if not clips:
        raise UsageError("there are no clips")
    if jobs < 1 or (jobs > 1 and not target_spec(setup.target).several):
        raise UsageError(f"{jobs} jobs on the target {setup.target}", hint="one board runs one clip at a time")
    if recorded is not None and recorded.provenance.model_sha256 != model.sha256:
        said = f"{recorded.path} was recorded from {recorded.provenance.model}, sha256 "
        said += f"{recorded.provenance.model_sha256[:12]}, not from {model.path}, {model.sha256[:12]}"
        raise GoldenError(said, hint="mww record makes a golden of this model")
    if model.feature_step_size != FEATURE_STEP_MS and any(isinstance(clip, WavClip) for clip in clips):
        said = f"{model.path} takes a slice each {model.feature_step_size} ms, the front-end makes one each"
        raise FeatureError(f"{said} {FEATURE_STEP_MS} ms", hint="give --features made for this model in place of WAVs")
    if setup.vad is not None and setup.vad.feature_step_size != model.feature_step_size:
        steps = f"{setup.vad.feature_step_size} and {model.feature_step_size} ms"
        raise UsageError(f"the VAD model and the model take slices of different lengths: {steps}")


def _run(
    setup: Setup, benches: Sequence[Bench], clips: Sequence[Clip], progress: Callable[[str, int, int], None]
) -> tuple[ArenaResult | None, list[ClipOutcome]]:
    """Load the model on every bench, then run all clips; a model that cannot be loaded is an error for each clip."""
    try:
        use, *_ = [bench.load() for bench in benches]
    except UnsupportedModelError:
        raise
    except MwwError as error:
        return None, [ClipOutcome(refused(clip, error), None) for clip in clips]
    arena = judge_arena(setup.model, benches[0].info(), use)
    done = 0

    def finished(outcome: ClipOutcome) -> None:
        nonlocal done
        done += 1
        progress(setup.model.name, done, len(clips))

    return arena, run_clips(benches, clips, finished)


def _verdict(arena: ArenaResult | None, clips: Sequence[Verdict]) -> Verdict:
    if arena is None or "error" in clips:
        return "error"
    return "fail" if "fail" in clips or arena.fits is False else "pass"


def _golden_source(setup: Setup) -> GoldenSource | None:
    if setup.recorded is not None:
        provenance = setup.recorded.provenance
        version = dict(provenance.versions).get(engine_spec(DEFAULT_ENGINE).distribution, "unknown")
        return GoldenSource("file", provenance.engine, version, _sha256(setup.recorded.path))
    if setup.compare:
        return GoldenSource("worker", DEFAULT_ENGINE, installed_version(engine_spec(DEFAULT_ENGINE)), None)
    return None


def _evaluate(
    setup: Setup, clips: Sequence[Clip], outcomes: Sequence[ClipOutcome], labels: Mapping[str, Label] | None
) -> Evaluation | None:
    """Recall and false accepts over the labelled clips that were carried out."""
    model = setup.model
    if labels is None:
        labels = labels_from_names(clip.name for clip in clips)
    labelled = [
        LabelledOutputs(
            name=clip.name,
            label=labels[clip.name],
            outputs=outcome.result.trace.outputs,
            seconds=max(0.0, outcome.result.slices * model.feature_step_size / 1000 - clip.lead_in),
            lead_in=clip.lead_in,
            vad=outcome.vad,
        )
        for clip, outcome in zip(clips, outcomes, strict=True)
        if clip.name in labels and outcome.result.status != "error"
    ]
    rule = Rule(model.sliding_window_size, model.stride, model.feature_step_size)
    return evaluate(labelled, rule, model.cutoff_byte) if labelled else None


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
