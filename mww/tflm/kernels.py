"""What each kernel's `Prepare` allocates, in its order, and what makes it refuse; one function an operator.

They read as TFLM's do (`tensorflow/lite/micro/kernels/`), with the memory that they ask for yielded instead of taken.
The convolutions are in `convolutions`; operators on resource variables are `micro_allocator`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import ceil
from typing import Final

from mww.tflite import schema as options
from mww.tflite.model_file import Tensor
from mww.tflm.convolutions import conv_2d, depthwise_conv_2d, fully_connected
from mww.tflm.node import Node, Persistent, Request, Scratch, TempTensor


def _add(node: Node) -> Iterator[Request]:
    first, second, output = node.input(0), node.input(1), node.output()
    yield from map(TempTensor, (first, second, output))
    activation = node.options(options.Elementwise).activation
    if output.dtype in ("INT8", "INT16"):
        node.ensure(output.quantization is not None, "its output is not quantised")
        scales = node.scale(first), node.scale(second)
        node.ensure(min(scales) > 0 and node.scale(output) > 0, "a scale is not positive")
        shift = 15 if output.dtype == "INT16" else 20
        node.ensure(2 * max(scales) < 2**shift * node.scale(output), "its output scale is too small")
        node.activation_range(activation, output)
    elif output.dtype == "INT32":
        quantized = first.quantization is not None or second.quantization is not None
        node.ensure(not quantized, "INT32 is added without quantisation only")


def _mul(node: Node) -> Iterator[Request]:
    first, second, output = node.input(0), node.input(1), node.output()
    yield from map(TempTensor, (first, second, output))
    node.counts((2,), 1)
    node.ensure(first.dtype == second.dtype, f"{first.dtype} times {second.dtype}")
    if output.dtype in ("INT8", "INT16"):
        node.activation_range(node.options(options.Elementwise).activation, output)
        node.multiplier(node.scale(first) * node.scale(second), node.scale(output))
    if output.dtype == "INT16" and first.dtype == "INT16":
        zeros = [node.zero_point(tensor) for tensor in (first, second, output)]
        node.ensure(not any(zeros), "INT16 needs zero points of 0")


def _pool(node: Node) -> Iterator[Request]:
    source, output = node.input(0), node.output()
    yield from map(TempTensor, (source, output))
    node.options(options.Pool2D)
    node.ensure(len(source.shape) >= 3, f"tensor {source.index} has {len(source.shape)} dimensions")
    node.ensure(source.dtype in ("FLOAT32", "INT8", "INT16"), f"{source.dtype} is not supported")
    if node.runtime.structs.pool_keeps_quantization and source.dtype != "FLOAT32":
        same = abs(node.scale(source) - node.scale(output)) <= 1e-6 and node.zero_point(source) == node.zero_point(
            output
        )
        node.ensure(same, "input and output are quantised differently")


def _mean(node: Node) -> Iterator[Request]:
    source, axis, output = node.input(0), node.input(1), node.output()
    yield from map(TempTensor, (source, output, axis))
    if source.dtype in ("INT8", "INT16"):
        node.multiplier(node.scale(source), node.scale(output))
        yield Scratch(4 * output.elements)
    if node.runtime.structs.mean_iterates_in_scratch:
        yield Scratch(4 * len(source.shape))
        yield Scratch(4 * axis.elements)
    node.counts((2,), 1)
    node.ensure(axis.dtype == "INT32", f"its axis is {axis.dtype}, not INT32")
    yield from map(TempTensor, (source, axis))  # PrepareSimple
    if source.dtype == "INT8":
        yield TempTensor(output)


def _logistic(node: Node) -> Iterator[Request]:
    source, output = node.input(0), node.output()
    yield from map(TempTensor, (source, output))
    node.ensure(source.dtype == output.dtype, f"{source.dtype} in, {output.dtype} out")
    if source.dtype == "INT8":
        node.ensure(node.zero_point(output) == -128, f"its output zero point is {node.zero_point(output)}, not -128")
    if source.dtype == "INT16":
        node.ensure(node.zero_point(source) == node.zero_point(output) == 0, "INT16 needs zero points of 0")
        node.ensure(node.scale(output) == 2**-15, "INT16 needs an output scale of 2^-15")


def _quantize(node: Node) -> Iterator[Request]:
    node.counts((1,), 1)
    source, output = node.input(0), node.output()
    yield from map(TempTensor, (source, output))
    quantized = output.quantization is not None and not output.quantization.per_channel
    node.ensure(quantized, "its output has no scale, or several")
    node.ensure(source.dtype in ("FLOAT32", "INT32", "INT16", "INT8", "UINT8"), f"its input is {source.dtype}")
    node.ensure(output.dtype in ("INT8", "INT16", "INT32", "UINT8"), f"its output is {output.dtype}")
    if (source.dtype, output.dtype) in _REQUANTIZED:
        node.multiplier(node.scale(source), node.scale(output))


_REQUANTIZED: Final = frozenset(
    [("INT8", kind) for kind in ("INT8", "UINT8", "INT16", "INT32")]
    + [("INT16", kind) for kind in ("INT8", "INT16", "INT32")]
    + [("INT32", "INT8"), ("INT32", "INT16"), ("UINT8", "INT8")]
)


def _reshape(node: Node) -> Iterator[Request]:
    node.counts((1, 2), 1)
    source, output = node.input(0), node.output()
    yield from map(TempTensor, (source, output))
    node.ensure(source.dtype == output.dtype, f"{source.dtype} in, {output.dtype} out")
    same = source.elements == output.elements
    node.ensure(same, f"{list(source.shape)} does not hold as many elements as {list(output.shape)}")


def _strided_slice(node: Node) -> Iterator[Request]:
    node.counts((4,), 1)
    source, begin, end, strides = (node.input(position) for position in range(4))
    output = node.output()
    yield from map(TempTensor, (source, begin, end, strides, output))
    dimensions = len(source.shape)
    node.ensure(dimensions <= 4, f"its input has {dimensions} dimensions")
    bounds = zip(*(node.indices(tensor, dimensions) for tensor in (begin, end, strides)), strict=False)
    masks = node.options(options.StridedSlice)
    shape = []
    for axis, (size, (first, last, stride)) in enumerate(zip(source.shape, bounds, strict=False)):
        node.ensure(stride != 0, "a stride is 0")
        start = _slice_start(int(first), int(stride), size, bool(masks.begin_mask & 1 << axis))
        stop = _slice_stop(int(last), int(stride), size, bool(masks.end_mask & 1 << axis))
        if not masks.shrink_axis_mask & 1 << axis:
            shape.append(max(0, ceil((stop - start) / int(stride))))
    node.ensure(tuple(shape) == output.shape, f"it slices {shape}, its output is {list(output.shape)}")


def _slice_start(start: int, stride: int, size: int, masked: bool) -> int:
    """`StartForAxis` (`strided_slice_logic.h`)."""
    if size == 0:
        return 0
    if masked:
        start = -(2**31) if stride > 0 else 2**31 - 1
    start += size if start < 0 else 0
    return min(max(start, 0), size) if stride > 0 else min(max(start, -1), size - 1)


def _slice_stop(stop: int, stride: int, size: int, masked: bool) -> int:
    """`StopForAxis`; a shrunk axis needs none."""
    if size == 0:
        return 0
    if masked:
        stop = 2**31 - 1 if stride > 0 else -(2**31)
    stop += size if stop < 0 else 0
    return min(max(stop, 0), size) if stride > 0 else min(max(stop, -1), size - 1)


def _concatenation(node: Node) -> Iterator[Request]:
    first, output = node.input(0), node.output()
    yield from map(TempTensor, (first, output))
    node.ensure(node.options(options.Concatenation).activation == "NONE", "it has an activation")
    supported = ("FLOAT32", "INT8", "INT16", "INT32", "INT64", "BOOL")
    node.ensure(first.dtype in supported and output.dtype == first.dtype, f"{first.dtype} in, {output.dtype} out")
    count = len(node.operator.inputs)
    node.ensure(count <= 10, f"it has {count} inputs, TFLM takes 10")
    if node.runtime.structs.concatenation_keeps_scales:
        yield from _concatenation_keeping_scales(node, output)
        return
    for position in range(count):
        source = node.input(position)
        yield TempTensor(source)
        node.ensure(source.dtype == first.dtype, f"input {position} is {source.dtype}")
        node.ensure(len(source.shape) <= 6, f"input {position} has {len(source.shape)} dimensions")
        if source.dtype == "INT8":
            same = (node.scale(source), node.zero_point(source)) == (node.scale(output), node.zero_point(output))
            node.ensure(same, f"input {position} and the output are quantised differently")
        if source.dtype == "INT16":
            node.ensure(node.zero_point(source) == node.zero_point(output) == 0, "INT16 needs zero points of 0")


def _concatenation_keeping_scales(node: Node, output: Tensor) -> Iterator[Request]:
    """What follows in esp-tflite-micro 1.3.1; the arrays are kept and never read."""
    inputs = [node.input(position) for position in range(len(node.operator.inputs))]
    for source in inputs:
        yield TempTensor(source)
        node.ensure(len(source.shape) <= 6, f"tensor {source.index} has {len(source.shape)} dimensions")
    yield TempTensor(output)
    if output.dtype == "INT8":
        yield Persistent("op_data", 4 * len(inputs))
        yield Persistent("op_data", 4 * len(inputs))
        yield from map(TempTensor, inputs)


def _pad(node: Node) -> Iterator[Request]:
    node.counts((2, 3), 1)
    source, paddings, output = node.input(0), node.input(1), node.output()
    value = node.optional_input(2)
    yield from map(TempTensor, (source, paddings, *([value] if value else ()), output))
    node.ensure(source.dtype == output.dtype, f"{source.dtype} in, {output.dtype} out")
    node.ensure(len(source.shape) <= 5, f"its input has {len(source.shape)} dimensions")
    node.ensure(len(source.shape) == len(output.shape), "input and output differ in rank")
    node.ensure(paddings.elements == 2 * len(output.shape), f"it has {paddings.elements} paddings")
    pairs = node.indices(paddings, 2 * len(output.shape)).reshape(-1, 2)
    padded = tuple(size + int(pair.sum()) for size, pair in zip(source.shape, pairs, strict=True))
    node.ensure(padded == output.shape, f"it pads to {list(padded)}, its output is {list(output.shape)}")
    if value is not None:
        node.ensure(
            value.dtype == source.dtype and value.elements == 1, "its value is not a scalar of the input's type"
        )
    if value is not None and source.dtype == "INT8":
        same = (node.scale(value), node.zero_point(value)) == (node.scale(output), node.zero_point(output))
        node.ensure(same, "its value and output are quantised differently")
    elif source.dtype == "INT8":
        node.ensure(-128 <= node.zero_point(output) <= 127, "its output zero point is not an int8")


def _split_v(node: Node) -> Iterator[Request]:
    node.ensure(len(node.operator.inputs) == 3, f"it has {len(node.operator.inputs)} inputs")
    axis = node.input(2)
    yield TempTensor(axis)
    node.ensure(node.model.is_constant(axis), "its axis is not constant")


def _pack(node: Node) -> Iterator[Request]:
    node.options(options.Pack)
    yield from ()  # PACK has no Prepare


PREPARE: Final[dict[str, Callable[[Node], Iterator[Request]]]] = {
    "ADD": _add,
    "AVERAGE_POOL_2D": _pool,
    "CONCATENATION": _concatenation,
    "CONV_2D": conv_2d,
    "DEPTHWISE_CONV_2D": depthwise_conv_2d,
    "FULLY_CONNECTED": fully_connected,
    "LOGISTIC": _logistic,
    "MAX_POOL_2D": _pool,
    "MEAN": _mean,
    "MUL": _mul,
    "PACK": _pack,
    "PAD": _pad,
    "QUANTIZE": _quantize,
    "RESHAPE": _reshape,
    "SPLIT_V": _split_v,
    "STRIDED_SLICE": _strided_slice,
}
"""Operator to what its kernel's `Prepare` requests."""
