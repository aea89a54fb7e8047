"""The export from end to end: from checkpoint and calibration to a verified model with its manifest, both or neither.

`checkpoint` and `configuration` read, `converters` converts, `verification` judges; this module calls them in order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

import numpy.typing as npt

from exporter.calibration.feature_sets import clips_from_array, load_clips
from exporter.calibration.sets import (
    RepresentativeDataset,
    create_default_representative_dataset,
    representative_dataset,
)
from exporter.checkpoint import Checkpoint, load_checkpoint
from exporter.conversion.converters import Calibration, Converter, convert
from exporter.conversion.recovered_ranges import load_ranges
from exporter.manifest import ManifestOptions, manifest_of
from exporter.model_analyzer import ModelAnalysis
from exporter.model_analyzer.architecture import analyze_source
from exporter.model_analyzer.source import Source
from exporter.network.architecture import Architecture
from exporter.network.configuration import Configuration
from exporter.optimization.optimize import optimize_for_edge
from mww.core.errors import MwwError, UnsupportedModelError, UsageError
from mww.core.files import check_folder, write_files
from mww.core.progress import Phases
from mww.core.readable import shown
from mww.esphome.manifest import manifest_file, parse_manifest
from mww.tflite.model_file import ModelFile, read_model
from mww.tflm.arena import ArenaPrediction, predict_arenas
from mww.verification import VerificationReport, verify_model

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class CutoffChoice(Protocol):
    """The answer of a cutoff chooser, which may hold more."""

    @property
    def cutoff(self) -> float:
        """The probability cutoff, 0..1."""


ChooseCutoff: TypeAlias = Callable[[bytes, int, int], CutoffChoice]
"""Chooses the cutoff of a model: called with its bytes, the sliding window size and the milliseconds a slice."""


@dataclass(frozen=True, slots=True)
class CalibrationSummary:
    """The calibration of the model, and the resulting input quantisation."""

    source: str
    clips: int
    input_scale: float
    input_zero_point: int


@dataclass(frozen=True, eq=False)
class ExportResult:
    """An exported model.

    Attributes:
        model: The `.tflite`; it exists only if `written`.
        manifest: Its manifest, beside it.
        model_sha256: Hexadecimal SHA-256 of the model.
        written: Whether the two files were written: not when a check failed, except with `keep_failed`.
        verification: Every check of the runtime's rules.
        architecture: The network.
        converter: What converted it.
        calibration: What it was calibrated with.
        arena: The prediction for each asked chip, with the manifest's size.
        tensor_arena_size: The manifest's, in bytes.
        probability_cutoff: The manifest's.
        cutoff_choice: What the cutoff chooser answered, or None.
        analysis: What the model is made of.
        seconds: By phase.
    """

    model: Path
    manifest: Path
    model_sha256: str
    written: bool
    verification: VerificationReport
    architecture: Architecture
    converter: Converter
    calibration: CalibrationSummary
    arena: tuple[ArenaPrediction, ...]
    tensor_arena_size: int
    probability_cutoff: float
    cutoff_choice: CutoffChoice | None
    analysis: ModelAnalysis
    seconds: Mapping[str, float]

    @property
    def compatible(self) -> bool:
        """Whether no check failed."""
        return self.verification.compatible


class RefusedExportError(MwwError):
    """The model was made, but breaks a rule of the runtime; `result` has the details."""

    code = "verification"
    exit_code = 1

    def __init__(self, result: ExportResult) -> None:
        first, *others = result.verification.failures
        more = f" (and {len(others)} more)" if others else ""
        super().__init__(
            f"the exported model fails {first.id}: {first.message}{more}",
            hint=first.hint or f"docs/reference/checks.md explains {first.id}",
        )
        self.result = result


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """The parsed arguments of an export; see `exporter.tflite.export_to_tflite`."""

    checkpoint: Path
    output_dir: Path
    config: Configuration
    calibration: Path | npt.ArrayLike | RepresentativeDataset | None
    calibration_ranges: Path | None
    minimum_clips: int
    name: str
    options: ManifestOptions
    choose_cutoff: ChooseCutoff | None
    keep_failed: bool
    optimize: bool
    converter: Converter | None = None
    phases: Phases = field(default_factory=Phases)


def manifest_options(
    config: Configuration, options: ManifestOptions | Mapping[str, Any] | None, chips: tuple[str, ...] | None
) -> ManifestOptions:
    """The manifest's values: from the options, else the configuration, else the defaults.

    Raises:
        ConfigurationError: An option is unknown.
    """
    if isinstance(options, ManifestOptions):
        return replace(options, chips=chips) if chips else options
    step = {} if config.feature_step_size is None else {"feature_step_size": config.feature_step_size}
    reported = {**step, **config.manifest, **(options or {})}
    return ManifestOptions.from_mapping(reported | {"chips": chips} if chips else reported)


def file_name(name: str | None, checkpoint: Path) -> str:
    """The given name, or the checkpoint's without its suffixes.

    Raises:
        UsageError: It is not a plain file name.
    """
    chosen = (checkpoint.name or checkpoint.resolve().name).split(".")[0] if name is None else name
    if not _NAME.fullmatch(chosen):
        hint = f"{'use' if name is not None else 'give --name, with'} the letters a to z, digits, -, _ and ."
        raise UsageError(f"{shown(chosen)} cannot be the name of the files", hint=hint)
    return chosen


def export(request: ExportRequest) -> ExportResult:
    """Export, verify and write.

    Raises:
        RefusedExportError: The model breaks a rule of the runtime.
        MwwError: The export was not possible; nothing was written.
    """
    phases = request.phases
    check_folder(request.output_dir)
    with phases("read"):
        checkpoint = load_checkpoint(request.checkpoint, request.config.settings)
        calibration = _calibration(request, checkpoint.architecture.stride)
    converted = convert(checkpoint, calibration, request.converter, phases)
    model = read_model(_optimize(converted.content, request) if request.optimize else converted.content)
    result, manifest = _judge(request, checkpoint, calibration, converted.converter, model)
    if result.compatible or request.keep_failed:
        write_files({result.model: model.content, result.manifest: manifest})
        return replace(result, written=True)
    raise RefusedExportError(result)


def _calibration(request: ExportRequest, stride: int) -> Calibration:
    if request.calibration_ranges:
        return load_ranges(request.calibration_ranges)
    given = request.calibration
    if given is None:
        return create_default_representative_dataset(stride=stride)
    if isinstance(given, RepresentativeDataset):
        return given
    if isinstance(given, Path):
        source, clips = str(given), load_clips(given, step_ms=request.options.feature_step_size)
    else:
        source, clips = "features", clips_from_array(given)
    return representative_dataset(clips, source, stride=stride, minimum=request.minimum_clips)


def _optimize(converted: bytes, request: ExportRequest) -> bytes:
    """Make the model smaller; a model that the runtime would refuse is unchanged, and the verification reports why."""
    with request.phases("optimise"):
        try:
            return optimize_for_edge(converted, chips=request.options.chips)
        except UnsupportedModelError:
            return converted


def _judge(
    request: ExportRequest, checkpoint: Checkpoint, calibration: Calibration, converter: Converter, model: ModelFile
) -> tuple[ExportResult, bytes]:
    """Choose the cutoff, make the manifest and verify both; return the manifest's file too."""
    options, target = request.options, request.output_dir / f"{request.name}.tflite"
    choice = None
    if request.choose_cutoff is not None:
        with request.phases("cutoff"):
            choice = request.choose_cutoff(model.content, options.sliding_window_size, options.feature_step_size)
            options = replace(options, probability_cutoff=choice.cutoff)
    with request.phases("verify"):
        content = manifest_of(model, target.name, options)
        size: int = content["micro"]["tensor_arena_size"]
        manifest = parse_manifest(content, target.with_suffix(".json"), target.with_name)
        report = verify_model(model, target, content=content)
        analysis = analyze_source(Source(manifest.path, target, model, manifest))
        quantization = model.main.tensors[model.main.inputs[0]].quantization
    dataset = calibration if isinstance(calibration, RepresentativeDataset) else None
    summary = CalibrationSummary(
        source=dataset.source if dataset else str(request.calibration_ranges),
        clips=dataset.clips if dataset else 0,
        input_scale=quantization.scale if quantization else 0.0,
        input_zero_point=quantization.zero_point if quantization else 0,
    )
    result = ExportResult(
        model=target,
        manifest=manifest.path,
        model_sha256=model.sha256,
        written=False,
        verification=report,
        architecture=checkpoint.architecture,
        converter=converter,
        calibration=summary,
        arena=predict_arenas(model, options.chips, manifest_size=size),
        tensor_arena_size=size,
        probability_cutoff=options.probability_cutoff,
        cutoff_choice=choice,
        analysis=analysis,
        seconds=request.phases.seconds,
    )
    return result, manifest_file(content)
