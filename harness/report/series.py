"""Series of any length as short SVG paths that keep every peak: pure arithmetic on bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

HEIGHT: Final = 255
"""Of a chart of outputs, in its own units: one for each value of a byte."""


def downsample(values: npt.NDArray[np.uint8], columns: int) -> npt.NDArray[np.uint8]:
    """At most `2 * columns` values that look the same: of each column its smallest and largest, in their order."""
    if len(values) <= 2 * columns:
        return values
    width = -(-len(values) // columns)
    padded = np.concatenate([values, np.repeat(values[-1:], -len(values) % width)]).reshape(-1, width)
    low_first = padded.argmin(axis=1) <= padded.argmax(axis=1)
    low, high = padded.min(axis=1), padded.max(axis=1)
    extremes: npt.NDArray[np.uint8] = np.stack(
        [np.where(low_first, low, high), np.where(low_first, high, low)], axis=1
    ).reshape(-1)
    return extremes


def line(values: npt.NDArray[np.uint8]) -> str:
    """A path through bytes one unit of width apart, with 255 at the top; a run of one value is one step."""
    if not len(values):
        return ""
    heights = [HEIGHT - int(value) for value in values]
    words = [f"M0 {heights[0]}"]
    flat = 0
    for before, now in pairwise(heights):
        if now == before:
            flat += 1
            continue
        if flat:
            words.append(f"h{flat}")
            flat = 0
        words.append(f"l1 {now - before}")
    return "".join([*words, f"h{flat}" if flat else ""])


def polyline(points: Iterable[tuple[float, float]]) -> str:
    """A path through points."""
    return "".join(f"{'L' if index else 'M'}{x:.4g} {y:.4g}" for index, (x, y) in enumerate(points))


def area(xs: Sequence[float], lows: Sequence[float], highs: Sequence[float]) -> str:
    """A closed path between two lines over the same places."""
    there = list(zip(xs, lows, strict=True))
    back = list(zip(xs, highs, strict=True))[::-1]
    return polyline([*there, *back]) + "Z" if there else ""


def columns_where(wrong: npt.NDArray[np.bool_], columns: int) -> str:
    """Boxes one unit high at the columns, `columns` in all, that hold anything true."""
    if not len(wrong):
        return ""
    places = np.unique(np.flatnonzero(wrong) * columns // len(wrong))
    return "".join(f"M{place} 0h1v1h-1z" for place in places)
