"""A benchmark measures two ways to do the same thing, by turns, and compares them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal, TypeVar

Relation = Literal["at most", "at least"]
Comparison = Literal["ratio", "difference", "value"]
"""What is held against the goal: the own side divided by the reference, less the reference, or alone."""

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class Goal:
    """A number, and on which side of it the figure shall be."""

    relation: Relation
    value: float

    def holds(self, figure: float) -> bool:
        """Whether a figure is on the right side."""
        return figure <= self.value if self.relation == "at most" else figure >= self.value


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison.

    Attributes:
        what: Ours.
        against: The reference: what a user would otherwise do, or the limit that nobody can pass.
        unit: Of both.
        own: One number a repetition.
        reference: Likewise, in the same order; empty where the own side stands alone.
        comparison: How the two become a figure.
        goal: For the median figure.
        same: What both sides were checked to have in common.
        notes: What else is worth knowing, by name.
    """

    what: str
    against: str
    unit: str
    own: tuple[float, ...]
    reference: tuple[float, ...]
    comparison: Comparison
    goal: Goal
    same: str
    notes: tuple[tuple[str, str], ...] = ()

    @property
    def figures(self) -> tuple[float, ...]:
        """The figure of each repetition."""
        if self.comparison == "value":
            return self.own
        pairs = zip(self.own, self.reference, strict=True)
        return tuple(a / b if self.comparison == "ratio" else a - b for a, b in pairs)

    @property
    def figure(self) -> float:
        """The median."""
        return median(self.figures)

    @property
    def undisturbed(self) -> float:
        """The figure of each side's best repetition: what a machine that also does other things says least about."""
        best = min if self.goal.relation == "at most" else max
        own = best(self.own)
        if self.comparison == "value":
            return own
        return own / best(self.reference) if self.comparison == "ratio" else own - best(self.reference)

    @property
    def holds(self) -> bool:
        """Whether the median meets the goal."""
        return self.goal.holds(self.figure)


@dataclass(frozen=True, slots=True)
class Plan:
    """How to measure.

    Attributes:
        repetitions: Of each side.
        quick: Small inputs, to see that everything works; the figures mean nothing.
        scratch: A folder for files, empty at first.
        tell: Called with what is going on.
    """

    repetitions: int
    quick: bool
    scratch: Path
    tell: Callable[[str], None]

    def size(self, full: int, quick: int) -> int:
        """An input's size."""
        return quick if self.quick else full

    def by_turns(self, own_side: Callable[[], T], reference: Callable[[], U]) -> tuple[list[T], list[U]]:
        """Do both, one after the other, again and again, so that what else the machine does meets both alike."""
        first: list[T] = []
        second: list[U] = []
        for number in range(self.repetitions):
            self.tell(f"repetition {number + 1} of {self.repetitions}")
            first.append(own_side())
            second.append(reference())
        return first, second
