"""What the page's template draws: plots and bars as plain data.

Places are percent of a plot's area, so that text keeps its size at any width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tick:
    """A label at `at` percent from the left, or from the bottom."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A place on the time axis: `kind` is its class of style, `text` what pointing at it says."""

    at: float
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Curve:
    """An SVG path in the plot's own units; several kinds draw it one over the other."""

    path: str
    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plot:
    """Curves over an axis.

    Attributes:
        width: Of the area, in the curves' units.
        height: Likewise.
        curves: From back to front.
        x_ticks: Along the bottom.
        y_ticks: Along the left, each with a rule across.
        marks: Vertical rules with a flag.
        levels: Horizontal rules with a text.
        label: What the picture shows, for those who cannot see it.
        x_title: Under the axis.
    """

    width: float
    height: float
    curves: tuple[Curve, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    label: str
    x_title: str
    marks: tuple[Mark, ...] = ()
    levels: tuple[Tick, ...] = ()


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of `height` percent; `text` is what pointing at it says."""

    height: float
    text: str


@dataclass(frozen=True, slots=True)
class Histogram:
    """Bars side by side, labels under some, marks between them; `peak` says what the highest one stands for."""

    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    label: str
    x_title: str
    peak: str
    marks: tuple[Mark, ...] = ()


def round_ticks(low: float, high: float, count: int = 6) -> list[float]:
    """Round numbers from `low` to `high`, about `count` of them."""
    if not high > low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def percent(at: float, start: float, end: float) -> float:
    """How far `at` is on the way from `start` to `end`."""
    return (at - start) / (end - start) * 100
