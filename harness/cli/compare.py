"""`mww compare`: what two models differ in."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exporter.model_analyzer.collection import finite
from exporter.model_analyzer.comparison import ModelComparison, compare_models
from harness.cli.output import console, emit_json, json_option, say
from mww.core.readable import printable, printable_name

if TYPE_CHECKING:
    from rich.table import Table

_SHOWN = 40
"""Differences that the terminal shows; --json gives all."""


@click.command("compare")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@json_option
def command(a: Path, b: Path, as_json: bool) -> int:
    """Compare the models A and B by what their graphs compute; names and order do not count.

    Exits with 0 whether they differ or not, and with 2 if one cannot be read.
    """
    comparison = compare_models(a, b)
    if as_json:
        emit_json("mww.compare/1", finite(_document(comparison)))
    else:
        _print(comparison)
    return 0


def _document(comparison: ModelComparison) -> dict[str, object]:
    document = asdict(comparison)
    for side in ("a", "b"):
        analysis = document.pop(side)
        operators = analysis.pop("operators")
        del analysis["layers"]
        document[side] = {**analysis, "operators": operators}
    return document


def _print(comparison: ModelComparison) -> None:
    screen = console()
    screen.print(_figures(comparison))
    if comparison.operators:
        screen.print(_operators(comparison))
    if comparison.weights:
        changed = sum(difference.differing for difference in comparison.weights)
        largest = max(difference.largest_real for difference in comparison.weights)
        say(f"{changed:,} of {comparison.constants:,} weights and biases differ, by up to {largest:.4g}")
    say(_verdict(comparison))


def _verdict(comparison: ModelComparison) -> str:
    if comparison.identical:
        return "The files are identical."
    if comparison.equivalent:
        return "The files differ but compute the same: only names, metadata or order differ."
    return f"{comparison.paired} operators are the same; {len(comparison.operators)} differ or are in one model only."


def _figures(comparison: ModelComparison) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for name in ("", "A", "B"):
        table.add_column(name, justify="right" if name else "left")
    item, other = comparison.a, comparison.b
    rows = [
        ("file", printable_name(Path(item.model).name), printable_name(Path(other.model).name)),
        ("sha256", item.sha256[:12], other.sha256[:12]),
        ("bytes", f"{item.size:,}", f"{other.size:,}"),
        ("operators", f"{sum(item.operators.values()):,}", f"{sum(other.operators.values()):,}"),
        ("parameters", f"{item.parameters:,}", f"{other.parameters:,}"),
        ("multiply-accumulates", f"{item.cost.macs:,}", f"{other.cost.macs:,}"),
        ("streaming state, bytes", f"{item.state_bytes:,}", f"{other.state_bytes:,}"),
        ("slices heard", str(item.context_slices or "unknown"), str(other.context_slices or "unknown")),
    ]
    rows += [(f"arena, {arena.chip}", _bytes(arena.a), _bytes(arena.b)) for arena in comparison.arenas]
    for name, left, right in rows:
        table.add_row(name, Text(left), Text(right, style="" if left == right else "bold yellow"))
    return table


def _bytes(size: int | None) -> str:
    return "none" if size is None else f"{size:,}"


def _operators(comparison: ModelComparison) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    colours = {"removed": "red", "added": "green", "changed": "yellow"}
    words = {"removed": "only in A", "added": "only in B", "changed": "differs"}
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("", "operator", "A", "B", "A / B"):
        table.add_column(name)
    for difference in comparison.operators[:_SHOWN]:
        place = ["" if index is None else str(index) for index in (difference.a, difference.b)]
        detail = Text(printable("; ".join(difference.details)))
        table.add_row(Text(words[difference.kind], style=colours[difference.kind]), difference.op, *place, detail)
    if len(comparison.operators) > _SHOWN:
        table.add_row("", f"and {len(comparison.operators) - _SHOWN} more", "", "", "")
    return table
