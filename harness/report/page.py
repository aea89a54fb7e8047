"""The report as a self-contained HTML page: no script, no network, light and dark, at most a few megabytes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.report import wording
from harness.report.plots import COLUMNS, Histogram, Plot, clip_plot, difference_strip
from harness.report.run_document import overall
from harness.report.sweep_charts import (
    detections_plot,
    difference_histogram,
    false_accept_plot,
    latency_histogram,
    recall_plot,
)
from harness.run.allowances import render_entries
from harness.run.results import ArenaResult, ClipResult, RunResult

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATES: Final = Path(__file__).parent / "templates"
_CHART_BYTES: Final = 2_500_000
_LISTED: Final = 4_000
_OPEN: Final = 8


@dataclass(frozen=True, slots=True)
class ClipView:
    """A clip on the page: `strip` marks where target and golden differ, `open` says whether it starts unfolded."""

    clip: ClipResult
    account: str
    plot: Plot | None
    strip: str
    open: bool


@dataclass(frozen=True, slots=True)
class ArenaMark:
    """A size beside the arena's bar, at `at` percent of its length."""

    name: str
    size: int
    at: float


@dataclass(frozen=True, slots=True)
class ArenaView:
    """The arena's bar: the used part, and the sizes to compare with."""

    arena: ArenaResult
    account: str
    used: float
    marks: tuple[ArenaMark, ...]
    free: int


@dataclass(frozen=True, slots=True)
class RunView:
    """A model's part of the page; a chart without data is None."""

    result: RunResult
    headline: str
    place: str
    compared_with: str
    clips: tuple[ClipView, ...]
    unlisted: int
    uncharted: int
    arena: ArenaView | None
    differences: Histogram | None
    latency: Histogram | None
    latency_account: str | None
    proposed: str | None
    other_rule: bool
    recall: Plot | None
    false_accepts: Plot | None
    detections: Plot | None


def html_page(results: Sequence[RunResult]) -> str:
    """Render the page for the runs of one or more models."""
    share = _CHART_BYTES // max(1, len(results))
    listed = _LISTED // max(1, len(results))
    views = [_run_view(result, share, listed) for result in results]
    environment = page_environment()
    numbers = itertools.count(1)
    environment.globals["unique"] = lambda: f"c{next(numbers)}"
    template = environment.get_template("page.html.j2")
    return template.render(runs=views, verdict=overall(results), columns=COLUMNS, wording=wording)


def page_environment() -> Environment:
    """The templates of pages; they escape all values."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _run_view(result: RunResult, chart_bytes: int, listed: int) -> RunView:
    evaluation = result.evaluation
    clips = _clip_views(result, chart_bytes, listed)
    slowest = max(
        (clip.latency_us for clip in result.clips if clip.latency_us), key=lambda item: item.max, default=None
    )
    return RunView(
        result=result,
        headline=wording.headline(result),
        place=wording.place(result),
        compared_with=wording.compared_with(result),
        clips=clips,
        unlisted=len(result.clips) - len(clips),
        uncharted=sum(view.plot is None and view.clip.inferences > 1 for view in clips),
        arena=_arena_view(result.arena) if result.arena else None,
        differences=difference_histogram(result.clips),
        latency=latency_histogram(result.clips),
        latency_account=wording.latency_account(slowest, result) if slowest else None,
        proposed=render_entries([result.proposed_allowance]) if result.proposed_allowance else None,
        other_rule=any(problem.code == "detection" for problem in result.problems),
        recall=recall_plot(result, evaluation) if evaluation else None,
        false_accepts=false_accept_plot(result, evaluation) if evaluation else None,
        detections=None if evaluation else detections_plot(result),
    )


def _clip_views(result: RunResult, chart_bytes: int, listed: int) -> tuple[ClipView, ...]:
    """The clips, the worst first, with charts until the limit of the page's size."""
    views: list[ClipView] = []
    for clip in wording.worst_first(result)[:listed]:
        plot = clip_plot(result, clip) if chart_bytes > 0 else None
        strip = difference_strip(clip) if plot else ""
        chart_bytes -= sum(len(curve.path) for curve in plot.curves) + len(strip) + 2000 if plot else 0
        shown = len(views) < _OPEN
        views.append(ClipView(clip, wording.clip_account(clip), plot, strip, open=shown))
    return tuple(views)


def _arena_view(arena: ArenaResult) -> ArenaView:
    sizes = {"predicted": arena.predicted, "manifest": arena.manifest, "allocated": arena.size}
    known = {name: size for name, size in sizes.items() if size is not None}
    scale = max([arena.used, *known.values()]) or 1
    marks = tuple(ArenaMark(name, size, size / scale * 100) for name, size in known.items())
    limit = arena.size if arena.manifest is None else arena.manifest
    return ArenaView(arena, wording.arena_account(arena), arena.used / scale * 100, marks, limit - arena.used)
