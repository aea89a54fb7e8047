"""What people see of a run on a terminal: the clips, what they were compared with, the arena, the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from harness.cli.output import console, printable_lines
from harness.report.wording import (
    allowance_account,
    arena_account,
    clip_account,
    compared_with,
    headline,
    number,
    place,
    problem_account,
    profile_account,
    profile_rows,
    worst_first,
)
from harness.run.allowances.file import render_entries
from harness.run.results import ClipResult, RunResult
from harness.targets.base import OperatorCost
from mww.core.text import printable

if TYPE_CHECKING:
    from rich.table import Table

_COLOURS: Final = {"pass": "green", "fail": "red", "error": "red"}
_STATES: Final = {"used": "yellow", "unused": "dim", "exceeded": "red", "lapsed": "red"}
_ROWS: Final = 40
_TIMES: Final = 3


def print_run(result: RunResult, *, propose: bool = True) -> None:
    """Print a run; of many clips the worst. `propose`: also what would accept its differences."""
    from rich.text import Text

    out = console()
    out.print(Text.assemble((printable(result.model), "bold"), f"  {place(result)}"))
    out.print(_clips(result))
    for clip in result.clips[:_ROWS]:
        if clip.error is not None and clip.error.hint:
            out.print(Text(f"{printable(clip.name)}: {printable(clip.error.hint)}", style="dim"))
    out.print(Text(f"compared with {compared_with(result)}"))
    for problem in result.problems:
        out.print(Text.assemble((f"{problem.code}: ", "bold red"), printable(problem_account(problem))))
        if problem.hint:
            out.print(Text(f"   hint: {printable(problem.hint)}", style="dim"))
    for use in result.allowances.entries if result.allowances else ():
        out.print(Text(f"allowance {printable(allowance_account(use))}", style=_STATES[use.state]))
    if result.profile is not None:
        out.print(Text(f"operators: {profile_account(result.profile)}"))
        if (table := _profile(result.profile)) is not None:
            out.print(table)
    if result.arena is not None:
        out.print(Text(f"arena: {arena_account(result.arena)}"))
    if propose and result.proposed_allowance is not None:
        out.print(
            Text(
                "what would accept this, for a file that --write-allowance FILE --reason TEXT writes:",
                style="bold",
            )
        )
        out.print(Text(printable_lines(render_entries([result.proposed_allowance]))))
    out.print(Text.assemble((result.verdict.upper(), f"bold {_COLOURS[result.verdict]}"), f"  {headline(result)}"))


def _clips(result: RunResult) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("clip", "", "what came of it", "detected at", box=None, pad_edge=False)
    table.columns[0].overflow = "fold"  # a name cut short cannot be copied
    shown = worst_first(result.clips)[:_ROWS]
    for clip in shown:
        status = Text(clip.status, style=_COLOURS[clip.status])
        table.add_row(Text(printable(clip.name)), status, Text(printable(clip_account(clip))), _detected(clip))
    if len(result.clips) > len(shown):
        table.add_row(f"and {len(result.clips) - len(shown)} more", "", "", "")
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
        table.add_row(Text(printable(row.operator)), f"x {row.count}", number(row.amount), f"{row.share:.1%}")
    return table


def _detected(clip: ClipResult) -> str:
    times = [f"{found.time_s:.2f} s" for found in clip.detections if not found.vad_blocked]
    more = [f"and {len(times) - _TIMES} more"] if len(times) > _TIMES else []
    return ", ".join(times[:_TIMES] + more)
