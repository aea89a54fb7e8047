"""The exporter's public face: from a trained checkpoint to a streaming INT8 model that ESPHome runs.

The names are those of an earlier exporter. Other modules do the work; TensorFlow is imported only inside the functions
that convert.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from exporter.calibration.sets import (
    MINIMUM_CLIPS,
    RepresentativeDataset,
    create_default_representative_dataset,
    create_representative_dataset_from_data,
)
from exporter.checkpoint import best_weights
from exporter.conversion.converters import Converter
from exporter.conversion.tensorflow_quietly import tensorflow_quietly
from exporter.export import (
    ChooseCutoff,
    ExportRequest,
    ExportResult,
    RefusedExportError,
    export,
    file_name,
)
from exporter.export import (
    manifest_options as _manifest_options,
)
from exporter.manifest import ManifestOptions, calculate_tensor_arena_size
from exporter.network.configuration import Configuration, find_configuration, load_configuration, parse_configuration
from exporter.optimization.optimize import optimize_for_edge
from mww.core.errors import UsageError
from mww.core.files import write_files
from mww.core.progress import Phases
from mww.core.readable import shown
from mww.verification import verify_esphome_compatibility

if TYPE_CHECKING:
    import keras

    from exporter.conversion.by_tensorflow import Frames

__all__ = [
    "ExportResult",
    "RefusedExportError",
    "calculate_tensor_arena_size",
    "convert_model_saved",
    "convert_saved_model_to_tflite",
    "convert_to_tflite",
    "create_default_representative_dataset",
    "create_representative_dataset_from_data",
    "export_to_tflite",
    "main",
    "optimize_for_edge",
    "verify_esphome_compatibility",
]

STREAMING = "stream_internal_state_inference"
"""The only mode for devices."""


def export_to_tflite(  # noqa: PLR0913  (keyword-only: each is one thing that a user may say)
    checkpoint: Path | str,
    output_dir: Path | str,
    *,
    config: Path | str | Configuration | Mapping[str, Any] | None = None,
    calibration: Path | str | npt.ArrayLike | RepresentativeDataset | None = None,
    calibration_ranges: Path | str | None = None,
    minimum_clips: int = MINIMUM_CLIPS,
    name: str | None = None,
    manifest_options: ManifestOptions | Mapping[str, Any] | None = None,
    chips: Sequence[str] | None = None,
    choose_cutoff: ChooseCutoff | None = None,
    optimize: bool = True,
    converter: Converter | None = None,
    keep_failed: bool = False,
    progress: Callable[[str], None] = lambda phase: None,
) -> ExportResult:
    """Export a checkpoint: `NAME.tflite` and `NAME.json` in a folder, verified, both or neither.

    Args:
        checkpoint: A trainer's checkpoint, or the official trainer's folder; its layout is recognised.
        output_dir: Folder to write to; made where it is missing.
        config: The trainer's configuration or our own; None: `training_config.yaml` beside the checkpoint, if there.
        calibration: An `.npz`, a folder, features [clips, slices, 40] or a dataset; None: random features.
        calibration_ranges: Ranges of a recovered model, in place of calibration.
        minimum_clips: Number of calibration clips that there must be.
        name: Of the files; None: the checkpoint's.
        manifest_options: What the manifest says.
        chips: On which the tensor arena must suffice; None: all that are known.
        choose_cutoff: Picks the probability cutoff by trying the model; None: the manifest's options have it.
        optimize: Leave out what no runtime reads, and order the operators for the smallest arena; no output changes.
        converter: What makes the model; None: the direct one, which needs no TensorFlow.
        keep_failed: Write the files of a model that breaks a rule, too, and return its result.
        progress: Called with the name of each phase as it begins.

    Raises:
        RefusedExportError: The model breaks a rule of the runtime.
        MwwError: The export was not possible; nothing was written.
    """
    path = best_weights(Path(checkpoint))
    configuration = _configuration(config, path)
    request = ExportRequest(
        checkpoint=path,
        output_dir=Path(output_dir),
        config=configuration,
        calibration=Path(calibration) if isinstance(calibration, str) else calibration,
        calibration_ranges=Path(calibration_ranges) if calibration_ranges else None,
        minimum_clips=minimum_clips,
        name=file_name(name, Path(checkpoint)),
        options=_manifest_options(configuration, manifest_options, tuple(chips) if chips else None),
        choose_cutoff=choose_cutoff,
        optimize=optimize,
        converter=converter,
        keep_failed=keep_failed,
        phases=Phases(progress),
    )
    return export(request)


def convert_to_tflite(checkpoint: Path | str, output_dir: Path | str, **options: Any) -> ExportResult:
    """The former name of `export_to_tflite`, with the same arguments."""
    warnings.warn("convert_to_tflite is now export_to_tflite", DeprecationWarning, stacklevel=2)
    return export_to_tflite(checkpoint, output_dir, **options)


def convert_model_saved(
    model: keras.Model,
    config: Path | str | Configuration | Mapping[str, Any] | None,
    folder: Path | str,
    mode: str = STREAMING,
) -> keras.Model:
    """Turn a trained, non-streaming Keras model into the streaming one, and write it as SavedModel.

    Args:
        model: A trainer's model, or one of `exporter.conversion.keras_network`.
        config: Settings that the model does not contain; see `export_to_tflite`.
        folder: Where the SavedModel is written.
        mode: The mode that devices run; no other is converted.

    Returns:
        The streaming model: float32 [1, stride, 40] to [1, 1], its state in ring buffers that start at zero.

    Raises:
        UsageError: Another mode.
        CheckpointError: The model is not a wake word network, or contradicts the configuration.
        ConfigurationError: Neither gives a setting that is needed.
    """
    if mode.lower() != STREAMING:
        raise UsageError(f"mode {shown(mode)} is not converted", hint=f"devices run {STREAMING}")
    configuration = _configuration(config, None)
    with tensorflow_quietly():
        from exporter.conversion import by_tensorflow, keras_network

        checkpoint = keras_network.checkpoint_of(model, configuration.settings)
        streaming = keras_network.build_streaming_network(checkpoint.architecture, checkpoint.weights)
        by_tensorflow.write_saved_model(streaming, Path(folder))
    return streaming


def _configuration(
    config: Path | str | Configuration | Mapping[str, Any] | None, checkpoint: Path | None
) -> Configuration:
    """The given configuration, or else the configuration beside the checkpoint."""
    if isinstance(config, Configuration):
        return config
    if isinstance(config, Mapping):
        return parse_configuration(config)
    path = find_configuration(checkpoint) if config is None and checkpoint else config
    return load_configuration(Path(path)) if path else Configuration()


def convert_saved_model_to_tflite(
    saved_model_dir: Path | str, output_path: Path | str, representative_dataset: Frames
) -> Path:
    """Convert a streaming SavedModel to a `.tflite` with int8 input, uint8 output and int8 state.

    Args:
        saved_model_dir: As `convert_model_saved` writes it.
        output_path: The file to write.
        representative_dataset: Yields `[float32 [1, stride, 40]]`, frame after frame, features of 0..26.

    Raises:
        CalibrationError: The dataset yields something else.
        ConversionError: The converter refused the model.
        OutputError: The file cannot be written.
    """
    target = Path(output_path)
    with tensorflow_quietly():
        from exporter.conversion import by_tensorflow

        content = by_tensorflow.convert(Path(saved_model_dir), representative_dataset, Phases())
    write_files({target: content})
    return target


def main(argv: Sequence[str] | None = None) -> int:
    """Run `mww-export`, which is `mww export`; return its exit code."""
    import sys

    from harness.cli import execute
    from harness.cli.export import command

    return execute(command, sys.argv[1:] if argv is None else list(argv), name="mww-export")
