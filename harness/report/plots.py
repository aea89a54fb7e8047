"""Plots and bars of the report page, as plain data for its template.

Positions are percent of a plot's area, so that text keeps its size at any width.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from harness.run.results import ClipResult, RunResult
from mww.esphome.detection import Detection

HEIGHT: Final = 255
"""Height of a chart of outputs, in its own units: one for each value of a byte."""


def downsample(values: npt.NDArray[np.uint8], columns: int) -> npt.NDArray[np.uint8]:
    """At most `2 * columns` values that look the same in a plot: the smallest and largest of each column, in order."""
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
    """A path through bytes at a distance of one unit, with 255 at the top; equal values in sequence make one step."""
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
    """A closed path between two lines with the same x positions."""
    there = list(zip(xs, lows, strict=True))
    back = list(zip(xs, highs, strict=True))[::-1]
    return polyline([*there, *back]) + "Z" if there else ""


def columns_where(wrong: npt.NDArray[np.bool_], columns: int) -> str:
    """Boxes of height one at those of `columns` columns that contain a true value."""
    if not len(wrong):
        return ""
    places = np.unique(np.flatnonzero(wrong) * columns // len(wrong))
    return "".join(f"M{place} 0h1v1h-1z" for place in places)


COLUMNS: Final = 400
"""Columns of a chart: each shows its smallest and largest output."""

_MARKS: Final = 200


def clip_plot(result: RunResult, clip: ClipResult) -> Plot | None:
    """Probability over time of target and golden, with detections; None without outputs."""
    outputs, golden = clip.trace.outputs, clip.trace.golden
    count = max(len(outputs), 0 if golden is None else len(golden))
    if count < 2:
        return None
    seconds = result.stride * result.feature_step_size / 1000
    start, end = seconds - result.lead_in, count * seconds - result.lead_in
    cutoff = int(result.probability_cutoff * HEIGHT)
    return Plot(
        width=_drawn(count) - 1,
        height=HEIGHT,
        curves=_clip_curves(outputs, golden, count),
        x_ticks=tuple(Tick(percent(at, start, end), f"{at:g}") for at in round_ticks(start, end)),
        y_ticks=tuple(Tick(share, f"{share / 100:g}") for share in (0, 50, 100)),
        marks=(
            *_marks(clip.golden_detections or (), "golden", start, end),
            *_marks(clip.detections, "target", start, end),
            *_marks(_other_detections(result, clip), "board", start, end),
        ),
        levels=(Tick(cutoff / HEIGHT * 100, f"cutoff {result.probability_cutoff:g}"),),
        label=f"Probability over time, {len(outputs)} outputs, {len(clip.detections)} detections",
        x_title="seconds",
    )


def _drawn(count: int) -> int:
    """The number of points for a series of `count` outputs."""
    return len(downsample(np.zeros(count, np.uint8), COLUMNS))


def _clip_curves(outputs: npt.NDArray[np.uint8], golden: npt.NDArray[np.uint8] | None, count: int) -> tuple[Curve, ...]:
    if golden is None:
        return (Curve(line(_padded(outputs, count)), ("target",)),)
    if np.array_equal(outputs, golden):
        return (Curve(line(_padded(outputs, count)), ("golden", "target")),)
    return (
        Curve(line(_padded(golden, count)), ("golden",)),
        Curve(line(_padded(outputs, count)), ("target",)),
    )


def _padded(values: npt.NDArray[np.uint8], count: int) -> npt.NDArray[np.uint8]:
    """Draw a series that ended early on the scale of the complete series."""
    whole = np.concatenate([values, np.zeros(count - len(values), np.uint8)])
    drawn = downsample(whole, COLUMNS)
    return drawn[: math.ceil(len(drawn) * len(values) / count)]


def _marks(detections: Sequence[Detection], kind: str, start: float, end: float) -> list[Mark]:
    return [
        Mark(
            at=min(100.0, max(0.0, percent(detection.time_s, start, end))),
            kind=f"{kind} blocked" if detection.vad_blocked else kind,
            text=f"{kind}: {_account(detection)}",
        )
        for detection in detections[:_MARKS]
    ]


def _other_detections(result: RunResult, clip: ClipResult) -> Sequence[Detection]:
    """The detections of the target's own rule, where they differ from ESPHome's."""
    reported = any(problem.code == "detection" and clip.name in problem.clips for problem in result.problems)
    return clip.device_detections or () if reported else ()


def _account(detection: Detection) -> str:
    what = "blocked by the VAD" if detection.vad_blocked else "detected"
    numbers = f"average {detection.average}, maximum {detection.maximum}"
    return f"{what} at {detection.time_s:.2f} s, inference {detection.inference}, {numbers}"


def difference_strip(clip: ClipResult) -> str:
    """A path of boxes where target and golden differ, `COLUMNS` wide and 1 high; empty where they are equal."""
    outputs, golden = clip.trace.outputs, clip.trace.golden
    if golden is None:
        return ""
    wrong = np.ones(max(len(outputs), len(golden)), np.bool_)
    both = min(len(outputs), len(golden))
    wrong[:both] = outputs[:both] != golden[:both]
    return columns_where(wrong, COLUMNS)


@dataclass(frozen=True, slots=True)
class Tick:
    """A label at `at` percent from the left, or from the bottom."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark on the time axis: `kind` is its style class, `text` its tooltip."""

    at: float
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Curve:
    """An SVG path in the plot's own units; several kinds draw it several times."""

    path: str
    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plot:
    """Curves over an axis.

    Attributes:
        width: Width of the area, in the curves' units.
        height: Height of the area, in the curves' units.
        curves: From back to front.
        x_ticks: Along the bottom.
        y_ticks: Along the left, each with a rule across.
        marks: Vertical rules with a flag.
        levels: Horizontal rules with a text.
        label: Description of the picture, for those who cannot see it.
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
    """A bar of `height` percent; `text` is its tooltip."""

    height: float
    text: str


@dataclass(frozen=True, slots=True)
class Histogram:
    """Bars side by side, with labels under some and marks between them; `peak` describes the highest bar."""

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
    """The position of `at` between `start` and `end`, in percent."""
    return (at - start) / (end - start) * 100
