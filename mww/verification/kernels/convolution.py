"""Kernels with sliding windows: CONV_2D, DEPTHWISE_CONV_2D, AVERAGE_POOL_2D, MAX_POOL_2D, and MEAN.

From esp-tflite-micro kernels/esp_nn/conv.cc, depthwise_conv.cc, pooling.cc, conv_common.cc, reduce_common.cc.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mww.tflite.model_file import Tensor
from mww.tflite.schema import Conv2D, DepthwiseConv2D, Pool2D, Reducer
from mww.verification.kernels.node import Node, Problem, operands

_POOLED_TYPES = ("INT8", "INT16", "FLOAT32")
_MAX_MEAN_AXES = 2
"""kMaxNumberOfReducedAxis: the kernel keeps its axes in an array of two, and does not look whether they fit."""
_MAX_MEAN_RANK = 5
"""kMaxNumberOfAxis, of the array beside it."""

_TYPES = {
    "FLOAT32": (("FLOAT32",), ("FLOAT32",)),
    "INT8": (("INT8", "INT4"), ("INT32",)),
    "INT16": (("INT8",), ("INT64", "INT32")),
}
"""Input type: filter types, bias types. Anything else is a hybrid, which TFLM refuses."""

BIAS_TOLERANCE = 0.02
"""Of the output's scale; `GetQuantizedConvolutionMultipler` (kernel_util.cc) refuses more."""


@operands((1,), (1,))
def pool_2d(node: Node) -> Iterator[Problem]:
    """Types, one quantisation on both ends (nothing is rescaled), and the output's shape."""
    options = node.operator.options
    assert isinstance(options, Pool2D)
    source = node.input(0)
    yield from node.dtype(source, _POOLED_TYPES, "input")
    yield from node.dtype(node.output, (source.dtype,), "output")
    yield from node.quantised(node.output, "output")
    yield from node.same_quantisation(source, node.output, "input and output")
    yield from node.activation(options.activation)
    ranks = [*node.rank(source, (4,), "input"), *node.rank(node.output, (4,), "output")]
    yield from ranks
    if not ranks:
        window = Window(options.filter, options.stride, (1, 1), options.padding)
        yield from window_problems(node, window, source.shape[3])


@operands((2,), (1,))
def mean(node: Node) -> Iterator[Problem]:
    """At most two constant int32 axes, at most five dimensions, and the output's shape."""
    options = node.operator.options
    assert isinstance(options, Reducer)
    source, axis = node.input(0), node.input(1)
    yield from node.dtype(source, _POOLED_TYPES, "input")
    yield from node.dtype(node.output, (source.dtype,), "output")
    yield from node.quantised(source, "input")
    yield from node.quantised(node.output, "output")
    yield from node.rank(source, range(1, _MAX_MEAN_RANK + 1), "input")
    if not 1 <= axis.elements <= _MAX_MEAN_AXES:
        yield Problem(f"it reduces {axis.elements} axes", f"1 or {_MAX_MEAN_AXES}", str(axis.elements))
        return
    axes = node.integers(axis, axis.elements, "axis")
    if isinstance(axes, Problem):
        yield axes
        return
    rank = len(source.shape)
    if any(not -rank <= value < rank for value in axes):
        yield Problem(f"its axes {axes} do not exist", f"-{rank}..{rank - 1}", str(axes))
        return
    reduced = {value % rank for value in axes}
    kept = ((index, size) for index, size in enumerate(source.shape) if options.keep_dims or index not in reduced)
    yield from node.shape(node.output, [1 if index in reduced else size for index, size in kept], "output")


@dataclass(frozen=True, slots=True)
class Window:
    """A window; all pairs are (height, width)."""

    size: Sequence[int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: str

    @property
    def extent(self) -> tuple[int, int]:
        """Input rows and columns that one output sees, holes included."""
        rows, columns = ((size - 1) * gap + 1 for size, gap in zip(self.size, self.dilation, strict=True))
        return rows, columns

    def positions(self, axis: int, length: int) -> int:
        """Number of outputs along an axis (0 height, 1 width) of `length` inputs; 0 when the window does not fit."""
        step = self.stride[axis]
        if self.padding == "SAME":
            return -(-length // step)
        return max(0, (length - self.extent[axis]) // step + 1)


def window_problems(node: Node, window: Window, channels: int) -> Iterator[Problem]:
    """Check the window's numbers and, where they make sense, the output's shape; input and output have four dims."""
    for pair, what in ((window.size, "window"), (window.stride, "stride"), (window.dilation, "dilation")):
        if min(pair) < 1:
            yield Problem(f"its {what} is {list(pair)}", ">= 1", str(list(pair)))
            return
    batch, height, width, _ = node.input(0).shape
    rows, columns = window.positions(0, height), window.positions(1, width)
    if rows < 1 or columns < 1:
        message = f"{height}x{width}"
        expected = f">= {window.extent[0]}x{window.extent[1]}"
        yield Problem(f"its window does not fit into its input of {message}", expected, message)
    else:
        yield from node.shape(node.output, (batch, rows, columns, channels), "output")


@operands((2, 3), (1,), required=2)
def conv_2d(node: Node) -> Iterator[Problem]:
    """Types, channels, per-channel scales on dimension 0, bias, and the output's shape."""
    options = node.operator.options
    assert isinstance(options, Conv2D)
    problems = [*_operands(node), *node.activation(options.activation)]
    yield from problems
    if problems:
        return
    source, weights = node.input(0), node.input(1)
    if weights.shape[3] != source.shape[3]:
        message = f"its filter has {weights.shape[3]} input channels; esp-nn knows no grouped convolution"
        yield Problem(message, str(source.shape[3]), str(weights.shape[3]))
    yield from _weights(node, weights, channels=0)
    yield from _bias(node, weights, weights.shape[0])
    window = Window(weights.shape[1:3], options.stride, options.dilation, options.padding)
    yield from window_problems(node, window, weights.shape[0])


@operands((2, 3), (1,), required=2)
def depthwise_conv_2d(node: Node) -> Iterator[Problem]:
    """The same, with the filter [1, height, width, channels] and per-channel scales on dimension 3."""
    options = node.operator.options
    assert isinstance(options, DepthwiseConv2D)
    problems = [*_operands(node), *node.activation(options.activation)]
    yield from problems
    if problems:
        return
    source, weights = node.input(0), node.input(1)
    if weights.shape[0] != 1:
        yield Problem(f"its filter's first dimension is {weights.shape[0]}", "1", str(weights.shape[0]))
    channels = source.shape[3] * options.depth_multiplier
    if not channels or weights.shape[3] != channels:
        yield Problem(f"its filter has {weights.shape[3]} channels", str(channels), str(weights.shape[3]))
    yield from _weights(node, weights, channels=3)
    yield from _bias(node, weights, weights.shape[3])
    window = Window(weights.shape[1:3], options.stride, options.dilation, options.padding)
    yield from window_problems(node, window, weights.shape[3])


def _operands(node: Node) -> Iterator[Problem]:
    source, weights = node.input(0), node.input(1)
    for tensor, what in ((source, "input"), (weights, "filter"), (node.output, "output")):
        yield from node.rank(tensor, (4,), what)
    yield from operand_types(node, source, weights)


def operand_types(node: Node, source: Tensor, weights: Tensor) -> Iterator[Problem]:
    """Input, filter and output types that the convolution and dense kernels have code for."""
    yield from node.dtype(source, tuple(_TYPES), "input")
    if source.dtype in _TYPES:
        yield from node.dtype(weights, _TYPES[source.dtype][0], "filter")
        yield from node.dtype(node.output, (source.dtype,), "output")
    yield from node.quantised(source, "input")
    yield from node.quantised(node.output, "output")


def _weights(node: Node, weights: Tensor, *, channels: int) -> Iterator[Problem]:
    if weights.dtype == "FLOAT32":
        return
    quantization = weights.quantization
    if quantization is None:
        yield Problem("its filter has no quantisation", "a scale a channel")
        return
    count, expected = len(quantization.scales), weights.shape[channels]
    if count not in (1, expected):
        yield Problem(f"its filter has {count} scales", f"1 or {expected}", str(count))
    elif count > 1 and quantization.dimension != channels:
        result = str(quantization.dimension)
        yield Problem(f"its filter is quantised along dimension {result}", str(channels), result)
    yield from symmetric(weights)


def symmetric(weights: Tensor) -> Iterator[Problem]:
    """Zero points of weights are 0: esp-nn takes no filter offset."""
    if weights.quantization is not None and any(weights.quantization.zero_points):
        result = next(str(point) for point in weights.quantization.zero_points if point)
        yield Problem(f"its filter has the zero point {result}", "0", result)


def _bias(node: Node, weights: Tensor, channels: int) -> Iterator[Problem]:
    bias = node.optional(2)
    if bias is None:
        return
    source = node.input(0)
    yield from node.dtype(bias, _TYPES[source.dtype][1], "bias")
    yield from node.elements(bias, channels, "bias")
    if source.quantization is None or weights.quantization is None or bias.quantization is None:
        return
    output = node.output.quantization
    scales = bias.quantization.scales
    if output is None or len(scales) != len(weights.quantization.scales):
        return
    for weight, scale in zip(weights.quantization.scales, scales, strict=True):
        yield from bias_scale(source.quantization.scale * weight, scale, output.scale)
        if not abs(source.quantization.scale * weight - scale) <= BIAS_TOLERANCE * output.scale:
            return


def bias_scale(product: float, scale: float, output: float) -> Iterator[Problem]:
    """The bias is added to the sum of products as it stands, so its scale must be the products' scale."""
    if not abs(product - scale) <= BIAS_TOLERANCE * output:
        message = f"its bias has the scale {scale:.6g}, input times filter {product:.6g}"
        yield Problem(message, f"{product:.6g}", f"{scale:.6g}")
