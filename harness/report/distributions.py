"""Distributions over all clips of a run: by how much outputs differ, and how long inferences took."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from harness.report.plots import Bar, Histogram, Mark, Tick, percent, round_ticks
from harness.report.wording import counted
from harness.run.results import ClipResult

_BINS: Final = 40


def difference_histogram(clips: Sequence[ClipResult]) -> Histogram | None:
    """How often the outputs that differ do so by how much; None where all are equal, or nothing was compared."""
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
    """How long inferences took on the chip; None where no chip said."""
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
