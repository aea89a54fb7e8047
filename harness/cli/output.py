"""How verbs speak: one JSON document on stdout, or text for people; errors, warnings and progress on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mww.core.errors import MwwError
from mww.core.progress import Progress, no_progress
from mww.core.text import printable

if TYPE_CHECKING:
    from rich.console import Console

_LONGEST = 480
"""Characters of a line of an error or warning."""

F = TypeVar("F", bound=Callable[..., Any])


def json_option(function: F) -> F:
    """Add `--json` to a verb; its function gets `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")(function)


def emit_json(schema: str, document: Mapping[str, object]) -> None:
    """Print a verb's document; `schema` such as `mww.arena/1` comes first."""
    click.echo(json.dumps({"schema": schema, **document}, indent=2, allow_nan=False))


def console(*, stderr: bool = False) -> Console:
    """Make a rich console; it drops colour and box drawing's width where the stream is not a terminal."""
    from rich.console import Console

    width = None if (sys.stderr if stderr else sys.stdout).isatty() else 160
    return Console(stderr=stderr, highlight=False, soft_wrap=False, width=width)


def printable_lines(text: str) -> str:
    """The same for a text of several lines."""
    return "\n".join(printable(line) for line in text.rstrip().split("\n"))


def _line(text: str) -> str:
    """A message as one line of a readable length; the middle is left out, since the reason often comes last."""
    shown = printable(text)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST // 2]} … {shown[-_LONGEST // 2 :]}"


def warn(message: str, hint: str | None = None) -> None:
    """Print a warning on stderr."""
    click.secho("warning: ", fg="yellow", nl=False, err=True)
    click.echo(_line(message), err=True)
    if hint:
        click.echo(f"   hint: {_line(hint)}", err=True)


def print_error(error: MwwError, *, as_json: bool) -> None:
    """Print what is wrong and what to do: two lines on stderr, or with `--json` one document on stdout."""
    if as_json:
        emit_json("mww.error/1", {"error": error.facts.to_json()})
        return
    click.secho("error: ", fg="red", nl=False, err=True)
    click.echo(_line(str(error)), err=True)
    if error.hint:
        hint = printable_lines(error.hint) if error.code == "usage" else _line(error.hint)
        click.echo(f" hint: {hint}", err=True)


@contextmanager
def progress() -> Iterator[Progress]:
    """Draw progress bars on stderr where it is a terminal; silent elsewhere."""
    if not sys.stderr.isatty():
        yield no_progress
        return
    from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    tasks: dict[str, TaskID] = {}
    with Bars(*columns, console=console(stderr=True), transient=True) as bars:

        def report(description: str, done: int, total: int) -> None:
            if description not in tasks:
                tasks[description] = bars.add_task(description, total=total)
            bars.update(tasks[description], completed=done, total=total)

        yield report
