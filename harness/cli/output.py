"""The output of commands: one JSON document or text for people on stdout; errors, warnings and progress on stderr."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mww.core.errors import MwwError
from mww.core.progress import Progress, no_progress
from mww.core.readable import printable

if TYPE_CHECKING:
    from rich.console import Console

    from mww.esphome.manifest import Manifest

F = TypeVar("F", bound=Callable[..., Any])


def json_option(function: F) -> F:
    """Add `--json` to a command; its function gets `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")(function)


def emit_json(schema: str, document: Mapping[str, object]) -> None:
    """Print a command's document; the `schema`, such as `mww.arena/1`, comes first."""
    click.echo(json.dumps({"schema": schema, **document}, indent=2, allow_nan=False))


def show_json(document: Mapping[str, object]) -> None:
    """Print a document: letters as they are, and characters that could control a terminal as escapes."""
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    click.echo("".join(letter if letter.isprintable() or letter == "\n" else _escaped(letter) for letter in text))


def _escaped(letter: str) -> str:
    return json.dumps(letter)[1:-1]


def console(*, stderr: bool = False) -> Console:
    """Make a rich console, without colour and width limit where the stream is not a terminal."""
    from rich.console import Console
    from rich.segment import Segment

    class Clean(Console):
        """A console that text from outside cannot control."""

        def render(self, renderable: Any, options: Any = None) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                text = segment.text if segment.control else printable(segment.text, keep="\n", longest=None)
                yield Segment(text, segment.style, segment.control)

    width = None if (sys.stderr if stderr else sys.stdout).isatty() else 160
    return Clean(stderr=stderr, highlight=False, soft_wrap=False, width=width)


def say(text: str = "", *, err: bool = False, nl: bool = True, fg: str | None = None, bold: bool | None = None) -> None:
    """Print a line for people, of a readable length and without control characters."""
    click.secho(printable(text), err=err, nl=nl, fg=fg, bold=bold)


def say_lines(text: str, *, err: bool = False) -> None:
    """Print several lines like this; a name in them must not contain a line end."""
    for line in text.rstrip().split("\n"):
        say(line, err=err)


def overwrite(line: str = "") -> None:
    """Replace the current line on the terminal of stderr."""
    click.echo(f"\r\x1b[K{printable(line)}", nl=False, err=True)


def warn(message: str, hint: str | None = None) -> None:
    """Print a warning on stderr."""
    click.secho("warning: ", fg="yellow", nl=False, err=True)
    click.echo(printable(message), err=True)
    if hint:
        click.echo(f"   hint: {printable(hint)}", err=True)


def warn_of_refusals(manifest: Manifest) -> None:
    """Print a warning for each problem for which ESPHome refuses a manifest, and then what repairs them."""
    from mww.esphome.manifest import refused_by_esphome

    sentences = refused_by_esphome(manifest)
    for sentence in sentences:
        last = sentence is sentences[-1]
        warn(sentence, f"mww manifest {shlex.quote(str(manifest.path))} --in-place repairs it" if last else None)


def print_error(error: MwwError, *, as_json: bool) -> None:
    """Print what is wrong and what to do: two lines on stderr, or with `--json` one document on stdout."""
    if as_json:
        with suppress(OSError):  # stdout itself may be what fails
            emit_json("mww.error/1", {"error": error.facts.to_json()})
            return
    click.secho("error: ", fg="red", nl=False, err=True)
    click.echo(printable(str(error)), err=True)
    if error.hint:
        say_lines(f" hint: {error.hint if error.code == 'usage' else printable(error.hint)}", err=True)


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
