"""`mww compare-runs`: what changed between two runs, for example after an update of firmware or library."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from harness.cli.output import emit_json, json_option, say
from harness.report.comparison import Change, RunComparison, compare_runs
from harness.report.run_document import read_runs
from mww.core.readable import printable

_LISTED = 20


@click.command("compare-runs")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@json_option
def command(a: Path, b: Path, as_json: bool) -> int:
    """Show what changed from run A to run B, each a run.json or a report's folder.

    Exits with 0 if the results are the same, with 1 if outputs, detections, the arena or a verdict differ. Versions,
    inference times and instructions are reported but not judged.
    """
    comparisons = compare_runs(read_runs(a), read_runs(b))
    equal = all(comparison.equal for comparison in comparisons)
    if as_json:
        runs = [{**asdict(comparison), "equal": comparison.equal} for comparison in comparisons]
        emit_json("mww.compare-runs/1", {"a": str(a), "b": str(b), "equal": equal, "runs": runs})
        return 0 if equal else 1
    for comparison in comparisons:
        _print(comparison)
    return 0 if equal else 1


def _print(comparison: RunComparison) -> None:
    verdict, colour = ("the same", "green") if comparison.equal else ("different", "red")
    say(f"{comparison.model}: ", nl=False)
    say(verdict, fg=colour)
    for change in comparison.conditions:
        _print_change(change, "  ran with ")
    for change in comparison.results:
        _print_change(change, "  ")
    for clip in comparison.clips[:_LISTED]:
        say(f"  clip {clip.name}")
        for change in clip.changes:
            _print_change(change, "    ")
    if len(comparison.clips) > _LISTED:
        say(f"  and {len(comparison.clips) - _LISTED} more clips; --json lists all")
    for change in comparison.timing[:_LISTED]:
        _print_change(change, "  ")


def _print_change(change: Change, indent: str) -> None:
    before, after = (printable(side) if side is not None else "nothing" for side in (change.a, change.b))
    say(f"{indent}{change.what}: {before} -> {after}")
