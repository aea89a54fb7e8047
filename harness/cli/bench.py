"""`mww bench`: speed and size, compared with the usual alternatives."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.output import emit_json, json_option, overwrite, print_error, say
from mww.core.errors import BenchmarkError, UsageError

if TYPE_CHECKING:
    from harness.bench.catalog import Benchmark, Measured


@click.command("bench")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option(
    "--quick", is_flag=True, help="One repetition of small inputs, to see that it works; the figures mean nothing."
)
@click.option(
    "--write", type=click.Path(path_type=Path), metavar="FILE.md", help="Write a Markdown page, and its JSON beside it."
)
@click.option("--list", "as_list", is_flag=True, help="List the benchmarks.")
@json_option
def command(names: tuple[str, ...], quick: bool, write: Path | None, as_list: bool, as_json: bool) -> int:
    """Run the benchmarks NAME, or all of them: each by turns with the usual alternative, five times.

    With --write, benchmarks that are in the file and not measured again stay as they are. A benchmark that cannot run
    is reported, and the others continue.

    Exits with 0 if every goal holds (or is not judged: --quick), 1 if one does not, 2 if one could not be measured.
    """
    from harness.bench.catalog import find_benchmarks, measure
    from harness.bench.table import SCHEMA, bench_document, describe_machine, former_benchmarks

    chosen = find_benchmarks(names)
    if as_list:
        _list(chosen, as_json=as_json)
        return 0
    machine = describe_machine()
    beside = None if write is None else _beside(write, quick=quick)
    former = former_benchmarks(beside, machine) if beside is not None and names else ()
    measured: list[Measured] = []
    document: dict[str, object] = {}
    for benchmark in chosen:
        item = measure(benchmark, quick=quick, report=partial(_show_progress, benchmark.name))
        if item.problem is not None and len(chosen) == 1:
            raise item.problem
        measured.append(item)
        if not as_json:
            _print(item, quick=quick)
        document = {"schema": SCHEMA, **bench_document(measured, machine, quick=quick, former=former)}
        if write is not None:  # after each: they take minutes
            _write(write, document)
    if as_json:
        emit_json(SCHEMA, document)
    if any(item.problem is not None for item in measured):
        return BenchmarkError.exit_code
    return 0 if quick or document["holds"] else 1


def _list(benchmarks: Sequence[Benchmark], *, as_json: bool) -> None:
    if as_json:
        emit_json(
            "mww.bench/1", {"benchmarks": [{"name": item.name, "question": item.question} for item in benchmarks]}
        )
        return
    for item in benchmarks:
        say(f"{item.name:<14} {item.question}")


def _beside(page: Path, *, quick: bool) -> Path:
    """The JSON document of a page."""
    if page.suffix != ".md":
        raise UsageError(f"--write {page} does not end in .md", hint="the JSON is written beside it")
    if quick:
        raise UsageError("--quick gives figures that mean nothing", hint="leave --write out")
    return page.with_suffix(".json")


def _write(page: Path, document: Mapping[str, object]) -> None:
    from harness.bench.table import bench_page
    from mww.core.files import write_files

    text = json.dumps(document, indent=2, allow_nan=False)
    write_files({page: bench_page(document).encode(), page.with_suffix(".json"): f"{text}\n".encode()})


def _show_progress(name: str, what: str) -> None:
    """Show the current step on a terminal."""
    if sys.stderr.isatty():
        overwrite(f"{name}: {what}")


def _print(item: Measured, *, quick: bool) -> None:
    if sys.stderr.isatty():
        overwrite()
    if item.problem is not None:
        say(f"  {item.benchmark.name}:", err=True)
        print_error(item.problem, as_json=False)
    for row in item.rows:
        if not quick:
            mark, colour = ("ok  ", "green") if row.holds else ("FAIL", "red")
            say(mark, fg=colour, nl=False)
        spread = f"{min(row.figures):.3g} to {max(row.figures):.3g}"
        say(f"  {item.benchmark.name}: {row.what}: {row.figure:.3g} ({spread}), {row.goal.relation} {row.goal.value:g}")
