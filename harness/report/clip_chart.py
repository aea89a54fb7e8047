"""A clip's chart: the probability of target and golden over time, with detections and differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from harness.report.plots import Curve, Mark, Plot, Tick, percent, round_ticks
from harness.report.series import HEIGHT, columns_where, downsample, line
from harness.run.results import ClipResult, RunResult
from mww.esphome.detection import Detection

COLUMNS: Final = 400
"""Of a chart: each keeps its smallest and largest output."""

_MARKS: Final = 200


def clip_plot(result: RunResult, clip: ClipResult) -> Plot | None:
    """Probability over time of target and golden, with detections; None where no output came."""
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
    """How many points a series of `count` outputs is drawn with."""
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
    """Draw a series that ended early on the same scale as the whole one."""
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
    """What the target's own rule found, where that is not what ESPHome's gives."""
    reported = any(problem.code == "detection" and clip.name in problem.clips for problem in result.problems)
    return clip.device_detections or () if reported else ()


def _account(detection: Detection) -> str:
    what = "blocked by the VAD" if detection.vad_blocked else "detected"
    numbers = f"average {detection.average}, maximum {detection.maximum}"
    return f"{what} at {detection.time_s:.2f} s, inference {detection.inference}, {numbers}"


def difference_strip(clip: ClipResult) -> str:
    """A path of boxes where target and golden differ, `COLUMNS` wide and 1 high; empty where they agree."""
    outputs, golden = clip.trace.outputs, clip.trace.golden
    if golden is None:
        return ""
    wrong = np.ones(max(len(outputs), len(golden)), np.bool_)
    both = min(len(outputs), len(golden))
    wrong[:both] = outputs[:both] != golden[:both]
    return columns_where(wrong, COLUMNS)
