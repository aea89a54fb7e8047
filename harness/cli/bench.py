"""`mww bench`: how fast and how small, against what a user would otherwise do."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exporter.errors import UsageError
from harness.cli.output import emit_json, json_option

if TYPE_CHECKING:
    from harness.benchmarks.catalog import Measured


@click.command("bench")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--quick", is_flag=True, help="One repetition of small inputs: whether it works, not how fast.")
@click.option(
    "--write", type=click.Path(path_type=Path), metavar="FILE.md", help="Write a page, and its JSON beside it."
)
@click.option("--list", "as_list", is_flag=True, help="List the benchmarks.")
@json_option
def command(names: tuple[str, ...], quick: bool, write: Path | None, as_list: bool, as_json: bool) -> int:
    """Measure the benchmarks NAME, or all: each by turns with what a user would otherwise do, five times.

    Exits with 0 if every goal holds (or is not judged: --quick), 1 if one does not, 2 if it could not be measured.
    """
    from exporter.files import write_files
    from harness.benchmarks.catalog import find_benchmarks, measure
    from harness.benchmarks.machine import describe_machine
    from harness.benchmarks.table import SCHEMA, bench_document, bench_page

    if write is not None and write.suffix != ".md":
        raise UsageError(f"--write {write} does not end in .md", hint="the JSON is written beside it")
    if write is not None and quick:
        raise UsageError("--quick gives figures that mean nothing", hint="leave --write out")
    chosen = find_benchmarks(names)
    if as_list:
        if as_json:
            emit_json(SCHEMA, {"benchmarks": [{"name": one.name, "question": one.question} for one in chosen]})
        else:
            click.echo("\n".join(f"{one.name:<14} {one.question}" for one in chosen))
        return 0
    machine, measured = describe_machine(), []
    for benchmark in chosen:
        measured.append(measure(benchmark, quick=quick, tell=partial(_tell, benchmark.name)))
        if not as_json:
            _print(measured[-1], quick=quick)
    document = {"schema": SCHEMA, **bench_document(measured, machine, quick=quick)}
    if write is not None:
        text = json.dumps(document, indent=2, allow_nan=False)
        write_files({write: bench_page(document).encode(), write.with_suffix(".json"): f"{text}\n".encode()})
    if as_json:
        emit_json(SCHEMA, document)
    return 0 if quick or document["holds"] else 1


def _tell(name: str, what: str) -> None:
    """Say what is going on, to a terminal."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{name}: {what}", nl=False, err=True)


def _print(one: Measured, *, quick: bool) -> None:
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", nl=False, err=True)
    for row in one.rows:
        if not quick:
            mark, colour = ("ok  ", "green") if row.holds else ("FAIL", "red")
            click.secho(mark, fg=colour, nl=False)
        spread = f"{min(row.figures):.3g} to {max(row.figures):.3g}"
        click.echo(
            f"  {one.benchmark.name}: {row.what}: {row.figure:.3g} ({spread}), {row.goal.relation} {row.goal.value:g}"
        )
