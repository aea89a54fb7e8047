"""Searches the order with the smallest arena: exhaustively, or with a beam and then single moves.

The search does not use random numbers or a clock: a model always gives the same order, after a bounded number of steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from exporter.optimization.live_memory import Memory
from exporter.optimization.precedence import bits, legal_orders, ready

_EXHAUSTIVE: Final = 1000
"""Up to this many legal orders, every order is planned."""

_WIDTHS: Final = (1, 8, 32)
"""States that the beam keeps after each step."""

_MAX_MOVES: Final = 300
"""The most moves that are planned to improve the beam's order."""


@dataclass(frozen=True, slots=True)
class Found:
    """An order, its minimum on each chip, and whether it is proven to be the best."""

    order: tuple[int, ...]
    minima: tuple[int, ...]
    best: bool


def search(memory: Memory, bounds: tuple[int, ...]) -> Found:
    """Find the order with the smallest largest minimum of the requested chips, on no chip larger than before.

    Args:
        memory: The model.
        bounds: A size for each chip, in bytes, below which no order brings its minimum.
    """
    return _Search(memory, bounds).run()


class _Search:
    def __init__(self, memory: Memory, bounds: tuple[int, ...]) -> None:
        self._memory = memory
        self._limit = tuple(chip.minimum for chip in memory.chips)
        self._bound = self._cost(bounds)[0]
        self._order = tuple(range(memory.precedence.operators))
        self._minima = self._limit

    def run(self) -> Found:
        if not self._done:
            orders = legal_orders(self._memory.precedence, _EXHAUSTIVE)
            if orders is not None:
                for order in orders:
                    self._try(order)
                return Found(self._order, self._minima, best=True)
            self._run_beam()
            self._run_moves()
        return Found(self._order, self._minima, best=self._done)

    @property
    def _done(self) -> bool:
        return self._cost(self._minima)[0] == self._bound

    def _run_beam(self) -> None:
        beam = Beam(self._memory)
        for width in _WIDTHS:
            if not self._done:
                self._try(beam.find(width))

    def _run_moves(self) -> None:
        """Move one operator at a time as far forward or back as possible, while that helps."""
        left = _MAX_MOVES
        improved = True
        while improved and not self._done:
            improved = False
            for order in self._moves():
                if left == 0 or self._done:
                    return
                left -= 1
                if self._try(order):
                    improved = True
                    break

    def _moves(self) -> Iterator[tuple[int, ...]]:
        order = self._order
        needs = self._memory.precedence.direct
        for turn, operator in enumerate(order):
            earliest = max((order.index(other) + 1 for other in bits(needs[operator])), default=0)
            latest = min(
                (place for place, other in enumerate(order) if needs[other] >> operator & 1), default=len(order)
            )
            rest = order[:turn] + order[turn + 1 :]
            for place in sorted({earliest, latest - 1} - {turn}):
                yield (*rest[:place], operator, *rest[place:])

    def _try(self, order: tuple[int, ...]) -> bool:
        """Keep an order if it is better, and on no chip larger than the file's own."""
        for needed in (self._memory.estimate, self._memory.load):
            minima = needed(order)
            grows = any(new > old for new, old in zip(minima, self._limit, strict=True))
            if grows or self._cost(minima) >= self._cost(self._minima):
                return False
        self._order, self._minima = order, minima
        return True

    def _cost(self, minima: Sequence[int]) -> tuple[int, int]:
        """The largest minimum of the requested chips, then the sum of all."""
        chips = self._memory.chips
        return max(size for size, chip in zip(minima, chips, strict=True) if chip.asked), sum(minima)


@dataclass(frozen=True, slots=True)
class _State:
    """Operators that have run, bytes alive after them and the peak on each chip, and the previous state."""

    done: int
    alive: int
    peaks: tuple[int, ...]
    previous: _State | None
    operator: int

    def order(self) -> tuple[int, ...]:
        """The operators in the order in which they ran."""
        order = []
        state: _State = self
        while state.previous is not None:
            order.append(state.operator)
            state = state.previous
        return tuple(reversed(order))


class Beam:
    """A beam search for the order with the fewest bytes alive at once, which the planner then places."""

    def __init__(self, memory: Memory) -> None:
        self._precedence = memory.precedence
        self._arenas = [(chip.planning, chip.tail, chip.asked) for chip in memory.chips]
        self._at_start = sum(tensor.size for tensor in memory.tensors if not tensor.producer)
        operators = range(memory.precedence.operators)
        self._made = [sum(t.size for t in memory.tensors if t.producer >> index & 1) for index in operators]
        self._freed = [
            [
                (tensor.readers | tensor.producer, tensor.size)
                for tensor in memory.tensors
                if not tensor.kept and (tensor.readers | tensor.producer) >> index & 1
            ]
            for index in operators
        ]
        self._scratch = [tuple(sum(chip.scratch[index]) for chip in memory.chips) for index in operators]

    def find(self, width: int) -> tuple[int, ...]:
        """The best order of a beam with that many states."""
        everything = (1 << self._precedence.operators) - 1
        start = _State(0, self._at_start, (self._at_start,) * len(self._arenas), None, -1)
        beam = [self._run_free(start)]
        while any(state.done != everything for state in beam):
            result: dict[int, _State] = {}
            for state in beam:
                following = ready(self._precedence, state.done)
                for after in [self._run_free(self._run(state, operator)) for operator in following] or [state]:
                    known = result.get(after.done)
                    if known is None or self._cost(after) < self._cost(known):
                        result[after.done] = after
            beam = sorted(result.values(), key=self._cost)[:width]
        return beam[0].order()

    def _run_free(self, state: _State) -> _State:
        """Run operators that neither raise the bytes alive nor the peak: delaying them could only be worse."""
        progress = True
        while progress:
            progress = False
            for operator in ready(self._precedence, state.done):
                after = self._run(state, operator)
                if after.alive <= state.alive and after.peaks == state.peaks:
                    state, progress = after, True
        return state

    def _run(self, state: _State, operator: int) -> _State:
        during = state.alive + self._made[operator]
        done = state.done | 1 << operator
        freed = sum(size for users, size in self._freed[operator] if not users & ~done)
        scratch = self._scratch[operator]
        peaks = tuple(max(peak, during + extra) for peak, extra in zip(state.peaks, scratch, strict=True))
        return _State(done, during - freed, peaks, state, operator)

    def _cost(self, state: _State) -> tuple[int, int, int, int]:
        """The largest requested arena so far, then all, then the bytes alive; the mask makes the order unique."""
        arenas = [
            tail + max(planning, peak) for (planning, tail, _), peak in zip(self._arenas, state.peaks, strict=True)
        ]
        asked = max(arena for arena, (_, _, counts) in zip(arenas, self._arenas, strict=True) if counts)
        return asked, sum(arenas), state.alive, state.done
