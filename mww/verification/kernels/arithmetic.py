"""ADD, MUL, LOGISTIC, QUANTIZE and FULLY_CONNECTED (esp-tflite-micro kernels/*_common.cc, kernels/esp_nn/*.cc)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest

from mww.esphome.contract import OUTPUT_SCALE
from mww.tflite.model_file import Tensor
from mww.tflite.schema import Elementwise, FullyConnected
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


_MAX_BROADCAST_RANK = 4
_ADD_SHIFT = 20
"""left_shift of int8 ADD."""

_QUANTIZE = {
    "FLOAT32": ("INT8", "INT16"),
    "INT32": ("INT8", "INT16"),
    "INT16": ("INT8", "INT16", "INT32"),
    "INT8": ("INT8", "UINT8", "INT16", "INT32"),
    "UINT8": ("INT8",),
}
"""Input type to the output types that `EvalQuantizeReference` has code for."""


@operands((2,), (1,))
def add(node: Node) -> Iterator[Problem]:
    """One type, quantised, broadcastable; the output's scale not so fine that the multiplier reaches 1."""
    yield from node.dtype(node.output, ("INT8", "INT16", "FLOAT32", "INT32"), "output")
    for index in (0, 1):
        yield from node.dtype(node.input(index), (node.output.dtype,), f"input {index}")
    yield from _elementwise(node)
    scales = [tensor.quantization.scale for tensor in (node.input(0), node.input(1)) if tensor.quantization]
    if node.output.dtype == "INT8" and node.output.quantization is not None and len(scales) == 2:
        least = 2 * max(scales) / (1 << _ADD_SHIFT)
        result = node.output.quantization.scale
        if not result > least:
            yield Problem(
                f"its output's scale {result:.3g} is too fine for its inputs", f"> {least:.3g}", f"{result:.3g}"
            )


@operands((2,), (1,))
def mul(node: Node) -> Iterator[Problem]:
    """One type, quantised, broadcastable."""
    yield from node.dtype(node.input(0), ("INT8", "INT16", "INT32", "FLOAT32"), "input 0")
    yield from node.dtype(node.input(1), (node.input(0).dtype,), "input 1")
    yield from node.dtype(node.output, (node.input(0).dtype,), "output")
    yield from _elementwise(node)


def _elementwise(node: Node) -> Iterator[Problem]:
    assert isinstance(node.operator.options, Elementwise)
    yield from node.activation(node.operator.options.activation)
    for tensor, what in ((node.input(0), "input 0"), (node.input(1), "input 1"), (node.output, "output")):
        yield from node.quantised(tensor, what)
    shape = _broadcast(node.input(0), node.input(1))
    if shape is None:
        message = f"{list(node.input(0).shape)} and {list(node.input(1).shape)}"
        yield Problem(f"its inputs {message} do not broadcast", "matching dimensions, or 1", message)
        return
    if node.input(0).shape != node.input(1).shape and len(shape) > _MAX_BROADCAST_RANK:
        yield Problem(f"it broadcasts {len(shape)} dimensions", f"<= {_MAX_BROADCAST_RANK}", str(len(shape)))
    yield from node.shape(node.output, shape, "output")


def _broadcast(item: Tensor, other: Tensor) -> list[int] | None:
    pairs = zip_longest(reversed(item.shape), reversed(other.shape), fillvalue=1)
    shape = []
    for left, right in pairs:
        if left != right and 1 not in (left, right):
            return None
        shape.append(right if left == 1 else left)
    return shape[::-1]


@operands((1,), (1,))
def logistic(node: Node) -> Iterator[Problem]:
    """Int8 with an output of scale 1/256 and zero point -128: the kernel assumes both."""
    source, output = node.input(0), node.output
    yield from node.dtype(source, ("INT8", "INT16", "FLOAT32"), "input")
    yield from node.dtype(output, (source.dtype,), "output")
    yield from node.quantised(source, "input")
    yield from node.quantised(output, "output")
    yield from node.elements(output, source.elements, "output")
    if output.dtype == "INT8" and output.quantization is not None:
        point, scale = output.quantization.zero_point, output.quantization.scale
        if point != -128:
            yield Problem(f"its output's zero point is {point}", "-128", str(point))
        if scale != OUTPUT_SCALE:
            yield Problem(f"its output's scale is {scale:.9g}", f"{OUTPUT_SCALE:.9g}", f"{scale:.9g}")


@operands((1,), (1,))
def quantize(node: Node) -> Iterator[Problem]:
    """The pairs of types that have code, one scale on the output."""
    source, output = node.input(0), node.output
    yield from node.dtype(source, tuple(_QUANTIZE), "input")
    yield from node.dtype(output, _QUANTIZE.get(source.dtype, ("INT8",)), f"output of {source.dtype}")
    yield from node.quantised(source, "input")
    yield from node.quantised(output, "output")
    yield from node.elements(output, source.elements, "output")
