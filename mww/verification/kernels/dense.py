"""FULLY_CONNECTED (esp-tflite-micro kernels/esp_nn/fully_connected.cc, fully_connected_common.cc)."""

from __future__ import annotations

from collections.abc import Iterator

from mww.tflite.model_file import Tensor
from mww.tflite.operator_options import FullyConnected
from mww.verification.kernels.convolution import bias_scale, operand_types, symmetric
from mww.verification.kernels.node import Node, Problem, operands

_PER_CHANNEL_HINT = "set converter._experimental_disable_per_channel_quantization_for_dense_layers = True"


@operands((2, 3), (1,), required=2)
def fully_connected(node: Node) -> Iterator[Problem]:
    """Types, one scale for all weights (the esp-nn path reads no other), bias, and matching sizes."""
    options = node.operator.options
    assert isinstance(options, FullyConnected)
    source, weights = node.input(0), node.input(1)
    yield from operand_types(node, source, weights)
    yield from node.rank(weights, (2,), "filter")
    yield from node.activation(options.activation)
    if options.weights_format:
        yield Problem("its weights are shuffled", "the default format", str(options.weights_format))
    if len(weights.shape) != 2 or not node.output.shape:
        yield from node.rank(node.output, (1, 2, 3, 4), "output")
        return
    units, depth = weights.shape
    if node.output.shape[-1] != units:
        yield Problem(f"its output has {node.output.shape[-1]} units", str(units), str(node.output.shape[-1]))
    if units and depth and source.elements * units != node.output.elements * depth:
        expected = str(node.output.elements * depth // units)
        yield Problem(f"its input has {source.elements} elements", expected, str(source.elements))
    yield from _weights(node, source, weights)


def _weights(node: Node, source: Tensor, weights: Tensor) -> Iterator[Problem]:
    bias = node.optional(2)
    if bias is not None:
        yield from node.elements(bias, weights.shape[0], "bias")
    if source.dtype != "INT8":
        return
    if bias is not None:
        yield from node.dtype(bias, ("INT32",), "bias")
    if weights.quantization is None:
        yield Problem("its filter has no quantisation", "one scale")
        return
    yield from symmetric(weights)
    if weights.quantization.per_channel:
        text = f"{len(weights.quantization.scales)} scales"
        message = "its filter is quantised per channel, and esp-nn's kernel reads only the first scale"
        yield Problem(message, "one scale", text, hint=_PER_CHANNEL_HINT)
    elif bias is not None and source.quantization is not None and node.output.quantization is not None:
        scale = bias.quantization.scale if bias.quantization is not None else 0.0
        product = source.quantization.scale * weights.quantization.scale
        yield from bias_scale(product, scale, node.output.quantization.scale)
