"""Charts over all clips of a run: the results of other cutoffs, differences of outputs, inference times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from harness.report.plots import Bar, Curve, Histogram, Mark, Plot, Tick, area, percent, polyline, round_ticks
from harness.report.wording import counted
from harness.run.evaluation.labels import Label
from harness.run.evaluation.statistics import Evaluation, LabelledOutputs, Rule, SweepPoint, sweep
from harness.run.results import ClipResult, RunResult
from mww.esphome.contract import cutoff_of

_BINS: Final = 40


def difference_histogram(clips: Sequence[ClipResult]) -> Histogram | None:
    """A histogram of the differences of outputs; None where all are equal or were not compared."""
    results = [_differences(clip) for clip in clips]
    differences = np.concatenate(results) if results else np.empty(0, np.int64)
    if not len(differences):
        return None
    reach = int(np.abs(differences).max())
    width = -(-(2 * reach + 1) // _BINS)
    first = -((reach + width // 2) // width) * width - width // 2
    edges = np.arange(first, reach + width + 1, width)
    counts, _ = np.histogram(differences, edges)
    names = [f"{low:+d}" if width == 1 else f"{low:+d} to {low + width - 1:+d}" for low in edges[:-1].tolist()]
    return Histogram(
        bars=_bars(
            counts, [f"{name}: {counted(int(count), 'output')}" for name, count in zip(names, counts, strict=True)]
        ),
        ticks=tuple(
            Tick((at - first + 0.5) / (len(counts) * width) * 100, f"{at:+g}" if at else "0")
            for at in sorted({-reach, 0, reach})
        ),
        label=f"differences of {counted(len(differences), 'output')}, up to {reach}",
        x_title="target minus golden, in steps of the output byte",
        peak=f"highest bar: {counted(int(counts.max()), 'output')}",
    )


def _differences(clip: ClipResult) -> npt.NDArray[np.int64]:
    golden = clip.trace.golden
    if golden is None:
        return np.empty(0, np.int64)
    both = min(len(golden), len(clip.trace.outputs))
    difference: npt.NDArray[np.int64] = clip.trace.outputs[:both].astype(np.int64) - golden[:both]
    differing: npt.NDArray[np.int64] = difference[difference != 0]
    return differing


def _bars(counts: npt.NDArray[np.int64], texts: Sequence[str]) -> tuple[Bar, ...]:
    top = max(1, int(counts.max(initial=0)))
    return tuple(Bar(int(count) / top * 100, text) for count, text in zip(counts, texts, strict=True))


def latency_histogram(clips: Sequence[ClipResult]) -> Histogram | None:
    """A histogram of inference times on the chip; None where no chip measured them."""
    results = [clip.trace.microseconds for clip in clips if clip.trace.microseconds is not None]
    times = np.concatenate(results) if results else np.empty(0, np.uint32)
    if not len(times):
        return None
    low, high = int(times.min()), int(times.max())
    edges = np.linspace(low, max(high, low + _BINS), _BINS + 1)
    counts, _ = np.histogram(times, edges)
    texts = [
        f"{edges[i]:,.0f} to {edges[i + 1]:,.0f} us: {counted(int(count), 'inference')}"
        for i, count in enumerate(counts)
    ]
    span = (low, float(edges[-1]))
    p50, p95, p99 = (int(value) for value in np.percentile(times, (50, 95, 99), method="inverted_cdf"))
    named = (("median", p50), ("95 %", p95), ("99 %", p99), ("longest", high))
    return Histogram(
        bars=_bars(counts, texts),
        ticks=tuple(Tick(percent(at, *span), f"{at:,.0f}") for at in round_ticks(*span, count=5)),
        label=f"{len(times):,} inferences took {low:,} to {high:,} us",
        x_title="microseconds an inference; flags: median, 95 %, 99 %, longest",
        peak=f"highest bar: {counted(int(counts.max()), 'inference')}",
        marks=tuple(Mark(percent(at, *span), "time", f"{name}: {at:,} us") for name, at in named),
    )


_WIDTH: Final = 1000.0
_LOWEST: Final = 0.2  # the sweep's first cutoff


def recall_plot(result: RunResult, evaluation: Evaluation) -> Plot | None:
    """Recall and its confidence interval over the cutoff; None without positive clips."""
    points = evaluation.sweep
    if not points or evaluation.at.recall.value is None:
        return None
    xs = [_place(point.cutoff) for point in points]
    lows, highs = ([(1 - end) * 100 for end in ends] for ends in _recall_ends(points))
    middle = polyline((x, (1 - (point.recall.value or 0)) * 100) for x, point in zip(xs, points, strict=True))
    return Plot(
        width=_WIDTH,
        height=100,
        curves=(Curve(area(xs, lows, highs), ("interval",)), Curve(middle, ("target",))),
        x_ticks=_cutoff_ticks(),
        y_ticks=tuple(Tick(share, f"{share} %") for share in (0, 50, 100)),
        marks=_own_cutoff(result),
        label="Recall over the probability cutoff, with its 95 % interval",
        x_title="probability cutoff",
    )


def _recall_ends(points: Sequence[SweepPoint]) -> tuple[list[float], list[float]]:
    return [point.recall.low for point in points], [point.recall.high for point in points]


def _cutoff_ticks() -> tuple[Tick, ...]:
    return tuple(Tick(_place(cutoff) / _WIDTH * 100, f"{cutoff:g}") for cutoff in (0.2, 0.4, 0.6, 0.8, 1))


def _place(cutoff: float) -> float:
    """The position of a cutoff on the axis."""
    return max(0.0, percent(cutoff, _LOWEST, 1.0)) * _WIDTH / 100


def _own_cutoff(result: RunResult) -> tuple[Mark, ...]:
    cutoff = result.probability_cutoff
    return (Mark(_place(cutoff) / _WIDTH * 100, "cutoff", f"the model's own cutoff, {cutoff:g}"),)


def false_accept_plot(result: RunResult, evaluation: Evaluation) -> Plot | None:
    """False accepts an hour with their interval over the cutoff, on a logarithmic axis; None without negative clips."""
    points = evaluation.sweep
    if not points or evaluation.at.false_accepts.rate is None:
        return None
    hours = evaluation.at.false_accepts.hours
    floor = math.floor(math.log10(0.3 / hours))  # the lowest decade contains the rate that this much audio can resolve
    top = max(floor + 1, math.ceil(math.log10(max(point.false_accepts.high or 0 for point in points))))

    def height(rate: float | None) -> float:
        share = (math.log10(rate) - floor) / (top - floor) if rate else 0.0
        return (1 - min(1.0, max(0.0, share))) * 100

    xs = [_place(point.cutoff) for point in points]
    lows = [height(point.false_accepts.low) for point in points]
    highs = [height(point.false_accepts.high) for point in points]
    middle = polyline((x, height(point.false_accepts.rate)) for x, point in zip(xs, points, strict=True))
    return Plot(
        width=_WIDTH,
        height=100,
        curves=(Curve(area(xs, lows, highs), ("interval",)), Curve(middle, ("target",))),
        x_ticks=_cutoff_ticks(),
        y_ticks=tuple(
            Tick((power - floor) / (top - floor) * 100, "0" if power == floor else f"{10.0**power:g}")
            for power in range(floor, top + 1)
        ),
        marks=_own_cutoff(result),
        label="False accepts an hour over the probability cutoff, with their 95 % interval",
        x_title="probability cutoff",
    )


def detections_plot(result: RunResult) -> Plot | None:
    """Detections of target and golden over the cutoff, for clips without labels; None without such clips."""
    rule = Rule(result.sliding_window_size, result.stride, result.feature_step_size)
    traces = [clip.trace for clip in result.clips]
    target = _counts([trace.outputs for trace in traces], rule)
    kinds = {"target": target}
    if any(trace.golden is not None and not np.array_equal(trace.golden, trace.outputs) for trace in traces):
        kinds = {"golden": _counts([trace.golden for trace in traces if trace.golden is not None], rule), **kinds}
    top = max(max(counts.values()) for counts in kinds.values())
    if not top:
        return None
    curves = tuple(
        Curve(polyline((_place(cutoff_of(byte)), (1 - count / top) * 100) for byte, count in counts.items()), (kind,))
        for kind, counts in kinds.items()
    )
    return Plot(
        width=_WIDTH,
        height=100,
        curves=curves,
        x_ticks=_cutoff_ticks(),
        y_ticks=tuple(Tick(at / top * 100, f"{at:g}") for at in round_ticks(0, top, 3) if at == int(at)),
        marks=_own_cutoff(result),
        label="Detections over the probability cutoff",
        x_title="probability cutoff",
    )


def _counts(outputs: Sequence[npt.NDArray[np.uint8]], rule: Rule) -> dict[int, int]:
    """Detections in all clips together by cutoff byte."""
    clips = [LabelledOutputs("", Label("negative"), clip, seconds=0.0) for clip in outputs]
    return {point.cutoff_byte: point.false_accepts.count for point in sweep(clips, rule)}
