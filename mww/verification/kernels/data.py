"""Kernels that move bytes and never rescale them: joining, slicing, reshaping, padding, and variables.

`mww.verification.state` judges how the graph uses its variables. From esp-tflite-micro
kernels/strided_slice_common.cc and split_v.cc, among others.
"""

from __future__ import annotations

from collections.abc import Iterator

from mww.tflite.model_file import Tensor
from mww.tflite.schema import CallOnce, Concatenation, Pack, StridedSlice, VarHandle
from mww.verification.kernels.node import Node, Problem, operands, parameters

_TYPES = ("INT8", "INT16", "INT32", "FLOAT32")
_MAX_SLICE_RANK = 4
"""kMaxDim of strided_slice_common.cc."""

_BOUNDS = ("begin", "end", "strides")

_MAX_CONCATENATION_INPUTS = 10
"""kMaxInputNum of concatenation.cc."""
_MAX_CONCATENATION_RANK = 6
"""RuntimeShape::kMaxSmallSize."""
_CONCATENATION_TYPES = ("INT8", "INT16", "INT32", "INT64", "FLOAT32", "BOOL")
_PACK_TYPES = ("INT8", "INT32", "INT64", "FLOAT32")
_PAD_TYPES = ("INT8", "INT16", "INT32", "FLOAT32")
_MAX_PAD_RANK = 5
"""PadKernelMaxDimensionCount."""


def slice_ranges(node: Node) -> list[range] | Problem:
    """What a STRIDED_SLICE takes along each axis of its input, by TFLM's `StartForAxis` and `StopForAxis`."""
    options = node.operator.options
    assert isinstance(options, StridedSlice)
    shape = node.input(0).shape
    bounds = [node.integers(node.input(index), len(shape), what) for index, what in enumerate(_BOUNDS, start=1)]
    for bound in bounds:
        if isinstance(bound, Problem):
            return bound
    begins, ends, strides = (bound for bound in bounds if not isinstance(bound, Problem))
    ranges = []
    for axis, size in enumerate(shape):
        step = strides[axis]
        if step == 0:
            return Problem("it has a stride of 0", "another", "0")
        bit = 1 << axis
        begin = None if options.begin_mask & bit else begins[axis]
        end = None if options.end_mask & bit else ends[axis]
        start, stop, _ = slice(begin, end, step).indices(size)
        if options.shrink_axis_mask & bit:
            stop = start + 1
            if not 0 <= start < size:
                return Problem(f"it takes element {start} of {size} along axis {axis}", f"0..{size - 1}", str(start))
        ranges.append(range(start, stop, step))
    return ranges


@operands((4,), (1,))
def strided_slice(node: Node) -> Iterator[Problem]:
    """At most four dimensions, constant bounds, no new axis or ellipsis, and exactly the output's shape."""
    options = node.operator.options
    assert isinstance(options, StridedSlice)
    source, output = node.input(0), node.output
    yield from node.dtype(output, (*_TYPES, "BOOL"), "output")
    yield from node.dtype(source, (output.dtype,), "input")
    yield from node.same_quantisation(source, output, "input and output")
    yield from node.rank(source, range(1, _MAX_SLICE_RANK + 1), "input")
    ignored = {"ellipsis": options.ellipsis_mask, "new axis": options.new_axis_mask, "offset": int(options.offset)}
    for name, mask in ignored.items():
        if mask:
            yield Problem(f"its {name} mask is ignored on the device", "0", str(mask))
    ranges = slice_ranges(node)
    if isinstance(ranges, Problem):
        yield ranges
        return
    kept = [len(taken) for axis, taken in enumerate(ranges) if not options.shrink_axis_mask & (1 << axis)]
    yield from node.shape(output, kept, "output")


def split_axis(node: Node) -> int | Problem:
    """The axis of a SPLIT_V, from 0."""
    axis = node.integers(node.input(2), 1, "axis")
    if isinstance(axis, Problem):
        return axis
    rank = len(node.input(0).shape)
    if not -rank <= axis[0] < rank:
        return Problem(f"its axis {axis[0]} does not exist", f"-{rank}..{rank - 1}", str(axis[0]))
    return axis[0] % rank


@operands((3,), None)
def split_v(node: Node) -> Iterator[Problem]:
    """A constant axis, and outputs that together are the input; the sizes given as a tensor are never read."""
    source = node.input(0)
    yield from node.dtype(source, _TYPES, "input")
    axis = split_axis(node)
    if isinstance(axis, Problem):
        yield axis
        return
    for index, output in enumerate(node.outputs):
        yield from node.dtype(output, (source.dtype,), f"output {index}")
        yield from node.same_quantisation(source, output, f"input and output {index}")
        yield from node.rank(output, (len(source.shape),), f"output {index}")
        if len(output.shape) == len(source.shape):
            expected = [*source.shape]
            expected[axis] = output.shape[axis]
            yield from node.shape(output, expected, f"output {index}")
    total = sum(output.shape[axis] for output in node.outputs if len(output.shape) == len(source.shape))
    if total != source.shape[axis]:
        yield Problem(f"its outputs make {total} along axis {axis}", str(source.shape[axis]), str(total))


@operands((0,), (1,))
def var_handle(node: Node) -> Iterator[Problem]:
    """One RESOURCE output and a name: TFLM compares names with strcmp, and follows a null one."""
    options = node.operator.options
    assert isinstance(options, VarHandle)
    yield from node.dtype(node.output, ("RESOURCE",), "output")
    yield from node.elements(node.output, 1, "output")
    if not options.shared_name:
        yield Problem("it has no shared name", "a name")


@operands((1,), (1,))
def read_variable(node: Node) -> Iterator[Problem]:
    """One RESOURCE input of one element, one output."""
    yield from node.dtype(node.input(0), ("RESOURCE",), "input")
    yield from node.elements(node.input(0), 1, "input")


@operands((2,), (0,))
def assign_variable(node: Node) -> Iterator[Problem]:
    """A RESOURCE input of one element, a value, and no output."""
    yield from node.dtype(node.input(0), ("RESOURCE",), "input 0")
    yield from node.elements(node.input(0), 1, "input 0")


@operands((0,), (0,))
def call_once(node: Node) -> Iterator[Problem]:
    """No operands, and a subgraph that exists."""
    options = node.operator.options
    assert isinstance(options, CallOnce)
    if not 0 <= options.subgraph < len(node.model.subgraphs):
        expected = f"0..{len(node.model.subgraphs) - 1}"
        yield Problem(f"it runs subgraph {options.subgraph}", expected, str(options.subgraph))


@operands(range(1, _MAX_CONCATENATION_INPUTS + 1), (1,))
def concatenation(node: Node) -> Iterator[Problem]:
    """At most ten inputs of one type and exactly one quantisation, no activation, sizes that add up."""
    options = node.operator.options
    assert isinstance(options, Concatenation)
    if options.activation != "NONE":
        yield Problem(f"it has the activation {options.activation}", "NONE", options.activation)
    sources = [node.input(index) for index in range(len(node.inputs))]
    output = node.output
    yield from node.dtype(output, _CONCATENATION_TYPES, "output")
    for index, source in enumerate(sources):
        yield from node.dtype(source, (output.dtype,), f"input {index}")
        yield from node.quantised(source, f"input {index}")
        yield from node.same_quantisation(source, output, f"input {index} and output")
    rank = len(output.shape)
    yield from node.rank(output, range(1, _MAX_CONCATENATION_RANK + 1), "output")
    if any(len(source.shape) != rank for source in sources) or not -rank <= options.axis < rank:
        yield Problem(f"its inputs have no common axis {options.axis}", f"{rank} dimensions each")
        return
    axis = options.axis % rank
    for index, source in enumerate(sources):
        expected = [*output.shape]
        expected[axis] = source.shape[axis]
        yield from node.shape(source, expected, f"input {index}")
    total = sum(source.shape[axis] for source in sources)
    if total != output.shape[axis]:
        yield Problem(f"its inputs make {total} along axis {axis}", str(output.shape[axis]), str(total))


@operands(None, (1,))
def pack(node: Node) -> Iterator[Problem]:
    """As many inputs as the options say, of one type and shape; no Prepare checks them."""
    options = node.operator.options
    assert isinstance(options, Pack)
    if len(node.inputs) != options.count:
        yield Problem(f"it has {len(node.inputs)} inputs", str(options.count), str(len(node.inputs)))
    output, first = node.output, node.input(0)
    yield from node.dtype(output, _PACK_TYPES, "output")
    for index in range(len(node.inputs)):
        source = node.input(index)
        yield from node.dtype(source, (output.dtype,), f"input {index}")
        yield from node.shape(source, first.shape, f"input {index}")
        yield from node.same_quantisation(source, output, f"input {index} and output")
    rank = len(first.shape) + 1
    if not -rank <= options.axis < rank:
        yield Problem(f"its axis {options.axis} does not exist", f"-{rank}..{rank - 1}", str(options.axis))
        return
    axis = options.axis % rank
    yield from node.shape(output, (*first.shape[:axis], len(node.inputs), *first.shape[axis:]), "output")


@operands((1, 2), (1,), required=1)
def reshape(node: Node) -> Iterator[Problem]:
    """The same type, elements and quantisation on both ends; the new shape is the output tensor's."""
    source, output = node.input(0), node.output
    yield from node.dtype(output, (source.dtype,), "output")
    yield from node.elements(output, source.elements, "output")
    yield from node.same_quantisation(source, output, "input and output")


@operands((2, 3), (1,))
def pad(node: Node) -> Iterator[Problem]:
    """Constant paddings for at most five dimensions, and a scalar value of the output's quantisation."""
    source, paddings, output = node.input(0), node.input(1), node.output
    yield from node.dtype(source, _PAD_TYPES, "input")
    yield from node.dtype(output, (source.dtype,), "output")
    yield from node.quantised(output, "output")
    yield from node.same_quantisation(source, output, "input and output")
    yield from node.rank(source, range(1, _MAX_PAD_RANK + 1), "input")
    value = node.optional(2)
    if value is not None:
        yield from _pad_value(node, value)
    yield from node.rank(output, (len(source.shape),), "output")
    yield from node.elements(paddings, 2 * len(source.shape), "paddings")
    amounts = node.integers(paddings, 2 * len(source.shape), "paddings")
    if isinstance(amounts, Problem):
        yield amounts
        return
    if any(amount < 0 for amount in amounts):
        yield Problem("it pads by a negative amount", ">= 0", str(min(amounts)))
    expected = [size + amounts[2 * axis] + amounts[2 * axis + 1] for axis, size in enumerate(source.shape)]
    yield from node.shape(output, expected, "output")


def _pad_value(node: Node, value: Tensor) -> Iterator[Problem]:
    yield from node.dtype(value, (node.input(0).dtype,), "padding value")
    yield from node.elements(value, 1, "padding value")
    if value.dtype == "INT8" and parameters(value) != parameters(node.output):
        yield Problem("its padding value is quantised differently from its output")
