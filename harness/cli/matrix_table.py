"""What people see of a matrix on a terminal: a table for each model, then what is lost, regained and different."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from harness.cli.output import console, printable
from harness.matrix.document import Matrix
from harness.matrix.findings import Row
from harness.matrix.tables import columns_of, models_of, sentences

if TYPE_CHECKING:
    from rich.table import Table

_COLOURS = {True: "green", False: "red", None: ""}


def print_matrix(matrix: Matrix) -> None:
    """Print the tables, the changes and the verdict."""
    out = console()
    for name in models_of(matrix.findings):
        out.print(_table(matrix, name))
    for sentence in sentences(matrix):
        how, _, rest = sentence.partition(": ")
        click.secho(f"{how}: ", nl=False, fg={"lost": "red", "regained": "green"}.get(how))
        click.echo(printable(rest))
    click.secho("PASS" if matrix.holds else "FAIL", fg=_COLOURS[matrix.holds], bold=True)


def _versions(row: Row) -> tuple[str, str, str]:
    runtime = row.runtime
    if runtime is None:
        return row.esphome or row.place, "", ""
    return row.esphome or row.place, runtime.esp_tflite_micro, runtime.esp_nn


def _table(matrix: Matrix, name: str) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    size = next((subject.size for subject in matrix.subjects if subject.name == name), None)
    heading = printable(name) if name else "the firmware"
    heading += f", manifest {size:,} bytes" if size is not None else ""
    table = Table(title=Text(heading, style="bold"), title_justify="left", box=box.SIMPLE_HEAD)
    columns = columns_of(matrix.findings, name)
    for title in ("ESPHome", "esp-tflite-micro", "esp-nn"):
        table.add_column(title)
    for column in columns:
        table.add_column(Text("\n".join((column.aspect, *column.chips))))
    for index, row in enumerate(matrix.rows):
        cells = [column.by_row.get(index) for column in columns]
        if any(cells):
            said = [Text(printable(cell.said), style=_COLOURS[cell.holds]) if cell else Text() for cell in cells]
            table.add_row(*(Text(printable(text)) for text in _versions(row)), *said)
    return table
