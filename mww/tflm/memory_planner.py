"""TFLM's `AllocationInfoBuilder` and `GreedyMemoryPlanner`: when each buffer lives, and where it lies in the head."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from mww.core.errors import UnsupportedModelError
from mww.tflite.model_file import Operator, Subgraph
from mww.tflite.schema import CallOnce
from mww.tflm.node import EXPORT_AGAIN

_UNINITIALIZED: Final = -1
_MAX_DEPTH: Final = 8
_MAX_SCOPES: Final = 65_536
"""Far beyond any model; a few bytes of file can ask for endless nesting."""


@dataclass(frozen=True, slots=True)
class BufferRequirement:
    """A buffer for the planner: bytes, and the first and last allocation scope in which it holds something."""

    size: int
    first_used: int
    last_used: int

    def overlaps(self, other: BufferRequirement) -> bool:
        """Whether both live at some time."""
        return self.first_used <= other.last_used and other.first_used <= self.last_used


@dataclass(frozen=True, slots=True)
class Scope:
    """One allocation scope: an operator's turn, or with `operator` None the start of a subgraph."""

    subgraph: int
    operator: int | None


@dataclass(slots=True)
class Lifetimes:
    """Scopes in execution order, and the first and last scope of each tensor and of each operator's scratch."""

    scopes: list[Scope] = field(default_factory=list)
    tensors: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    scratch: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)

    def tensor(self, subgraph: int, tensor: int) -> tuple[int, int]:
        """First and last scope of a tensor; -1 where nothing creates or uses it."""
        return self.tensors.get((subgraph, tensor), (_UNINITIALIZED, _UNINITIALIZED))

    @property
    def _now(self) -> int:
        return len(self.scopes) - 1

    def _create(self, subgraph: int, tensor: int) -> None:
        first, last = self.tensor(subgraph, tensor)
        if first == _UNINITIALIZED:
            self.tensors[subgraph, tensor] = (self._now, last)

    def _use(self, subgraph: int, tensor: int) -> None:
        first, _ = self.tensor(subgraph, tensor)
        self.tensors[subgraph, tensor] = (first, self._now)

    def mark(self, subgraphs: Sequence[Subgraph], index: int = 0, depth: int = 0) -> None:
        """`MarkAllocationLifetimes`: walk a subgraph; a subgraph that CALL_ONCE runs is walked inline, each time.

        Raises:
            UnsupportedModelError: Subgraphs call each other without end.
        """
        subgraph = subgraphs[index]
        if depth > _MAX_DEPTH or len(self.scopes) > _MAX_SCOPES:
            raise UnsupportedModelError("CALL_ONCE calls subgraphs that call subgraphs without end", hint=EXPORT_AGAIN)
        self.scopes.append(Scope(index, None))
        for tensor in subgraph.inputs:
            self._create(index, tensor)
            self._use(index, tensor)
        for operator in subgraph.operators:
            self._mark_operator(subgraphs, index, operator, depth)
        for tensor in subgraph.outputs:
            self._create(index, tensor)
            self._use(index, tensor)

    def _mark_operator(self, subgraphs: Sequence[Subgraph], index: int, operator: Operator, depth: int) -> None:
        self.scopes.append(Scope(index, operator.index))
        start = self._now
        for tensor in operator.outputs:
            self._create(index, tensor)
        if isinstance(operator.options, CallOnce):
            self.mark(subgraphs, operator.options.subgraph, depth + 1)
        for tensor in operator.inputs:
            if tensor >= 0:
                self._use(index, tensor)
        for tensor in operator.outputs:
            self._use(index, tensor)
        first, _ = self.scratch.get((index, operator.index), (start, start))
        self.scratch[index, operator.index] = (first, self._now)


def plan_greedily(requirements: Sequence[BufferRequirement]) -> list[int]:
    """`GreedyMemoryPlanner::CalculateOffsetsIfNeeded`: the offset of each buffer.

    Largest first, of equals the one added last; each goes into the first gap between placed buffers that live at the
    same time, else behind them.
    """
    offsets = [0] * len(requirements)
    placed: list[tuple[int, int, int]] = []  # offset, order of placing, buffer: sorted as TFLM's list
    by_size = sorted(reversed(range(len(requirements))), key=lambda buffer: -requirements[buffer].size)
    for order, buffer in enumerate(by_size):
        wanted = requirements[buffer]
        active = ((start, requirements[other]) for start, _, other in placed if wanted.overlaps(requirements[other]))
        offset = _first_gap(wanted.size, active)
        offsets[buffer] = offset
        insort(placed, (offset, order, buffer))
    return offsets


def _first_gap(size: int, active: Iterable[tuple[int, BufferRequirement]]) -> int:
    candidate = 0
    for start, requirement in active:
        if start - candidate >= size:
            break
        candidate = max(candidate, start + requirement.size)
    return candidate
