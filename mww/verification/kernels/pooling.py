"""AVERAGE_POOL_2D, MAX_POOL_2D and MEAN (esp-tflite-micro kernels/esp_nn/pooling.cc, reduce_common.cc)."""

from __future__ import annotations

from collections.abc import Iterator

from mww.tflite.operator_options import Pool2D, Reducer
from mww.verification.kernels.convolution import Window, window_problems
from mww.verification.kernels.node import Node, Problem, operands

_TYPES = ("INT8", "INT16", "FLOAT32")
_MAX_MEAN_AXES = 2
"""kMaxNumberOfReducedAxis: the kernel keeps its axes in an array of two, and does not look whether they fit."""
_MAX_MEAN_RANK = 5
"""kMaxNumberOfAxis, of the array beside it."""


@operands((1,), (1,))
def pool_2d(node: Node) -> Iterator[Problem]:
    """Types, one quantisation on both ends (nothing is rescaled), and the output's shape."""
    options = node.operator.options
    assert isinstance(options, Pool2D)
    source = node.input(0)
    yield from node.dtype(source, _TYPES, "input")
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
    yield from node.dtype(source, _TYPES, "input")
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
