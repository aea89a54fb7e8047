"""`mww budget`: what several models on one device need, added up per chip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from exporter.model_analyzer.budget import ChipBudget, ModelBudget, budget
from exporter.model_analyzer.source import open_source
from harness.cli.output import console, emit_json, json_option, say
from harness.report.run_document import read_runs
from mww.core.errors import UsageError
from mww.core.readable import printable_name
from mww.esphome.chips import CHIP_NAMES

_PATH = click.Path(path_type=Path)


@click.command("budget")
@click.argument("models", metavar="MODEL...", nargs=-1, required=True, type=_PATH)
@click.option("--vad", type=_PATH, metavar="MANIFEST.json", help="The model under ESPHome's vad:.")
@click.option("--chip", "chips", multiple=True, type=click.Choice(CHIP_NAMES), help="Repeatable; all by default.")
@click.option("--psram/--no-psram", default=False, help="Whether the board has PSRAM.  [default: no]")
@click.option("--run", "runs", multiple=True, type=_PATH, metavar="RUN.json", help="Times from a run on a board.")
@json_option
def command(
    models: tuple[Path, ...],
    vad: Path | None,
    chips: tuple[str, ...],
    psram: bool,
    runs: tuple[Path, ...],
    as_json: bool,
) -> int:
    """Add up the flash, memory and time that each MODEL, a manifest or .tflite, needs on a device.

    The order is that of ESPHome's models: list. Exits with 1 if the models cannot work together on a requested chip.
    """
    sources = [open_source(path) for path in models]
    names = [source.asked.stem for source in sources]
    if len(set(names)) < len(names):
        raise UsageError("two models have the same name", hint="ESPHome needs a different id for each: rename a file")
    gate = open_source(vad) if vad else None
    measured = _measured(runs)
    budgets = [budget(sources, chip, vad=gate, psram=psram, measured_ms=measured) for chip in chips or CHIP_NAMES]
    if as_json:
        emit_json("mww.budget/1", {"chips": {entry.chip: _document(entry) for entry in budgets}})
    else:
        for entry in budgets:
            _print(entry)
    return 0 if all(entry.fits for entry in budgets) else 1


def _measured(paths: Sequence[Path]) -> dict[tuple[str, str], float]:
    """Milliseconds an inference by model and chip: the median of the clips' medians of runs that measured time."""
    times: dict[tuple[str, str], float] = {}
    for path in paths:
        for run in read_runs(path):
            medians = sorted(clip.latency_p50 for clip in run.clips if clip.latency_p50 is not None)
            if medians:
                times[run.model_sha256, run.chip] = medians[len(medians) // 2] / 1000
    if paths and not times:
        raise UsageError("no run holds measured times", hint="run the models on a board: mww run ... --target PORT")
    return times


def _document(entry: ChipBudget) -> dict[str, object]:
    return {
        "models": [asdict(model) for model in entry.models],
        "total": {"flash": entry.flash, "ram": entry.ram, "share": entry.share},
        "fits": entry.fits,
        "findings": [{"code": note.code, "message": note.message} for note in entry.notes],
    }


def _print(entry: ChipBudget) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(entry.chip, style="bold"), title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("model", overflow="fold")
    for name in ("flash", "arena", "variables", "step", "inference", "share of time"):
        table.add_column(name, justify="right")
    for model in entry.models:
        table.add_row(Text(printable_name(model.name)), *map(Text, _cells(model)))
    share = "" if entry.share is None else f"{entry.share:.0%}"
    table.add_row(Text("together", style="bold"), f"{entry.flash:,}", f"{entry.ram:,} RAM", "", "", "", share)
    console().print(table)
    for note in entry.notes:
        say("  stops  " if note.stops else "  note   ", fg="red" if note.stops else "yellow", nl=False)
        say(note.message)
    say("  fits" if entry.fits else "  does not fit", fg="green" if entry.fits else "red", bold=True)


def _cells(model: ModelBudget) -> list[str]:
    arena = "does not load" if model.arena is None else f"{model.arena:,}"
    time = "unknown" if model.inference_ms is None else f"{model.inference_ms:g} ms {model.basis}"
    share = "" if model.share is None else f"{model.share:.0%}"
    return [f"{model.flash:,}", arena, f"{model.variables:,}", f"{model.step_ms} ms", time, share]
