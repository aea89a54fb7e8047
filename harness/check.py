"""A run: clips through a target, every output against the golden, ESPHome's detection rule, the arena, the verdict.

The target is opened by name through `harness.targets.registry`, what a clip's numbers mean `harness.run.judging`
says, and results are written by `harness.report`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from pathlib import Path

from harness.clips.clip import Clip
from harness.clips.sources import ClipSource, open_clips
from harness.run.account import environment, judge_arena, warnings_for
from harness.run.allowances.file import AllowanceFile
from harness.run.allowing import account, allowing, proposal, read_allowance_file
from harness.run.causes import Wrong, bisect_line, name_causes, wrong_clips
from harness.run.evaluation.labels import Label
from harness.run.journal import Journal
from harness.run.judging import Judge, Observed, nothing_but
from harness.run.options import RunOptions
from harness.run.preparation import check_inputs, golden_source, set_up, sha256_of
from harness.run.problems import plain_problems
from harness.run.quality import evaluate_clips
from harness.run.results import ArenaResult, ClipResult, Problem, RunResult, VadSource, Verdict
from harness.run.search import Found, find_operator
from harness.run.sharing import ShareClips, run_clips
from harness.run.workbench import Bench, open_benches
from harness.targets.base import TargetInfo
from harness.targets.registry import EMULATOR, target_spec
from mww.core.errors import MwwError, UsageError
from mww.core.progress import Progress, no_progress
from mww.esphome.model import Model, load_model


def check(  # noqa: PLR0913 -- the fields of RunOptions
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
    progress: Progress = no_progress,
    allowances: AllowanceFile | Path | str | None = None,
    faults: tuple[str, ...] = (),
    cluster: str | None = None,
    bisect: bool | None = None,
) -> RunResult:
    """Stream clips through a model on a target and judge every output.

    Args:
        model: A manifest or `.tflite`.
        clips: WAV files and folders; a feature file or golden (`.npz`); or arrays int8 or uint16 `[slices, 40]` by
            name. A golden's recorded outputs are what is compared with. Otherwise TFLM makes them on the spot, unless
            the target is the emulator's TFLM itself: then nothing is compared.
        target: `emulator`, `virtual`, or the port of a board.
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
        cluster: The address of a Dask scheduler over whose workers clips are spread, or `local:N`; see docs/cluster.md.
        allowances: The file of differences that were accepted; see `harness.run.allowances`.
        faults: What goes wrong on the virtual board of the target `virtual`; see `harness.virtual.faults`.
        bisect: Whether wrong outputs that nothing explains are followed to the operator, which gives a board a copy of
            the model; None: on a virtual one.

    Returns:
        The result; its verdict is `error` where a clip could not be carried out.

    Raises:
        MwwError: Nothing could be run: an option, file or package is wrong, the target cannot be opened, or it cannot
            load the model.
    """
    where = (target, engine, chip, baud, flash, faults)
    judged = (tolerance, lead_in, vad, labels)
    options = RunOptions(*where, *judged, jobs, progress, allowances, bisect, cluster=cluster)
    loaded = model if isinstance(model, Model) else load_model(model)
    return check_models([loaded], clips, options)[0]


def check_models(models: Sequence[Model], clips: ClipSource, options: RunOptions) -> tuple[RunResult, ...]:
    """Do what `check` does, for one model after the other.

    Of several, one that cannot be loaded is an error of all its clips, and the others go on.

    Raises:
        MwwError: As for `check`.
    """
    results: list[RunResult] = []
    lost: dict[str, str] = {}
    with _sharing(options) as share:
        for model in models:
            result, refusal = _check(model, clips, options, share, lost, results[-1].target if results else None)
            if refusal is not None and len(models) == 1:
                raise refusal
            results.append(result)
    return tuple(results)


@contextmanager
def _sharing(options: RunOptions) -> Iterator[ShareClips]:
    """How clips are shared out: among the benches here, or over a cluster, whose modules are only imported then."""
    if options.cluster is None:
        yield run_clips
        return
    if options.more_targets or not target_spec(options.target).several:
        hint = "leave --cluster out: a board is at one machine; a cluster runs emulators and virtual boards"
        raise UsageError(f"--cluster with the target {options.target}", hint=hint)
    if options.jobs != 1:
        raise UsageError("--jobs with --cluster", hint="each thread of the cluster's workers runs a clip at a time")
    from harness.run.cluster.connection import Cluster

    with Cluster(options.cluster) as cluster:
        yield cluster.run_clips


def _check(
    model: Model,
    clips: ClipSource,
    options: RunOptions,
    share: ShareClips,
    lost: dict[str, str],
    known: TargetInfo | None,
) -> tuple[RunResult, MwwError | None]:
    """The result, and why the model could not be loaded where it could not.

    `lost` boards are done without. A target that is `known` from an earlier model and cannot be opened any more is an
    error of this model's clips, so that the earlier results are not lost.
    """
    allowances = read_allowance_file(options.allowances)
    with ExitStack() as stack:
        chosen, recorded = open_clips(clips, options.lead_in, stack)
        setup, tolerance = set_up(model, options, recorded), options.largest_difference
        check_inputs(setup, chosen, options)
        source, manifest = golden_source(setup), sha256_of(model.path) if model.from_manifest else None
        started, clock = datetime.now(timezone.utc), time.monotonic()
        refusal: MwwError | None
        try:
            benches = open_benches(setup, options.names(len(chosen), lost), lost if known else None, stack)
        except MwwError as error:
            if known is None:
                raise
            arena, seen, refusal, info = None, [nothing_but(error)] * len(chosen), error, known
        else:
            arena, seen, refusal = _run(benches, chosen, options, share, lost)
            info = benches[0].info()
            for bench in benches:  # a board that is asked again, why its outputs are wrong, takes one caller
                bench.close()
        judge = Judge(model, setup.vad, tolerance, allowing(allowances, model, info))
        results = tuple(judge.judge(clip, observed) for clip, observed in zip(chosen, seen, strict=True))
        problems = _problems(judge, options, info, arena, list(zip(chosen, seen, results, strict=True)))
    result = RunResult(
        verdict=_verdict(arena, [result.status for result in results]),
        model=model.name,
        model_sha256=model.sha256,
        manifest_sha256=manifest,
        stride=model.stride,
        feature_step_size=model.feature_step_size,
        probability_cutoff=model.probability_cutoff,
        sliding_window_size=model.sliding_window_size,
        target=info,
        golden=source,
        tolerance=tolerance,
        lead_in=recorded.provenance.lead_in if recorded else options.lead_in,
        arena=arena,
        clips=results,
        warnings=(*lost.values(), *warnings_for(model, arena, results)),
        environment=environment(),
        started=started.isoformat(timespec="seconds"),
        seconds=time.monotonic() - clock,
        evaluation=evaluate_clips(judge, chosen, seen, options.labels),
        problems=problems,
        allowances=account(allowances, model, info, results),
        proposed_allowance=proposal(model, info, results, problems),
        vad=None if setup.vad is None else VadSource(setup.vad.name, setup.vad.sha256, setup.vad_engine or ""),
    )
    return result, refusal


def _problems(
    judge: Judge,
    options: RunOptions,
    info: TargetInfo,
    arena: ArenaResult | None,
    carried_out: Sequence[tuple[Clip, Observed, ClipResult]],
) -> tuple[Problem, ...]:
    """Everything that is wrong, by name; clips whose outputs are wrong are run again to tell why."""
    lead_ins = {clip.name: clip.lead_in for clip, _, _ in carried_out}
    results = [result for _, _, result in carried_out]
    plain = plain_problems(arena, results, lambda one: judge.expected_of_device(one, lead_ins[one.name]))
    target_options, wanted = options.target_options, options.bisect

    def search(wrong: Wrong) -> Found | None:
        return find_operator(judge.model, wrong.clip, wrong.target or options.target, target_options)

    causes = name_causes(
        judge.model,
        wrong_clips(carried_out),
        on_board=info.kind != EMULATOR,
        bisect=bisect_line(judge.model, options.target, target_options),
        search=search if wanted or (wanted is None and options.flash and info.kind == "virtual") else None,
    )
    return (*plain, *causes)


def _run(
    benches: Sequence[Bench], clips: Sequence[Clip], options: RunOptions, share: ShareClips, lost: dict[str, str]
) -> tuple[ArenaResult | None, list[Observed], MwwError | None]:
    """Load the model on every bench, then run all clips that were not finished before."""
    try:
        use, *_ = [bench.load() for bench in benches]
    except MwwError as error:
        return None, [nothing_but(error)] * len(clips), error
    setup, info = benches[0].setup, benches[0].info()
    journal = Journal(options.unfinished, setup, info) if options.unfinished else None
    known = {index: journal.recall(clip) for index, clip in enumerate(clips)} if journal else {}
    left = [clip for index, clip in enumerate(clips) if known.get(index) is None]
    done = len(clips) - len(left)

    def finished(clip: Clip, observed: Observed) -> None:
        nonlocal done
        done += 1
        if journal is not None:
            journal.note(clip, observed)
        options.progress(setup.model.name, done, len(clips))

    seen, losses = share(benches, left, finished)
    fresh = iter(seen)
    for loss in losses:
        lost[loss.target] = f"{loss.target} was lost at clip {loss.clip}, and done without: {loss.error.message}"
    return judge_arena(setup.model, info, use), [known.get(index) or next(fresh) for index in range(len(clips))], None


def _verdict(arena: ArenaResult | None, clips: Sequence[Verdict]) -> Verdict:
    if arena is None or "error" in clips:
        return "error"
    return "fail" if "fail" in clips or arena.fits is False else "pass"
