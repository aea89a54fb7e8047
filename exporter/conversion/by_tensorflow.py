"""Converts a streaming Keras network to SavedModel, and SavedModel to an int8 `.tflite`, with TensorFlow's converter.

Calibration and quantisation are two steps here: ranges are computed by `exporter.conversion.ranges` where that is
possible, put into the float model as the converter's calibrator would have, and quantised by the converter's own last
step. Functions that import TensorFlow are to be called inside `tensorflow_quietly`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from exporter.calibration.sets import RepresentativeDataset, check_shape
from exporter.conversion.ranges import UnknownOperatorError, calibrated_ranges, check_finite
from exporter.conversion.recovered_ranges import ranges_of_tensors
from exporter.network.architecture import FloatArray
from mww.core.errors import CalibrationError, ConversionError
from mww.core.progress import Phases
from mww.esphome.contract import FEATURES
from mww.tflite.model_file import read_model

if TYPE_CHECKING:
    import keras

Frames = Callable[[], Iterator[list[FloatArray]]]
"""The converter's representative dataset: yields `[float32 [1, stride, 40]]`."""

_MAIN: Final = 0

_LOG: Final = logging.getLogger(__name__)


def write_saved_model(network: keras.Model, folder: Path) -> None:
    """Write a streaming network as SavedModel with one endpoint, `serve`.

    Keras' `model.export` would leave the batch size open, which leads to operators that no device registers. Its
    `ExportArchive` gives the same graph, but also saves the layers, which takes twice as long.
    """
    import tensorflow as tf

    def serve(features: Any) -> Any:
        return network.call(features)

    module = tf.Module()
    module.weights = [variable.value for variable in network.variables]
    signature = [tf.TensorSpec(shape=network.input.shape, dtype=tf.float32, name="features")]
    module.serve = tf.function(serve, input_signature=signature, autograph=False)
    tf.saved_model.save(module, str(folder), signatures={"serve": module.serve, "serving_default": module.serve})


def calibrated_float_model(saved_model: Path, frames: Frames) -> bytes:
    """Convert to a float `.tflite` in which the converter's calibrator stored a range for each tensor.

    Raises:
        ConversionError: The converter refused the model or the frames.
    """

    def step() -> bytes:
        converter = _converter(saved_model, frames)
        converter._experimental_calibrate_only = True
        model: bytes = converter.convert()
        return model

    return _convert(step)


def quantise(calibrated: bytes) -> bytes:
    """Turn a float model with stored ranges into the int8 model for devices: int8 in, uint8 out, int8 state.

    Raises:
        ConversionError: The converter refused the model.
    """
    import tensorflow as tf
    from tensorflow.lite.python.convert import deduplicate_readonly_buffers, mlir_quantize

    quantised = _convert(
        lambda: mlir_quantize(
            calibrated, input_data_type=tf.int8, output_data_type=tf.uint8, enable_variable_quantization=True
        )
    )
    deduplicated: bytes = bytes(deduplicate_readonly_buffers(quantised))
    return deduplicated


def convert_per_frame(saved_model: Path, frames: Frames) -> bytes:
    """The reference: the converter calibrates by invoking the model on each frame, then quantises.

    Raises:
        ConversionError: The converter refused the model or the frames.
    """
    return _convert(lambda: _converter(saved_model, frames).convert())


def note_ranges(model: bytes, ranges: Mapping[int, tuple[float, float]]) -> bytes:
    """Put other ranges into a calibrated float model, by tensor of the main graph."""
    from tensorflow.lite.tools import flatbuffer_utils

    content = flatbuffer_utils.convert_bytearray_to_object(bytearray(model))
    for index, (low, high) in ranges.items():
        quantization = content.subgraphs[_MAIN].tensors[index].quantization
        if quantization is not None and quantization.min is not None:
            quantization.min = np.array([low], np.float32)
            quantization.max = np.array([high], np.float32)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(content))


def convert(saved_model: Path, dataset: Frames, phases: Phases) -> bytes:
    """Convert a streaming SavedModel to int8, calibrated with a representative dataset.

    Raises:
        CalibrationError: The dataset does not yield frames of the model's shape.
        ConversionError: The converter refused the model, or its activations overflow.
    """
    frames = dataset.frames if isinstance(dataset, RepresentativeDataset) else _collect(dataset)
    check_shape(frames, _input_shape(saved_model))
    with phases("convert"):
        calibrated = calibrated_float_model(saved_model, lambda: iter([[frames[0][None]]]))
        model = read_model(calibrated)
    with phases("calibrate"):
        try:
            random = isinstance(dataset, RepresentativeDataset) and dataset.is_random
            ranges = calibrated_ranges(model, frames, open_logit=random)
        except UnknownOperatorError as error:
            _LOG.debug("calibrating frame by frame: %s", error)
            return convert_per_frame(saved_model, dataset)
    return quantise_with(calibrated, ranges, phases)


def convert_with_ranges(
    saved_model: Path, stride: int, ranges: Mapping[str, tuple[float, float]], phases: Phases
) -> bytes:
    """Convert a streaming SavedModel to int8, with given ranges by role.

    Raises:
        CalibrationError: The ranges belong to another network.
        ConversionError: The converter refused the model.
    """
    with phases("convert"):
        silence = np.zeros((1, stride, FEATURES), np.float32)
        calibrated = calibrated_float_model(saved_model, lambda: iter([[silence]]))
    return quantise_with(calibrated, ranges_of_tensors(read_model(calibrated), ranges), phases)


def quantise_with(calibrated: bytes, ranges: Mapping[int, tuple[float, float]], phases: Phases) -> bytes:
    """Quantise a calibrated float model with other ranges, by tensor.

    Raises:
        ConversionError: A range is not finite, or the converter refused the model.
    """
    check_finite(ranges)
    with phases("quantise"):
        return quantise(note_ranges(calibrated, ranges))


def _input_shape(saved_model: Path) -> tuple[int, ...]:
    from tensorflow.python.saved_model.loader_impl import parse_saved_model

    try:
        signatures = parse_saved_model(str(saved_model)).meta_graphs[0].signature_def
        (features,) = signatures["serving_default"].inputs.values()
    except (OSError, IndexError, ValueError) as error:
        hint = "give the folder that convert_model_saved wrote"
        raise ConversionError(f"{saved_model} does not hold a SavedModel with one input", hint=hint) from error
    return tuple(int(dimension.size) for dimension in features.tensor_shape.dim)


def _collect(dataset: Frames) -> FloatArray:
    """All frames of a representative dataset as one array [frames, stride, 40]."""
    frames = [np.asarray(inputs[0], np.float32) for inputs in dataset()]
    shapes = {frame.shape for frame in frames}
    if len(shapes) != 1 or len(frames[0].shape) != 3 or frames[0].shape[0] != 1:
        hint = "it must yield [float32 [1, stride, 40]], frame after frame"
        raise CalibrationError(f"the representative dataset yields {len(frames)} frames of {shapes or 0}", hint=hint)
    return np.concatenate(frames)


def _converter(saved_model: Path, frames: Frames) -> Any:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter._experimental_variable_quantization = True  # else the streaming state stays float
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.uint8
    converter.representative_dataset = tf.lite.RepresentativeDataset(frames)
    return converter


def _convert(step: Callable[[], Any]) -> bytes:
    """Run a step of the converter, which reports errors with exceptions of many kinds."""
    try:
        return bytes(step())
    except (ValueError, RuntimeError, TypeError, OSError) as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ConversionError(
            f"TensorFlow's converter refused the model: {reason[:300]}",
            hint="try --converter direct, which needs no TensorFlow",
        ) from error
