"""`mww arena` for several runtimes: one row each, or for those alike, with the smallest arena on each chip."""

from __future__ import annotations

from collections.abc import Sequence

import click

from harness.cli.output import console, printable
from mww.tflm.arena import ArenaPrediction, fits


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
    for tflite_micro, esp_nn, row in _alike_runtimes(predictions):
        minimums = {prediction.chip: prediction.minimum for prediction in row}
        cells = [_cell(minimums[chips[0]], size) for chips in columns]
        table.add_row(", ".join(tflite_micro), ", ".join(esp_nn), *(Text(*cell) for cell in cells))
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
        groups.setdefault(_minimums(column), []).append(column[0].chip)
    return list(groups.values())


def _alike_runtimes(
    predictions: Sequence[tuple[ArenaPrediction, ...]],
) -> list[tuple[list[str], list[str], tuple[ArenaPrediction, ...]]]:
    """Versions that have the same figures on every chip: of esp-nn with one esp-tflite-micro, then of that too."""
    by_esp_nn: dict[tuple[object, ...], tuple[list[str], tuple[ArenaPrediction, ...]]] = {}
    for row in predictions:
        key = row[0].runtime.esp_tflite_micro, *_minimums(row)
        by_esp_nn.setdefault(key, ([], row))[0].append(row[0].runtime.esp_nn)
    alike: dict[tuple[object, ...], tuple[list[str], list[str], tuple[ArenaPrediction, ...]]] = {}
    for esp_nn, row in by_esp_nn.values():
        alike.setdefault((*esp_nn, *_minimums(row)), ([], esp_nn, row))[0].append(row[0].runtime.esp_tflite_micro)
    return list(alike.values())


def _minimums(row: tuple[ArenaPrediction, ...]) -> tuple[int, ...]:
    return tuple(prediction.minimum for prediction in row)
