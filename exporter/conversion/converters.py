"""Converts a network with weights to an int8 `.tflite`: directly, or with TensorFlow.

Both find the same ranges and give the same model, except for names. TensorFlow's converter is the reference; the direct
converter does not need TensorFlow and is faster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from exporter.calibration.sets import RepresentativeDataset, check_shape
from exporter.checkpoint import Checkpoint
from exporter.conversion.direct.float_graph import float_model
from exporter.conversion.direct.quantisation import quantise
from exporter.conversion.folding import fold_norms
from exporter.conversion.ranges import calibrated_ranges, check_finite
from exporter.conversion.recovered_ranges import Ranges, ranges_of_tensors
from exporter.conversion.tensorflow_quietly import tensorflow_quietly
from mww.core.errors import UsageError
from mww.core.progress import Phases
from mww.core.readable import shown
from mww.core.scratch import scratch_folder
from mww.tflite.model_file import read_model


def convert_directly(checkpoint: Checkpoint, calibration: RepresentativeDataset | Ranges, phases: Phases) -> bytes:
    """Convert a network to int8.

    Raises:
        CalibrationError: The calibration belongs to another network.
        ConversionError: The network's activations overflow.
    """
    with phases("network"):
        architecture = checkpoint.architecture
        model = read_model(float_model(architecture, fold_norms(architecture, checkpoint.weights)))
    with phases("calibrate"):
        if isinstance(calibration, RepresentativeDataset):
            check_shape(calibration.frames, model.main.tensors[model.main.inputs[0]].shape)
            ranges = calibrated_ranges(model, calibration.frames, open_logit=calibration.is_random)
        else:
            ranges = ranges_of_tensors(model, calibration)
        check_finite(ranges)
    with phases("quantise"):
        return quantise(model, ranges)


Converter: TypeAlias = Literal["direct", "tensorflow"]
CONVERTERS: Final[tuple[Converter, ...]] = ("direct", "tensorflow")
"""The converters by name; the first is the default."""

Calibration: TypeAlias = RepresentativeDataset | Ranges
"""Frames to find the ranges with, or given ranges by role."""


@dataclass(frozen=True, slots=True)
class Converted:
    """A converted model, and its converter."""

    content: bytes
    converter: Converter


def convert(checkpoint: Checkpoint, calibration: Calibration, converter: Converter | None, phases: Phases) -> Converted:
    """Convert a network to int8.

    Args:
        checkpoint: The network.
        calibration: The frames or ranges for its quantisation.
        converter: Its name; None for the direct converter.
        phases: Receives the times of the phases.

    Raises:
        UsageError: The converter is unknown.
        CalibrationError: The calibration is that of another network.
        ConversionError: The network's activations overflow, or TensorFlow refused it.
        MissingPackageError: TensorFlow is needed and not installed.
    """
    chosen = converter or CONVERTERS[0]
    if chosen not in CONVERTERS:
        raise UsageError(f"unknown converter {shown(chosen)}", hint=f"converters: {', '.join(CONVERTERS)}")
    by = convert_directly if chosen == "direct" else _convert_by_tensorflow
    return Converted(by(checkpoint, calibration, phases), chosen)


def _convert_by_tensorflow(checkpoint: Checkpoint, calibration: Calibration, phases: Phases) -> bytes:
    with tensorflow_quietly(), scratch_folder("mww-export-") as folder:
        with phases("tensorflow"):
            from exporter.conversion import by_tensorflow, keras_network
        with phases("network"):
            streaming = keras_network.build_streaming_network(checkpoint.architecture, checkpoint.weights)
        with phases("saved_model"):
            by_tensorflow.write_saved_model(streaming, folder / "saved_model")
        if isinstance(calibration, RepresentativeDataset):
            return by_tensorflow.convert(folder / "saved_model", calibration, phases)
        stride = checkpoint.architecture.stride
        return by_tensorflow.convert_with_ranges(folder / "saved_model", stride, calibration, phases)
