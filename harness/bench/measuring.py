"""The measuring of benchmarks: two ways to do the same work, by turns, and their comparison with a goal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final, Literal, TypeVar

Relation = Literal["at most", "at least"]
Comparison = Literal["ratio", "difference", "value"]
"""The figure that is compared with the goal: own divided by reference, own minus reference, or own alone."""

BUG: Final = "report it as a bug of mww-harness"
"""The hint where two sides that must agree do not."""

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class Goal:
    """A limit, and the side of it on which the figure must be."""

    relation: Relation
    value: float

    def holds(self, figure: float) -> bool:
        """Whether a figure meets the goal."""
        return figure <= self.value if self.relation == "at most" else figure >= self.value


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison.

    Attributes:
        what: What was measured of mww-harness.
        against: The reference: the usual alternative, or a physical limit.
        unit: Unit of both sides.
        own: One number for each repetition.
        reference: The same for the reference, in the same order; empty without a reference.
        comparison: How the figure is computed from both.
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
        """The figure of each side's best repetition, which other load on the machine affects least."""
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
        repetitions: How often each side runs.
        quick: Use small inputs, as a check that everything works; the figures mean nothing.
        scratch: A folder for files, empty at first.
        report: Called with a line about the current step.
    """

    repetitions: int
    quick: bool
    scratch: Path
    report: Callable[[str], None]

    def size(self, full: int, quick: int) -> int:
        """An input's size."""
        return quick if self.quick else full

    def by_turns(self, own_side: Callable[[], T], reference: Callable[[], U]) -> tuple[list[T], list[U]]:
        """Run both sides by turns, so that other load on the machine affects both alike."""
        first: list[T] = []
        second: list[U] = []
        for number in range(self.repetitions):
            self.report(f"repetition {number + 1} of {self.repetitions}")
            first.append(own_side())
            second.append(reference())
        return first, second
