"""`mww arena` for several runtimes: one row each, or for those alike, with the smallest arena on each chip."""

from __future__ import annotations

from collections.abc import Sequence

import click

from exporter.arena import ArenaPrediction, fits
from harness.cli.output import console, printable


def print_runtimes(name: str, size: int | None, predictions: Sequence[tuple[ArenaPrediction, ...]]) -> None:
    """Print the table; `predictions` has the same chips for each runtime, `size` is the manifest's."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    columns = _alike_chips(predictions)
    table = Table(title=Text(f"Minimum of {printable(name)}", style="bold"), title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("esp-tflite-micro")
    table.add_column("esp-nn")
    for chips in columns:
        table.add_column("\n".join(chips), justify="right")
    for versions, row in _alike_runtimes(predictions):
        minimums = {prediction.chip: prediction.minimum for prediction in row}
        cells = [_cell(minimums[chips[0]], size) for chips in columns]
        table.add_row(row[0].runtime.esp_tflite_micro, ", ".join(versions), *(Text(*cell) for cell in cells))
    console().print(table)
    click.echo("Predicted in bytes, an arena at a multiple of 16", nl=False)
    click.echo(f"; the manifest has {size:,}." if size is not None else ".")


def _cell(minimum: int, size: int | None) -> tuple[str, str]:
    if size is None:
        return f"{minimum:,}", ""
    return (f"{minimum:,}", "green") if fits(minimum, size) else (f"{minimum:,}, {minimum - size:,} short", "red")


def _alike_chips(predictions: Sequence[tuple[ArenaPrediction, ...]]) -> list[list[str]]:
    """Chips that have the same figures with every runtime."""
    groups: dict[tuple[int, ...], list[str]] = {}
    for column in zip(*predictions, strict=True):
        groups.setdefault(tuple(prediction.minimum for prediction in column), []).append(column[0].chip)
    return list(groups.values())


def _alike_runtimes(
    predictions: Sequence[tuple[ArenaPrediction, ...]],
) -> list[tuple[list[str], tuple[ArenaPrediction, ...]]]:
    """Versions of esp-nn that have the same figures with one esp-tflite-micro on every chip, and those figures."""
    groups: dict[tuple[object, ...], tuple[list[str], tuple[ArenaPrediction, ...]]] = {}
    for row in predictions:
        versions = row[0].runtime
        key = versions.esp_tflite_micro, *(prediction.minimum for prediction in row)
        groups.setdefault(key, ([], row))[0].append(versions.esp_nn)
    return list(groups.values())
