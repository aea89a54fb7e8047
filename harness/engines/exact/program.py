"""A graph over a block of frames: fixed arrays, and a fixed list of calls on them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import prod
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from harness.engines.exact.fixed_point import Scaling
from harness.engines.exact.graph import Graph
from harness.engines.exact.kernels import DepthwiseConvolution, sum_products
from harness.engines.exact.lines import Line, Lines, Row
from harness.engines.exact.moves import Concatenate
from harness.engines.exact.requantiser import Requantiser
from harness.engines.exact.scratch import Calls, Values
from mww.tflite.model_file import Operator


class SideBySide:
    """The convolutions whose outputs one operator concatenates."""

    def __init__(
        self, kernels: Sequence[DepthwiseConvolution], operators: Sequence[Operator], scaling: Scaling
    ) -> None:
        self.operators = tuple(operators)
        self._kernels = tuple(kernels)
        self._requantiser = Requantiser(scaling)

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
    """The window `[frames, rows, channels]` and weights of all convolutions, if they read the same rows; else None."""
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
    """The array that owns the memory of a view."""
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
        if len(fitting) < len(kernels) or not alone:
            continue
        scaling = Scaling.joined([kernel.requantiser.scaling for kernel in fitting])
        if scaling is not None:
            groups[operator.index] = SideBySide(fitting, [maker for maker in makers if maker], scaling)
    return groups


class Program(Protocol):
    """A program that runs frames."""

    def run(self, frames: npt.NDArray[np.int8], starts: Sequence[int]) -> list[Values]:
        """Run frames `[n, elements]`, n up to the block; at each of `starts` a clip begins, in the initial state.

        Returns the outputs, float32 `[n, elements]` each, valid until the next call.
        """
        ...


class Block:
    """Runs many frames at once, along lines.

    The state consists of the rows before the first frame of each line. It is stored separately, by tensor, so that
    programs of several sizes can take turns.
    """

    def __init__(self, graph: Graph, lines: Lines, state: dict[int, Values], frames: int) -> None:
        self._graph, self._lines, self._state = graph, lines, state
        self._calls = Calls(frames)
        self._starts: Sequence[int] = ()
        self._buffers: dict[int, Values] = {}
        self._windows: dict[int, Values] = {}
        self._views: dict[int, Values] = {}
        source = graph.inputs[0]
        if source in lines.lines:
            self._make_line(source)
        self._input = self._new_rows(source) if source in lines.lines else None
        self._groups = side_by_side(graph, lines)
        grouped = {operator.index for group in self._groups.values() for operator in group.operators}
        for operator in lines.order:
            if operator.index not in grouped:
                self._bind(operator)
        self._outputs = [self._window(tensor) for tensor in graph.outputs]
        self._carried = [
            (self._buffers[tensor], line, state[tensor]) for tensor, line in lines.lines.items() if line.history
        ]

    def run(self, frames: npt.NDArray[np.int8], starts: Sequence[int]) -> list[Values]:
        """See `Program`."""
        number, self._starts = len(frames), starts
        for buffer, line, kept in self._carried:
            buffer[: line.history] = kept
        if self._input is not None:
            self._input[:number] = frames
        for call in self._calls.list:
            call()
        for buffer, line, kept in self._carried:
            kept[...] = buffer[number * line.rows : number * line.rows + line.history]
        return [output[:number].reshape(number, -1) for output in self._outputs]

    def _bind(self, operator: Operator) -> None:
        graph, calls, group = self._graph, self._calls, self._groups.get(operator.index)
        if group is not None:
            sources = [self._window(tensor) for item in group.operators for tensor in graph.sources(item)]
            tensor = operator.outputs[0]
            self._buffers[tensor] = self._array(tensor)
            group.bind(calls, sources, self._frames(tensor))
            self._mark(tensor)
            return
        sources = [self._window(tensor) for tensor in graph.sources(operator)]
        move = graph.moves.get(operator.index)
        views = move.views(sources) if move is not None else None
        for number, tensor in enumerate(operator.outputs):
            needed = tensor in self._lines.lines
            if views is not None and not (needed and self._must_lie(tensor)):
                self._views[tensor] = views[number]
                continue
            if not needed:
                continue
            self._buffers[tensor] = self._array(tensor)
            output = self._frames(tensor)
            if views is not None:
                calls.copy(views[number], output)
            elif move is not None:
                move.bind(calls, sources, output)
            else:
                graph.kernels[operator.index].bind(calls, sources, output)
            self._mark(tensor)

    def _must_lie(self, tensor: int) -> bool:
        """Whether a window over a tensor's rows is more than a plain part of the same frame's tensor."""
        held = (rows for rows in self._lines.windows.values() if any(row.tensor == tensor for row in rows))
        return any(
            len(runs) > 1 or runs[0][1] < 0 or rows[0].frames
            for rows, runs in ((rows, _runs(rows, self._lines.lines)) for rows in held)
        )

    def _make_line(self, tensor: int) -> None:
        self._buffers[tensor] = self._array(tensor)
        constant = self._graph.constants.get(tensor)
        if constant is not None:
            self._frames(tensor)[...] = constant
        self._mark(tensor)

    def _mark(self, tensor: int) -> None:
        """Set the rows before each clip's first frame to the initial values, once the line is computed."""
        line = self._lines.lines[tensor]
        if line.history:
            self._calls.add(self._begin, self._buffers[tensor], line)

    def _begin(self, buffer: Values, line: Line) -> None:
        for start in self._starts:
            buffer[start * line.rows : start * line.rows + line.history] = line.initial

    def _array(self, tensor: int) -> Values:
        line = self._lines.lines[tensor]
        return np.zeros((line.history + self._calls.frames * line.rows, line.size), np.float32)

    def _new_rows(self, tensor: int) -> Values:
        """The rows that a block adds to a line, `[frames, elements]`."""
        line = self._lines.lines[tensor]
        return self._buffers[tensor][line.history :].reshape(self._calls.frames, -1)

    def _frames(self, tensor: int) -> Values:
        """The same rows in the tensor's shape."""
        return self._new_rows(tensor).reshape(self._calls.frames, *self._graph.shape(tensor))

    def _window(self, tensor: int) -> Values:
        """A tensor of every frame: a view of a line where its rows are adjacent there, else a copy."""
        if tensor not in self._windows:
            self._windows[tensor] = self._make_window(tensor)
        return self._windows[tensor]

    def _make_window(self, tensor: int) -> Values:
        rows, shape = self._lines.windows[tensor], self._graph.shape(tensor)
        if rows[0].tensor in self._views:
            view, first = self._views[rows[0].tensor], rows[0].row
            if len(rows) < self._lines.lines[rows[0].tensor].rows:
                view = view[:, :, first : first + len(rows)]
            return self._calls.reshaped(view, (self._calls.frames, *shape))
        for row in rows:
            if row.tensor not in self._buffers:
                self._make_line(row.tensor)
        runs = _runs(rows, self._lines.lines)
        if len(runs) == 1:
            return _shaped(self._run(*runs[0]), shape)
        copied = np.zeros((self._calls.frames, len(rows), prod(shape) // len(rows)), np.float32)
        start = 0
        for line, first, number in runs:
            self._calls.copy(self._run(line, first, number), copied[:, start : start + number])
            start += number
        return copied.reshape(self._calls.frames, *shape)

    def _run(self, tensor: int, first: int, number: int) -> Values:
        """`number` rows of each frame from row `first` on, `[frames, number, size]`; they may overlap."""
        line, buffer = self._lines.lines[tensor], self._buffers[tensor]
        row, element = buffer.strides
        start = buffer[line.history + first :]
        shape, strides = (self._calls.frames, number, line.size), (line.rows * row, row, element)
        return np.lib.stride_tricks.as_strided(start, shape, strides, writeable=False)


def _shaped(view: Values, shape: tuple[int, ...]) -> Values:
    """A view `[frames, rows, size]` with the row's own dimensions; rows are contiguous."""
    frames, rows, size = view.strides
    inner = []
    for length in reversed(shape[2:] if len(shape) > 1 and shape[0] == 1 else shape):
        inner.append(size)
        size *= length
    strides = (
        (frames, view.strides[0], rows, *inner[::-1]) if len(shape) > 1 and shape[0] == 1 else (frames, *inner[::-1])
    )
    return np.lib.stride_tricks.as_strided(view, (len(view), *shape), strides, writeable=False)


def _runs(rows: Sequence[Row], lines: dict[int, Line]) -> list[tuple[int, int, int]]:
    """Adjacent rows on a line: tensor, position relative to the frame's first row, number."""
    runs: list[tuple[int, int, int]] = []
    for row in rows:
        position = row.row - row.frames * lines[row.tensor].rows
        if runs and runs[-1][0] == row.tensor and sum(runs[-1][1:]) == position:
            runs[-1] = (*runs[-1][:2], runs[-1][2] + 1)
        else:
            runs.append((row.tensor, position, 1))
    return runs


class Steps:
    """Runs frame by frame, in the graph's order: for variables that depend on themselves."""

    def __init__(self, graph: Graph) -> None:
        self._calls = calls = Calls(1)
        self._initial = [variable.initial for variable in graph.variables]
        self._variables = [variable.initial.reshape(1, -1).copy() for variable in graph.variables]
        arrays: dict[int, Values] = {
            tensor: np.broadcast_to(values, (1, *values.shape)) for tensor, values in graph.constants.items()
        }
        self._input = np.zeros((1, prod(graph.shape(graph.inputs[0]))), np.float32)
        arrays[graph.inputs[0]] = self._input.reshape(1, *graph.shape(graph.inputs[0]))
        for operator in graph.operators:
            if operator.op == "ASSIGN_VARIABLE":
                source = arrays[operator.inputs[1]]
                calls.copy(source, self._variables[graph.variable(operator)].reshape(source.shape))
                continue
            sources = [arrays[tensor] for tensor in graph.sources(operator)]
            move = graph.moves.get(operator.index)
            views = move.views(sources) if move is not None else None
            for number, tensor in enumerate(operator.outputs if operator.op not in ("VAR_HANDLE", "CALL_ONCE") else ()):
                if views is not None:
                    arrays[tensor] = views[number]
                    continue
                output = arrays[tensor] = np.zeros((1, *graph.shape(tensor)), np.float32)
                if operator.op == "READ_VARIABLE":
                    calls.copy(self._variables[graph.variable(operator)].reshape(output.shape), output)
                elif move is not None:
                    move.bind(calls, sources, output)
                else:
                    graph.kernels[operator.index].bind(calls, sources, output)
        self._outputs = [arrays[tensor] for tensor in graph.outputs]

    def begin(self) -> None:
        """Set every variable to its initial value."""
        for variable, initial in zip(self._variables, self._initial, strict=True):
            variable[...] = initial.reshape(1, -1)

    def run(self, frames: npt.NDArray[np.int8], starts: Sequence[int]) -> list[Values]:
        """See `Program`."""
        outputs = [np.empty((len(frames), output.size), np.float32) for output in self._outputs]
        beginnings = set(starts)
        for index in range(len(frames)):
            if index in beginnings:
                self.begin()
            self._input[0] = frames[index]
            for call in self._calls.list:
                call()
            for output, now in zip(outputs, self._outputs, strict=True):
                output[index] = now.reshape(-1)
        return outputs
