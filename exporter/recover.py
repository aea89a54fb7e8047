"""Recovers the trained weights and calibrated ranges from a published streaming `.tflite`.

Norms are folded into the convolutions of a published model; a norm that only adds the bias replaces them.
`streaming_graph` reads the graph, `exporter.checkpoint` encodes the checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from exporter.checkpoint import weights_file
from exporter.conversion.folding import neutral_variance
from exporter.conversion.recovered_ranges import Ranges, ranges_document, recovered_ranges
from exporter.network.architecture import Architecture, FloatArray, Parameter, Weights
from exporter.network.configuration import DEFAULT_NAME, own_configuration
from exporter.network.graph_walk import constant_operand
from exporter.network.settings import trainer_configuration
from exporter.network.streaming_graph import ONLY, read_streaming_graph
from mww.core.errors import ModelFileError
from mww.core.files import write_files
from mww.core.readable import is_there, read_regular
from mww.tflite.model_file import ModelFile, Operator

_MAX_CONFIGURATION: Final = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Recovered:
    """The recovered parts of a model; `newest_attention_only` as in `StreamingGraph`."""

    architecture: Architecture
    weights: Weights
    ranges: Ranges
    newest_attention_only: bool


def recover(model: ModelFile) -> Recovered:
    """Read architecture, weights and activation ranges from an int8 streaming model.

    Raises:
        ModelFileError: The graph is not a MixedNet or Inception network, or is not quantised.
    """
    graph = read_streaming_graph(model)
    operators = {site.role: site.operator for site in graph.sites}
    try:
        with np.errstate(over="raise", invalid="raise"):
            weights = {
                parameter.role: _layer_weights(model, parameter, operators)
                for parameter in graph.architecture.parameters
            }
    except (ValueError, IndexError, FloatingPointError) as error:  # shapes, scales or constants that do not fit
        message = "the model's weights cannot be recovered: their shapes, scales or values do not fit the network"
        raise ModelFileError(message, hint=ONLY) from error
    return Recovered(graph.architecture, weights, recovered_ranges(graph), graph.newest_attention_only)


def write_recovered(recovered: Recovered, checkpoint: Path, *, config: Path | None, ranges: Path | None) -> Path:
    """Write a checkpoint in the official trainer's layout with its configuration, all files or none.

    Args:
        recovered: The result of `recover`.
        checkpoint: The `.weights.h5` to write.
        config: Its configuration; None for `training_config.yaml` beside it, or `NAME.training_config.yaml` where
            that is another network's.
        ranges: Where the activation ranges go; None: nowhere.

    Returns:
        The configuration's path.

    Raises:
        OutputError: Something cannot be written.
    """
    content = trainer_configuration(recovered.architecture).encode()
    config = config or _place_of_configuration(checkpoint, content)
    files = {checkpoint: weights_file(recovered.architecture, recovered.weights), config: content}
    if ranges:
        files[ranges] = json.dumps(ranges_document(recovered.ranges), indent=1).encode()
    write_files(files)
    return config


def _place_of_configuration(checkpoint: Path, content: bytes) -> Path:
    """Never over another configuration: the checkpoints beside it would be read as another network."""
    shared, own = checkpoint.with_name(DEFAULT_NAME), own_configuration(checkpoint)
    if is_there(own):  # it comes before the shared one
        return own
    try:
        is_free = not is_there(shared) or read_regular(shared, _MAX_CONFIGURATION) == content
    except OSError:
        is_free = False
    return shared if is_free else own


def _layer_weights(model: ModelFile, parameter: Parameter, operators: Mapping[str, Operator]) -> tuple[FloatArray, ...]:
    """The arrays of a layer, in Keras' shapes and order."""
    role, shapes = parameter.role, parameter.shapes
    if parameter.kind == "norm":
        layer = role.removesuffix("_norm")
        gamma = np.ones(shapes[0])
        if f"{layer}_scale" in operators:
            gamma = dequantized(model, constant_operand(model, operators[f"{layer}_scale"])).reshape(shapes[0])
            beta = dequantized(model, constant_operand(model, operators[f"{layer}_shift"])).reshape(shapes[1])
        else:
            beta = _bias(model, operators[layer], shapes[1])
        norm = (gamma, beta, np.zeros(shapes[2]), neutral_variance(*shapes[3]))
        return tuple(array.astype(np.float32) for array in norm)
    operator = operators[
        role
    ]  # TFLite keeps (filters, height, width, channels), depthwise (1, height, width, channels)
    stored = dequantized(model, operator.inputs[1])
    kernel = stored.T if parameter.kind == "dense" else stored.transpose(1, 2, 3, 0)
    if kernel.shape != shapes[0]:
        raise ModelFileError(
            f"the weights of {role} have shape {list(kernel.shape)}, not {list(shapes[0])}",
            hint="only models of microWakeWord's trainer can be recovered",
        )
    biases = (_bias(model, operator, shape) for shape in shapes[1:])
    return tuple(np.ascontiguousarray(array, np.float32) for array in (kernel, *biases))


def dequantized(model: ModelFile, index: int) -> npt.NDArray[np.float64]:
    """A constant as real numbers."""
    tensor = model.main.tensors[index]
    stored = model.constant(tensor)
    values: npt.NDArray[np.float64] = stored.astype(np.float64)
    quantization = tensor.quantization
    if quantization is None or not np.issubdtype(stored.dtype, np.integer):
        raise ModelFileError(f"tensor {index} is not quantised", hint="only int8 models can be recovered")
    if not quantization.per_channel:
        return (values - quantization.zero_point) * quantization.scale
    shape = [1] * values.ndim
    shape[quantization.dimension] = -1
    zero_points = np.array(quantization.zero_points).reshape(shape)
    scales = np.array(quantization.scales).reshape(shape)
    real: npt.NDArray[np.float64] = (values - zero_points) * scales
    return real


def _bias(model: ModelFile, operator: Operator, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """The bias of a convolution or dense layer; the converter leaves out a bias of zeros."""
    if len(operator.inputs) < 3 or operator.inputs[2] < 0:
        return np.zeros(shape)
    return dequantized(model, operator.inputs[2]).reshape(shape)
