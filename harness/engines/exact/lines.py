"""Ring buffers as windows over a line: the rows of earlier frames that each tensor of a graph holds.

A tensor `[1, rows, ...]` is a list of rows. Reading a variable, concatenating, slicing and assigning are followed row
by row: at each frame a variable's row is a row of some computed tensor, of so many frames before. What is computed lies
on a line, its rows of frame after frame, and a ring buffer is a window that moves over it. Where a variable depends on
itself no line exists, and the graph is evaluated frame by frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from math import prod
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from harness.engines.exact.graph import Graph
from harness.engines.exact.moves import Concatenate, Slice, Split
from mww.tflite.model_file import Operator


class NoLineError(ValueError):
    """The graph must be evaluated frame by frame."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a tensor that is computed (or an input, or constant), some frames ago."""

    tensor: int
    row: int
    frames: int = 0


@dataclass(frozen=True, slots=True)
class Kept:
    """A row of a variable, at the begin of a frame."""

    variable: int
    row: int


Rows: TypeAlias = tuple[Row | Kept, ...]


@dataclass(slots=True)
class Line:
    """The rows of one computed tensor over all frames.

    Attributes:
        rows: Rows that each frame adds.
        size: Elements of a row.
        history: Rows before the first frame that a window reaches.
        initial: Their values, float32 `[history, size]`.
    """

    rows: int
    size: int
    history: int = 0
    initial: npt.NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))


@dataclass(frozen=True, slots=True)
class Lines:
    """A graph as lines.

    Attributes:
        lines: By tensor: all tensors that must be computed, and the inputs.
        windows: By tensor: the rows that it holds, for every tensor that operators or outputs need.
        order: The operators to run, each after the operators that make its inputs.
    """

    lines: dict[int, Line]
    windows: dict[int, tuple[Row, ...]]
    order: tuple[Operator, ...]


def row_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """The number of rows of a tensor along axis 1, and the elements of each; or the whole tensor as one row."""
    if len(shape) > 1 and shape[0] == 1 and shape[1] > 0:
        return shape[1], prod(shape[2:])
    return 1, prod(shape)


def follow(graph: Graph) -> Lines:
    """Follow the rows of a graph.

    Raises:
        NoLineError: A variable depends on itself, or its use does not make a line.
    """
    rows, after = _rows(graph)
    windows = {tensor: tuple(_resolve(row, after) for row in held) for tensor, held in rows.items()}
    order = _order(graph, windows)
    used = {*graph.outputs, *(source for operator in order for source in graph.sources(operator))}
    windows = {tensor: windows[tensor] for tensor in used} | {
        tensor: windows[tensor] for operator in order for tensor in operator.outputs
    }
    lines = {tensor: Line(*row_shape(graph.shape(tensor))) for tensor in _tensors(windows)}
    for held in windows.values():
        for row in held:
            line = lines[row.tensor]
            line.history = max(line.history, row.frames * line.rows - row.row)
    for line in lines.values():
        line.initial = np.zeros((line.history, line.size), np.float32)
    _fill(graph, after, lines)
    return Lines(lines, windows, order)


def _tensors(windows: dict[int, tuple[Row, ...]]) -> list[int]:
    return sorted({row.tensor for held in windows.values() for row in held})


def _rows(graph: Graph) -> tuple[dict[int, Rows], dict[int, Rows]]:
    """The rows of each tensor in terms of computed tensors and variables, and those of each variable after a frame."""
    rows: dict[int, Rows] = {}
    bound: dict[int, Rows] = {}

    def of(tensor: int) -> Rows:
        own = (Row(tensor, index) for index in range(row_shape(graph.shape(tensor))[0]))
        return rows.setdefault(tensor, tuple(own)) if tensor not in rows else rows[tensor]

    for operator in graph.operators:
        if operator.op == "READ_VARIABLE":
            variable, tensor = graph.variable(operator), operator.outputs[0]
            shape = graph.variables[variable].shape
            if graph.shape(tensor) != shape:
                raise NoLineError
            first = tuple(Kept(variable, index) for index in range(row_shape(shape)[0]))
            rows[tensor] = bound.setdefault(variable, first)
        elif operator.op == "ASSIGN_VARIABLE":
            variable, tensor = graph.variable(operator), operator.inputs[1]
            if graph.shape(tensor) != graph.variables[variable].shape:
                raise NoLineError
            bound[variable] = of(tensor)
        else:
            held = [of(source) for source in graph.sources(operator)]
            rows.update(_moved(graph, operator, held))
            for tensor in operator.outputs:
                of(tensor)
    for tensor in graph.outputs:
        of(tensor)
    return rows, bound


def _moved(graph: Graph, operator: Operator, held: Sequence[Rows]) -> dict[int, Rows]:
    """The rows of the outputs of an operator that only moves rows along axis 1; empty for other operators."""
    move = graph.moves.get(operator.index)
    if move is None:
        return {}
    shape = graph.shape(operator.inputs[0])
    in_rows = len(shape) > 1 and shape[0] == 1
    if isinstance(move, Concatenate) and move.axis == 1 and in_rows:
        return {operator.outputs[0]: tuple(row for rows in held for row in rows)}
    if operator.op == "RESHAPE" and row_shape(shape) == row_shape(graph.shape(operator.outputs[0])):
        return {operator.outputs[0]: held[0]}
    if isinstance(move, Slice) and in_rows and (taken := move.rows(shape)) is not None:
        return {operator.outputs[0]: tuple(held[0][index] for index in taken)}
    if isinstance(move, Split) and move.axis == 1 and in_rows:
        parts = zip(operator.outputs, move.parts(), strict=True)
        return {tensor: tuple(held[0][index] for index in part) for tensor, part in parts}
    return {}


def _resolve(row: Row | Kept, after: dict[int, Rows]) -> Row:
    """The computed row that a variable's row holds, from the assignments of earlier frames."""
    frames, seen = 0, set()
    while isinstance(row, Kept):
        if row in seen:
            raise NoLineError
        seen.add(row)
        row = after[row.variable][row.row]
        frames += 1
    return Row(row.tensor, row.row, frames)


def _order(graph: Graph, windows: dict[int, tuple[Row, ...]]) -> tuple[Operator, ...]:
    """The operators that the outputs need, in an order that computes everything before its use."""
    producers = {tensor: operator for operator in graph.operators for tensor in operator.outputs}
    before: dict[int, list[int]] = {}

    def needed(tensors: Iterable[int]) -> list[int]:
        lines = (row.tensor for tensor in tensors for row in windows[tensor])
        return sorted({producers[line].index for line in lines if line in producers})

    waiting = needed(graph.outputs)
    while waiting:
        index = waiting.pop()
        if index not in before:
            before[index] = needed(graph.sources(graph.operators[index]))
            waiting += before[index]
    try:
        return tuple(graph.operators[index] for index in TopologicalSorter(before).static_order())
    except CycleError:
        raise NoLineError from None


def _fill(graph: Graph, after: dict[int, Rows], lines: dict[int, Line]) -> None:
    """Put the variables' initial values where windows reach before the first frame."""
    written: dict[tuple[int, int], npt.NDArray[np.float32]] = {}
    for variable, rows in after.items():
        first = graph.variables[variable].initial.reshape(len(rows), -1)
        for index, values in enumerate(first):
            row = _resolve(Kept(variable, index), after)
            line = lines.get(row.tensor)
            if line is None:
                continue
            position = line.history + row.row - row.frames * line.rows
            if not 0 <= position < line.history:
                continue
            if len(values) != line.size:
                raise NoLineError
            if not np.array_equal(written.setdefault((row.tensor, position), values), values):
                raise NoLineError
            line.initial[position] = values
