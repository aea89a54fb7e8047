"""A model's run up to the judgement: opens clips and targets, streams every clip, measures everything."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import get_args

from harness.clips.clip import AudioClip, Clip
from harness.clips.golden import Golden
from harness.clips.sources import ClipSource, left_out_of_source, open_clips
from harness.engines.catalog import ENGINES, engine_spec, installed_version
from harness.engines.opening import golden_engine
from harness.run.allowances import AllowanceFile
from harness.run.allowing import read_allowance_file
from harness.run.evaluation.labels import Label, labels_from_names, read_labels
from harness.run.journal import Journal
from harness.run.judging import Observed, nothing_but
from harness.run.options import RunOptions, Source
from harness.run.quality import check_gate
from harness.run.results import GoldenSource
from harness.run.sharing import ShareClips
from harness.run.workbench import Bench, Setup, open_benches
from harness.targets.base import ArenaUse, OperatorCost, TargetInfo
from harness.targets.registry import target_spec
from mww.core.errors import MwwError, UsageError
from mww.core.readable import Readable, open_regular, reading, shown
from mww.esphome.model import Model, load_model


def set_up(model: Model, options: RunOptions, recorded: Golden | None) -> Setup:
    """Make the common data of all jobs of a run; `recorded` is the golden to compare with, or None."""
    engine, vad = options.chosen_engine, options.vad
    compare = recorded is None and not (engine and engine.is_exact)
    vad = vad if vad is None or isinstance(vad, Model) else load_model(vad)
    return Setup(
        model=model,
        options=options.target_options,
        recorded=recorded,
        golden_engine=golden_engine(model.content) if compare else None,
        vad=vad,
        vad_engine=golden_engine(vad.content) if vad else None,
        from_audio=options.source == "audio",
    )


def check_inputs(setup: Setup, clips: Sequence[Clip], options: RunOptions) -> None:
    """Check that the options make sense together, before anything is opened."""
    model, recorded, jobs = setup.model, setup.recorded, options.jobs
    several = [target_spec(name).several for name in (options.target, *options.more_targets)]
    if not clips:
        raise UsageError("no clips are given", hint="give --wav, --features or --golden with at least one clip")
    if jobs < 1 or (jobs > 1 and not all(several)):
        raise UsageError(f"{jobs} jobs on the target {options.target}", hint="a board runs one clip at a time")
    if options.more_targets and (any(several) or len({options.target, *options.more_targets}) != len(several)):
        raise UsageError("several targets must be different boards", hint="name each board once; or --jobs")
    if recorded is not None:
        recorded.check_model(model)
    _check_source(setup, clips, options)
    if setup.vad is not None and setup.vad.feature_step_size != model.feature_step_size:
        steps = f"{setup.vad.feature_step_size} and {model.feature_step_size} ms"
        raise UsageError(
            f"the VAD model and the model take slices of different lengths: {steps}",
            hint="give a VAD model with the same feature_step_size in its manifest",
        )


def _check_source(setup: Setup, clips: Sequence[Clip], options: RunOptions) -> None:
    """Refuse `--from audio` for clips without sound, and for targets without a front-end."""
    if options.source not in get_args(Source):
        raise UsageError(
            f"the source {shown(options.source)} does not exist", hint=f"one of {', '.join(get_args(Source))}"
        )
    if not setup.from_audio:
        if any(fault.startswith("frontend=") for fault in options.faults):
            raise UsageError("a fault of the front-end, which receives no sound", hint="--from audio")
        return
    deaf = [name for name in (options.target, *options.more_targets) if not target_spec(name).hears]
    if deaf:
        raise UsageError(
            f"--from audio with the target {deaf[0]}, which has no front-end of its own",
            hint="use --target virtual, or a board's port",
        )
    if not all(isinstance(clip, AudioClip) for clip in clips):
        raise UsageError("--from audio without sound", hint="give clips with --wav")


def golden_source(setup: Setup) -> GoldenSource | None:
    """The origin of the golden outputs; None where nothing is compared."""
    if setup.recorded is not None:
        provenance = setup.recorded.provenance
        spec = ENGINES.get(provenance.engine)
        version = dict(provenance.versions).get(spec.distribution if spec else provenance.engine, "unknown")
        return GoldenSource("file", provenance.engine, version, sha256_of(setup.recorded.path))
    if setup.golden_engine is not None:
        return GoldenSource("worker", setup.golden_engine, installed_version(engine_spec(setup.golden_engine)), None)
    return None


def sha256_of(path: Readable) -> str:
    """Return the sha256 of a file, in hexadecimal.

    Raises:
        InputError: It cannot be read.
    """
    digest = hashlib.sha256()
    with reading(path, hint="check the path, and that you may read it"), open_regular(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """The inputs of a run, known before a target is opened.

    Attributes:
        setup: The common data of all benches; contains the model.
        clips: In their order.
        labels: Labels of clips, as far as they are known.
        lead_in: Seconds of silence in front of each clip.
        tolerance: The largest difference of an output byte that passes.
        golden: Where the golden outputs come from; None where nothing is compared.
        allowances: The file of accepted differences; None without one.
        manifest_sha256: None for a bare model.
        warnings: For people.
    """

    setup: Setup
    clips: Sequence[Clip]
    labels: Mapping[str, Label]
    lead_in: float
    tolerance: int
    golden: GoldenSource | None
    allowances: AllowanceFile | None
    manifest_sha256: str | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """The results of a run, before the judgement.

    Attributes:
        inputs: Its inputs.
        info: Facts about the target.
        arena: The arena that the target reports; None where the model could not be loaded.
        observed: The observations of each clip, in the order of the clips.
        refusal: Why the model could not be loaded, or the target not be opened again; None where neither happened.
        profile: What each operator costs; None where nobody asked, or it could not be measured.
        warnings: For people.
        started: UTC, ISO 8601.
        clock: `time.monotonic()` at that moment.
    """

    inputs: Inputs
    info: TargetInfo
    arena: ArenaUse | None
    observed: Sequence[Observed]
    refusal: MwwError | None
    profile: tuple[OperatorCost, ...] | None
    warnings: tuple[str, ...]
    started: str
    clock: float


def open_inputs(model: Model, clips: ClipSource, options: RunOptions, stack: ExitStack) -> Inputs:
    """Open the clips, and check that the options make sense together; `stack` closes the files.

    Raises:
        MwwError: An option is wrong, or an input cannot be read.
    """
    allowances = read_allowance_file(options.allowances)
    chosen, recorded = open_clips(clips, options.lead_in, stack, model.feature_step_size)
    setup = set_up(model, options, recorded)
    tolerance = options.largest_difference
    check_inputs(setup, chosen, options)
    labels = options.labels
    names = [clip.name for clip in chosen]
    absent: tuple[str, ...] = ()
    if isinstance(labels, Path | str):
        labels, absent = read_labels(labels, names)
    labels = labels_from_names(names) if labels is None else labels
    check_gate(options, [label.kind for name, label in labels.items() if name in set(names)])
    return Inputs(
        setup=setup,
        clips=chosen,
        labels=labels,
        lead_in=chosen[0].lead_in,
        tolerance=tolerance,
        golden=golden_source(setup),
        allowances=allowances,
        manifest_sha256=sha256_of(model.path) if model.from_manifest else None,
        warnings=(*left_out_of_source(clips), *_about_labels(names, labels, absent)),
    )


def _about_labels(names: Sequence[str], labels: Mapping[str, Label], absent: Sequence[str]) -> Iterator[str]:
    """Warnings about clips without a label beside labelled clips, and about labels of clips that do not run."""
    left = [name for name in names if name not in labels]
    if left and len(left) < len(names):
        those = f"{left[0]} has" if len(left) == 1 else f"{len(left)} of {len(names)} clips ({left[0]}, ...) have"
        yield f"{those} no label: recall and false accepts are those of the other clips"
    if absent:
        those = f"{absent[0]} is" if len(absent) == 1 else f"{len(absent)} labelled clips ({absent[0]}, ...) are"
        yield f"{those} not in this run"


def execute(
    inputs: Inputs,
    options: RunOptions,
    share: ShareClips,
    lost: dict[str, str],
    known: TargetInfo | None,
    stack: ExitStack,
) -> Execution:
    """Open the targets and run every clip.

    Boards that are `lost` are left out. If a target is `known` from an earlier model and can no longer be opened, that
    is an error of this model's clips, so that the earlier results are kept.

    Raises:
        MwwError: The target cannot be opened, and is not `known`.
    """
    started, clock = datetime.now(timezone.utc).isoformat(timespec="seconds"), time.monotonic()
    clips, names = inputs.clips, options.names(len(inputs.clips), lost)
    try:
        benches = open_benches(inputs.setup, names, lost if known else None, stack)
    except MwwError as error:
        if known is None:
            raise
        info, done = known, _refused(error, len(clips))
    else:
        done = _stream(benches, clips, options, share, lost)
        info = benches[0].info()
        for bench in benches:  # a board that runs clips again, to find the cause, serves one caller
            bench.close()
    return Execution(
        inputs=inputs,
        info=info,
        arena=done.arena,
        observed=done.observed,
        refusal=done.refusal,
        profile=done.profile,
        warnings=(*inputs.warnings, *lost.values(), *done.warnings),
        started=started,
        clock=clock,
    )


@dataclass(frozen=True, slots=True)
class _Streamed:
    """The part of an `Execution` that comes from the open targets."""

    arena: ArenaUse | None
    observed: Sequence[Observed]
    refusal: MwwError | None = None
    profile: tuple[OperatorCost, ...] | None = None
    warnings: tuple[str, ...] = ()


def _refused(error: MwwError, clips: int) -> _Streamed:
    return _Streamed(None, [nothing_but(error)] * clips, error)


def _stream(
    benches: Sequence[Bench], clips: Sequence[Clip], options: RunOptions, share: ShareClips, lost: dict[str, str]
) -> _Streamed:
    """Load the model on every bench, run all clips that are not finished yet, then profile."""
    try:
        use, *_ = [bench.load() for bench in benches]
    except MwwError as error:
        return _refused(error, len(clips))
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
        lost[loss.target] = f"{loss.target} was lost at clip {loss.clip}; continuing without it: {loss.error.message}"
    observed = [known.get(index) or next(fresh) for index in range(len(clips))]
    profile, warnings = _profile(benches[0], clips[0]) if options.profile else (None, ())
    return _Streamed(use, observed, profile=profile, warnings=warnings)


def _profile(bench: Bench, clip: Clip) -> tuple[tuple[OperatorCost, ...] | None, tuple[str, ...]]:
    """The cost of each operator, or why it could not be measured; a run is complete without it."""
    try:
        return bench.profile(clip), ()
    except MwwError as error:
        return None, (f"the operators could not be measured: {error.message}",)
