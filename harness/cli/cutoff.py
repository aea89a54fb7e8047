"""`mww cutoff`: a better probability cutoff for a wake word, and three sensitivities."""

from __future__ import annotations

import re
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from harness.cli.numbers import Real
from harness.cli.output import console, emit_json, json_option, progress, say, say_lines, warn
from harness.report.wording import zero_account
from harness.run.cutoff import HOURS_FOR_LEVELS, LEAD_IN, LEVELS, CutoffChoice, choose_cutoff
from harness.run.evaluation.statistics import Proportion, Rate, SweepPoint
from mww.core.errors import UsageError
from mww.esphome.audio import left_out_of
from mww.esphome.contract import MAX_LEAD_IN
from mww.esphome.manifest import is_manifest, load_manifest, write_micro
from mww.esphome.model import load_model

if TYPE_CHECKING:
    from rich.table import Table

_SHOWN: Final = 15
"""Rows of the sweep that a terminal shows."""


@click.command("cutoff")
@click.argument("manifest", type=click.Path(path_type=Path))
@click.option(
    "--clips",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of clips, in positive/ and negative/.",
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    metavar="FILE.csv",
    help="What the folder's clips hold, in place of the names of their folders.",
)
@click.option(
    "--lead-in",
    type=Real(0, MAX_LEAD_IN),
    default=LEAD_IN,
    show_default=True,
    metavar="SECONDS",
    help="Silence in front of each clip.",
)
@click.option(
    "--target-recall",
    type=Real(0, 1),
    metavar="R",
    help="The fewest false accepts with at least this recall; 0.9 by default.",
)
@click.option(
    "--max-false-accepts-per-hour", type=Real(0), metavar="N", help="The highest recall with at most this many."
)
@click.option("--write", is_flag=True, help="Put the cutoff into the manifest.")
@json_option
def command(
    manifest: Path,
    clips: Path,
    labels: Path | None,
    lead_in: float,
    target_recall: float | None,
    max_false_accepts_per_hour: float | None,
    write: bool,
    as_json: bool,
) -> int:
    """Choose MANIFEST's probability cutoff from labelled clips, with the device's own detection rule."""
    if write and not is_manifest(manifest):
        raise UsageError("--write needs a manifest", hint="mww manifest MODEL.tflite --output FILE.json makes one")
    model = load_model(manifest)
    for sentence in left_out_of([clips]):
        warn(sentence)
    with progress() as report:
        choice = choose_cutoff(
            model,
            clips,
            target_recall=target_recall,
            max_false_accepts_per_hour=max_false_accepts_per_hour,
            lead_in=lead_in,
            labels=labels,
            progress=report,
        )
    if write:
        write_micro(load_manifest(manifest), "probability_cutoff", choice.cutoff)
    if as_json:
        emit_json("mww.cutoff/1", _document(choice, lead_in, written=write))
    else:
        _print(choice, model.name, lead_in, manifest if write else None)
    return 0


def _document(choice: CutoffChoice, lead_in: float, *, written: bool) -> dict[str, object]:
    return {
        "choice": _point(choice.at),
        "lead_in": lead_in,
        "target_recall": choice.target_recall,
        "max_false_accepts_per_hour": choice.max_false_accepts_per_hour,
        "levels": {name: _point(choice.levels[name]) if name in choice.levels else None for name in LEVELS},
        "sweep": [asdict(point) for point in choice.sweep],
        "written": written,
    }


def _point(point: SweepPoint) -> dict[str, object]:
    return {
        "cutoff": point.cutoff,
        "cutoff_byte": point.cutoff_byte,
        "recall": point.recall.value,
        "false_accepts_per_hour": point.false_accepts.rate,
        "near_misses": point.near_misses.hits if point.near_misses.trials else None,
    }


def _print(choice: CutoffChoice, name: str, lead_in: float, written: Path | None) -> None:
    at = choice.at
    wish = f"a recall of at least {choice.target_recall}, with the fewest false accepts"
    if choice.max_false_accepts_per_hour is not None:
        wish = f"at most {choice.max_false_accepts_per_hour:g} false accepts an hour, with the highest recall"
    out = console()
    out.print(_table(choice))
    say(f"probability_cutoff {at.cutoff}: {wish}; of equals, the highest")
    say(f"  recall {recall_text(at.recall)}, with a lead-in of {lead_in:g} s")
    say(f"  false accepts {accepts_text(at.false_accepts)}")
    if at.near_misses.trials:
        say(f"  near misses {at.near_misses.hits} of {at.near_misses.trials} wake it, counted apart")
    if written is not None:
        say(f"written to {written}")
    if not choice.levels_differ:
        message = f"{at.false_accepts.hours:.2f} hours without the word are too few to separate the three levels"
        warn(message, f"give at least {HOURS_FOR_LEVELS:.1f} hours of speech in negative/")
    say()
    say_lines(snippet(choice, name))


def _table(choice: CutoffChoice) -> Table:
    from rich.table import Table

    table = Table("cutoff", "byte", "recall", "false accepts an hour", box=None)
    points = [point for point in choice.sweep if 0 < point.cutoff_byte < 255]
    changes = [after for before, after in pairwise(points) if _counts(before) != _counts(after)]
    step = max(1, -(-len(changes) // _SHOWN))
    for point in sorted({*changes[::step], choice.at}, key=lambda point: point.cutoff_byte):
        rate = point.false_accepts.rate
        mark = " <-" if point is choice.at else ""
        recall = "-" if point.recall.value is None else f"{point.recall.value:.3f}"
        table.add_row(f"{point.cutoff}{mark}", str(point.cutoff_byte), recall, "-" if rate is None else f"{rate:.2f}")
    return table


def _counts(point: SweepPoint) -> tuple[int, int]:
    return point.recall.hits, point.false_accepts.count


def recall_text(recall: Proportion) -> str:
    """A recall with its counts and confidence interval."""
    if recall.value is None:
        return "unknown: no clip holds the word"
    return f"{recall.value:.3f} ({recall.hits} of {recall.trials}; 95 %: {recall.low:.3f} to {recall.high:.3f})"


def accepts_text(rate: Rate) -> str:
    """A rate of false accepts with its counts and confidence interval."""
    if rate.rate is None or rate.low is None or rate.high is None:
        return "unknown: no clip is without the word"
    counted = f"{rate.count} in {rate.hours * 60:.1f} min" if rate.hours < 1 else f"{rate.count} in {rate.hours:.1f} h"
    account = f"{rate.rate:.2f} an hour ({counted}; 95 %: {rate.low:.2f} to {rate.high:.2f})"
    return account if rate.count else f"{account}; {zero_account(rate)}"


def snippet(choice: CutoffChoice, name: str) -> str:
    """The three levels as a `select` for ESPHome's YAML, as in the configuration of the Home Assistant Voice PE."""
    levels = choice.levels
    if not levels:
        return "# no cutoff has as few false accepts as the levels allow"
    identifier = re.sub(r"\W", "_", name, flags=re.ASCII)
    titles = {level: f"{level.capitalize()} sensitive" for level in levels}
    options = "".join(f'\n      - "{title}"' for title in titles.values())
    calls = "".join(
        f'\n            if (x == "{titles[level]}") id({identifier}).set_probability_cutoff({point.cutoff_byte});'
        f"  // {point.cutoff}: recall {point.recall.value:.2f}, {point.false_accepts.rate:.2f} false accepts an hour"
        for level, point in levels.items()
    )
    return f"""select:
  - platform: template
    name: "Wake word sensitivity"
    optimistic: true
    restore_value: true
    entity_category: config
    initial_option: "{next(iter(titles.values()))}"
    options:{options}
    on_value:
      then:
        - lambda: |-{calls}"""
