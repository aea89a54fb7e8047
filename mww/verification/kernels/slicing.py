"""STRIDED_SLICE and SPLIT_V (esp-tflite-micro kernels/strided_slice_common.cc, split_v.cc)."""

from __future__ import annotations

from collections.abc import Iterator

from mww.tflite.operator_options import StridedSlice
from mww.verification.kernels.node import Node, Problem, operands

_TYPES = ("INT8", "INT16", "INT32", "FLOAT32")
_MAX_SLICE_RANK = 4
"""kMaxDim of strided_slice_common.cc."""


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


_BOUNDS = ("begin", "end", "strides")


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
