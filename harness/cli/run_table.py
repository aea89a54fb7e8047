"""A run on a terminal: the clips, the reference, the arena and the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from harness.cli.output import console, say_lines
from harness.report.wording import (
    allowance_account,
    arena_account,
    clip_account,
    compared_with,
    false_accepts_account,
    headline,
    instructions_account,
    names_account,
    near_misses_account,
    number,
    place,
    problem_account,
    profile_account,
    profile_rows,
    recall_account,
    worst_first,
)
from harness.run.allowances import render_entries
from harness.run.evaluation.statistics import Evaluation
from harness.run.results import ClipResult, RunResult
from harness.targets.base import OperatorCost
from mww.core.readable import printable, printable_name
from mww.esphome.contract import cutoff_byte

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

_COLOURS: Final = {"pass": "green", "fail": "red", "error": "red"}
_STATES: Final = {"used": "yellow", "unused": "dim", "exceeded": "red", "lapsed": "red"}
_ROWS: Final = 40
_TIMES: Final = 3


def print_run(result: RunResult, *, propose: bool = True) -> None:
    """Print a run; of many clips only the worst. With `propose`, also print the allowance for its differences."""
    from rich.text import Text

    out = console()
    out.print(Text.assemble((printable_name(result.model), "bold"), printable(f"  {place(result)}")))
    out.print(_clips(result))
    for line in _clip_notes(result):
        out.print(line)
    out.print(Text(printable(f"compared with {compared_with(result)}")))
    for row in _evaluation(result.evaluation) if result.evaluation is not None else ():
        out.print(Text(printable(row)))
    for line in _problems(result):
        out.print(line)
    for use in result.allowances.entries if result.allowances else ():
        out.print(Text(f"allowance {printable(allowance_account(use))}", style=_STATES[use.state]))
    if result.profile is not None:
        out.print(Text(printable(f"operators: {profile_account(result.profile)}")))
        if (table := _profile(result.profile)) is not None:
            out.print(table)
    if (cost := instructions_account(result)) is not None:
        out.print(Text(printable(f"cost: {cost}")))
    if result.arena is not None:
        out.print(Text(printable(f"arena: {arena_account(result.arena)}")))
    if propose and result.proposed_allowance is not None:
        out.print(
            Text(
                "the allowance for these differences, as --write-allowance FILE --reason TEXT writes it:",
                style="bold",
            )
        )
        say_lines(render_entries([result.proposed_allowance]))
    out.print(
        Text.assemble((result.verdict.upper(), f"bold {_COLOURS[result.verdict]}"), printable(f"  {headline(result)}"))
    )


def _clips(result: RunResult) -> Table:
    from rich.table import Table
    from rich.text import Text

    cutoff = cutoff_byte(result.probability_cutoff)
    highest = f"highest average of {cutoff}"
    table = Table("clip", "", "the result", highest, "detected at", box=None, pad_edge=False)
    table.columns[0].overflow = "fold"  # a shortened name cannot be copied
    shown = worst_first(result.clips)[:_ROWS]
    for clip in shown:
        status = Text(clip.status, style=_COLOURS[clip.status])
        table.add_row(
            Text(printable_name(clip.name)),
            status,
            Text(printable(clip_account(clip))),
            _highest(clip),
            _detected(clip),
        )
    if len(result.clips) > len(shown):
        table.add_row(f"and {len(result.clips) - len(shown)} more", "", "", "", "")
    return table


def _profile(profile: Sequence[OperatorCost]) -> Table | None:
    from rich.table import Table
    from rich.text import Text

    rows, unit = profile_rows(profile)
    if not rows:
        return None
    table = Table("operator", "", box=None, pad_edge=False)
    table.add_column(unit, justify="right")
    table.add_column("share", justify="right")
    for row in rows:
        table.add_row(Text(printable_name(row.operator)), f"x {row.count}", number(row.amount), f"{row.share:.1%}")
    return table


def _clip_notes(result: RunResult) -> Iterator[Text]:
    """The hints of clips that ended in an error, and warnings about the others."""
    from rich.text import Text

    for clip in result.clips[:_ROWS]:
        name = printable_name(clip.name)
        if clip.error is not None and clip.error.hint:
            yield Text(f"{name}: {printable(clip.error.hint)}", style="dim")
        for warning in clip.warnings:
            yield Text(printable(f"{name}: {warning.code}: {warning.message}"), style="yellow")


def _problems(result: RunResult) -> Iterator[Text]:
    from rich.text import Text

    for problem in result.problems:
        yield Text.assemble((f"{problem.code}: ", "bold red"), printable(problem_account(problem)))
        if problem.hint:
            yield Text(f"   hint: {printable(problem.hint)}", style="dim")


def _highest(clip: ClipResult) -> str:
    return "" if clip.highest_average is None else str(clip.highest_average)


def _evaluation(evaluation: Evaluation) -> Iterator[str]:
    """The recall and false accepts on labelled clips, and the clips behind them."""
    if evaluation.at.recall.trials:
        yield f"recall: {recall_account(evaluation)}"
    if evaluation.missed:
        yield f"   missed: {names_account(evaluation.missed)}"
    if evaluation.at.false_accepts.hours:
        yield f"false accepts: {false_accepts_account(evaluation)}"
    if evaluation.woken_by:
        yield f"   woken by: {names_account(evaluation.woken_by)}"
    if evaluation.at.near_misses.trials:
        yield f"near misses: {near_misses_account(evaluation)}"
    if evaluation.near_misses_woken_by:
        yield f"   woken by: {names_account(evaluation.near_misses_woken_by)}"


def _detected(clip: ClipResult) -> str:
    times = [f"{entry.time_s:.2f} s" for entry in clip.detections if not entry.vad_blocked]
    more = [f"and {len(times) - _TIMES} more"] if len(times) > _TIMES else []
    return ", ".join(times[:_TIMES] + more)
