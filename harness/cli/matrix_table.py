"""What people see of a matrix on a terminal: a table for each model, then what is lost, regained and different."""

from __future__ import annotations

import click

from harness.cli.output import console, printable
from harness.matrix.document import Matrix
from harness.matrix.findings import Row
from harness.matrix.tables import Table, sentences, tables

_COLOURS = {True: "green", False: "red", None: ""}


def print_matrix(matrix: Matrix) -> None:
    """Print the tables, the changes and the verdict."""
    for table in tables(matrix):
        _print(table)
    for sentence in sentences(matrix):
        how, _, rest = sentence.partition(": ")
        click.secho(f"{how}: ", nl=False, fg={"lost": "red", "regained": "green"}.get(how))
        click.echo(printable(rest))
    click.secho("PASS" if matrix.holds else "FAIL", fg=_COLOURS[matrix.holds], bold=True)


def _print(table: Table) -> None:
    from rich import box
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid(title=Text(printable(table.title), style="bold"), title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("ESPHome", "esp-tflite-micro", "esp-nn"):
        grid.add_column(name)
    for column in table.columns:
        grid.add_column(Text("\n".join((column.aspect, *column.chips))))
    for row, cells in table.lines:
        said = [Text(printable(cell.said), style=_COLOURS[cell.holds]) if cell else Text() for cell in cells]
        grid.add_row(*(Text(printable(text)) for text in _versions(row)), *said)
    console().print(grid)


def _versions(row: Row) -> tuple[str, str, str]:
    where = ", ".join(filter(None, (row.esphome, row.place)))
    return (where, row.runtime.esp_tflite_micro, row.runtime.esp_nn) if row.runtime else (where, "", "")
