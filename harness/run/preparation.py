"""What a run needs before its first clip: inputs that can be meant, the golden's source, the setup of its jobs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import get_args

from harness.clips.clip import AudioClip, Clip
from harness.clips.golden import Golden
from harness.engines.catalog import ENGINES, engine_spec, installed_version
from harness.engines.opening import golden_engine
from harness.run.options import RunOptions, Source
from harness.run.results import GoldenSource
from harness.run.workbench import Setup
from harness.targets.registry import target_spec
from mww.core.errors import InputError, UsageError
from mww.core.readable import Readable, open_regular
from mww.esphome.model import Model, load_model


def set_up(model: Model, options: RunOptions, recorded: Golden | None) -> Setup:
    """Say what every job of a run has in common; `recorded` is the golden to compare with, None without one."""
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
    """Refuse, before anything is opened, what cannot be meant."""
    model, recorded, jobs = setup.model, setup.recorded, options.jobs
    several = [target_spec(name).several for name in (options.target, *options.more_targets)]
    if not clips:
        raise UsageError("there are no clips", hint="give --wav, --features or --golden with at least one clip")
    if jobs < 1 or (jobs > 1 and not all(several)):
        raise UsageError(f"{jobs} jobs on the target {options.target}", hint="one board runs one clip at a time")
    if options.more_targets and (any(several) or len({options.target, *options.more_targets}) != len(several)):
        raise UsageError("several targets that are not each another board", hint="name each board once; or --jobs")
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
    """Refuse sound from clips without sound, and for targets that hear none."""
    if options.source not in get_args(Source):
        raise UsageError(f"the source {options.source!r} does not exist", hint=f"one of {', '.join(get_args(Source))}")
    if not setup.from_audio:
        if any(fault.startswith("frontend=") for fault in options.faults):
            raise UsageError("a fault of the front-end, which is sent no sound", hint="--from audio")
        return
    deaf = [name for name in (options.target, *options.more_targets) if not target_spec(name).hears]
    if deaf:
        raise UsageError(
            f"--from audio with the target {deaf[0]}, which has no front-end of its own",
            hint="--target virtual, or a board's port",
        )
    if not all(isinstance(clip, AudioClip) for clip in clips):
        raise UsageError("--from audio without sound", hint="give clips by --wav")


def golden_source(setup: Setup) -> GoldenSource | None:
    """Tell where the golden outputs come from; None where nothing is compared."""
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
    try:
        with open_regular(path) as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {error.strerror}", hint="check the path, and that you may read it"
        ) from error
