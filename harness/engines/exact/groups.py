"""Depthwise convolutions whose outputs are put side by side, computed as one: MixedNet's kernels of several lengths.

One longer kernel with zeros where the shorter ones end costs less than several calls, and so does one requantisation.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.engines.exact.graph import Graph
from harness.engines.exact.kernels import DepthwiseConvolution, sum_products
from harness.engines.exact.lines import Lines
from harness.engines.exact.moves import Concatenate
from harness.engines.exact.requantiser import Requantiser
from harness.engines.exact.scratch import Calls, Values
from mww.tflite.model_file import Operator


class SideBySide:
    """The convolutions of one concatenation."""

    def __init__(self, kernels: Sequence[DepthwiseConvolution], operators: Sequence[Operator]) -> None:
        self.operators = tuple(operators)
        self._kernels = tuple(kernels)
        self._requantiser = Requantiser.joined([kernel.requantiser for kernel in kernels])

    def bind(self, calls: Calls, sources: Sequence[Values], output: Values) -> None:
        """Fill the concatenation's output from the convolutions' inputs."""
        frames, channels = len(output), output.shape[-1]
        sums = calls.shared("sums", (frames, channels), np.float32)
        windows = [kernel.windows(calls, source) for kernel, source in zip(self._kernels, sources, strict=True)]
        taps = [kernel.taps[:, 0] for kernel in self._kernels]
        merged = _merged(windows, taps, channels)
        if merged is not None:
            sum_products(calls, *merged, sums)
        else:
            ends = list(accumulate(len(item.T) for item in taps))
            for window, item, end in zip(windows, taps, ends, strict=True):
                part = sums[:, end - item.shape[1] : end]
                calls.add(np.einsum, "ntc,tc->nc", window[:, 0, 0, 0, :, 0], item, out=part)
        self._requantiser.bind(calls, sums, output.reshape(sums.shape))


def _merged(
    windows: Sequence[Values], taps: Sequence[npt.NDArray[np.floating[Any]]], channels: int
) -> tuple[Values, npt.NDArray[np.floating[Any]]] | None:
    """One window `[frames, rows, channels]` and its weights, where all look at the same rows of one line; else None."""
    first = windows[0]
    size = first.itemsize
    line = channels * size
    starts, column = [], 0
    for window, item in zip(windows, taps, strict=True):
        if (window.strides[0], window.strides[4], window.strides[6]) != (line, line, size):
            return None
        rows, rest = divmod(_address(window) - _address(first) - column * size, line)
        if rest or _owner(window) is not _owner(first):
            return None
        starts.append(rows)
        column += item.shape[1]
    least = min(starts)
    weights = np.zeros(
        (max(start - least + len(item) for start, item in zip(starts, taps, strict=True)), channels), np.float32
    )
    column = 0
    for start, item in zip(starts, taps, strict=True):
        weights[start - least : start - least + len(item), column : column + item.shape[1]] = item
        column += item.shape[1]
    owner = _owner(first)
    offset = _address(first) + least * line - _address(owner)
    shape, strides = (len(first), len(weights), channels), (line, line, size)
    if offset < 0 or offset + (len(first) + len(weights) - 1) * line > owner.nbytes:
        return None
    return np.ndarray(shape, np.float32, owner, offset, strides), weights


def _address(values: npt.NDArray[Any]) -> int:
    address: int = values.__array_interface__["data"][0]
    return address


def _owner(values: Any) -> npt.NDArray[Any]:
    """The array whose memory a view is of."""
    while getattr(values, "base", None) is not None:
        values = values.base
    owner: npt.NDArray[Any] = values
    return owner


def side_by_side(graph: Graph, lines: Lines) -> dict[int, SideBySide]:
    """The groups of a graph, by the index of the operator that concatenates."""
    producers = {tensor: operator for operator in lines.order for tensor in operator.outputs}
    uses: dict[int, int] = {}
    for tensor, rows in lines.windows.items():
        for held in {row.tensor for row in rows} - {tensor}:
            uses[held] = uses.get(held, 0) + 1
    for operator in lines.order:
        for tensor in graph.sources(operator):
            uses[tensor] = uses.get(tensor, 0) + 1
    for tensor in graph.outputs:
        uses[tensor] = uses.get(tensor, 0) + 1
    groups = {}
    for operator in lines.order:
        move = graph.moves.get(operator.index)
        shape = graph.shape(operator.outputs[0])
        if not isinstance(move, Concatenate) or move.axis != len(shape) - 1 or shape[:-1] != (1, 1, 1):
            continue
        makers = [producers.get(tensor) for tensor in operator.inputs]
        kernels = [graph.kernels.get(maker.index) if maker else None for maker in makers]
        fitting = [kernel for kernel in kernels if isinstance(kernel, DepthwiseConvolution) and kernel.is_plain]
        alone = all(uses[tensor] == 1 for tensor in operator.inputs)
        if len(fitting) == len(kernels) and alone and Requantiser.can_join([kernel.requantiser for kernel in fitting]):
            groups[operator.index] = SideBySide(fitting, [maker for maker in makers if maker])
    return groups
