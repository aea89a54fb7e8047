"""`mww arena`: the predicted tensor arena per chip, to the byte, beside the arena that a run measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from harness.cli.numbers import Whole
from harness.cli.output import console, emit_json, json_option, say, warn, warn_of_refusals
from harness.report.run_document import MeasuredArena, read_measured_arena
from mww.core.errors import UsageError
from mww.core.readable import printable_name
from mww.esphome.chips import CHIP_NAMES
from mww.esphome.contract import RuntimeVersions
from mww.esphome.manifest import ARENA_FIGURES, Manifest, is_manifest, load_manifest, write_micro
from mww.tflite.model_file import ModelFile, read_model
from mww.tflm.arena import HEAD_KIND, TAIL_KINDS, ArenaPrediction, fits, predict_arenas, with_margin
from mww.tflm.builds import assumed_warning, builds_with, select_runtimes, slow_convolutions
from mww.tflm.runtime import basis_of

if TYPE_CHECKING:
    from rich.table import Table

_MAX_MANIFEST_SIZE: Final = 32 * 1024 * 1024

_KINDS: Final = {HEAD_KIND: "activations and scratch (head)", **TAIL_KINDS}
"""Kinds of `ArenaPrediction.breakdown` in words."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """The model of the command line, its manifest if there is a manifest, and the size to judge or probe with."""

    path: Path
    model: ModelFile
    manifest: Manifest | None
    size: int | None


@click.command("arena")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--chip", "chips", multiple=True, type=click.Choice(CHIP_NAMES), help="Repeatable; all by default.")
@click.option(
    "--manifest-size",
    type=Whole(0, _MAX_MANIFEST_SIZE),
    metavar="N",
    help="Size in bytes that ESPHome's probe starts from; a manifest has its own.",
)
@click.option(
    "--runtime",
    "names",
    multiple=True,
    metavar="NAME|all",
    help="Library versions to predict for, such as esp-nn=1.2.1; repeatable. The default is ESPHome's own.",
)
@click.option(
    "--esphome",
    "releases",
    multiple=True,
    metavar="RELEASE",
    help="Predict for the libraries that a release builds with; repeatable.",
)
@click.option("--from-run", type=click.Path(path_type=Path), metavar="RUN.json", help="A run on a board; see --write.")
@click.option("--write", is_flag=True, help="Put the run's measured use plus 10 % into the manifest.")
@json_option
def command(
    file: Path,
    chips: tuple[str, ...],
    manifest_size: int | None,
    names: tuple[str, ...],
    releases: tuple[str, ...],
    from_run: Path | None,
    write: bool,
    as_json: bool,
) -> int:
    """Predict the tensor arena that FILE, a .tflite model or a manifest, needs on each chip.

    Exits with 0, or for a manifest with 1 if the model does not fit its tensor_arena_size on a chip; 2 if it cannot be
    predicted.
    """
    runtimes = select_runtimes(names, releases)
    if newer := assumed_warning(build for release in releases for build in builds_with(release)):
        warn(newer, "give the library versions with --runtime if you know them")
    asked = _read(file, manifest_size)
    document: dict[str, object] = {}
    if from_run is not None:
        measured = read_measured_arena(from_run, asked.model.sha256)
        asked = _apply_run(asked, measured, runtimes, write=write)
        chips = chips or tuple(chip for chip in CHIP_NAMES if chip == measured.chip)
        document["from_run"] = {"used": measured.used, "tensor_arena_size": asked.size, "written": write}
    elif write:
        raise UsageError("--write needs --from-run", hint="mww arena MANIFEST.json --from-run RUN.json --write")
    predictions = [
        predict_arenas(asked.model, chips or None, manifest_size=asked.size, runtime=runtime) for runtime in runtimes
    ]
    if as_json:
        emit_json("mww.arena/1", {**_document(asked, predictions), **document})
    elif len(predictions) == 1:
        _print(asked, predictions[0])
    else:
        _print_runtimes(asked.path.name, asked.size, predictions)
    return 0 if all(_holds(asked, prediction) for item in predictions for prediction in item) else 1


def _read(path: Path, size: int | None) -> _Asked:
    if not is_manifest(path):
        return _Asked(path, read_model(path), None, size)
    manifest = load_manifest(path, needs=ARENA_FIGURES)
    warn_of_refusals(manifest)
    return _Asked(path, read_model(manifest.model), manifest, manifest.tensor_arena_size if size is None else size)


def _apply_run(asked: _Asked, measured: MeasuredArena, runtimes: tuple[RuntimeVersions, ...], *, write: bool) -> _Asked:
    """Take the size from a run, and put it into the manifest with --write."""
    if asked.manifest is None:
        raise UsageError("--from-run needs a manifest", hint="name the model's .json instead of its .tflite")
    size = with_margin(measured.used)
    if write:
        write_micro(asked.manifest, "tensor_arena_size", size)
    predictions = [item for runtime in runtimes for item in predict_arenas(asked.model, runtime=runtime)]
    short = dict.fromkeys(prediction.chip for prediction in predictions if not fits(prediction.minimum, size))
    if short:
        warn(f"{size} bytes are too few on {', '.join(short)}", "measure on the chip that needs the most")
    return replace(asked, size=size)


def _holds(asked: _Asked, prediction: ArenaPrediction) -> bool:
    return asked.manifest is None or asked.size is None or fits(prediction.minimum, asked.size)


def _document(asked: _Asked, predictions: Sequence[tuple[ArenaPrediction, ...]]) -> dict[str, object]:
    size = asked.size if asked.manifest else None
    documents = [arena_document(item, size) for item in predictions]
    runtimes = [{key: document[key] for key in ("runtime", "basis", "chips")} for document in documents]
    return {
        "model": str(asked.manifest.model if asked.manifest else asked.path),
        "model_sha256": asked.model.sha256,
        **documents[0],
        **({"runtimes": runtimes} if len(runtimes) > 1 else {}),
    }


def arena_document(predictions: tuple[ArenaPrediction, ...], manifest_size: int | None) -> dict[str, object]:
    """The JSON of predictions, and whether they fit a manifest's size; also part of `mww export`'s."""
    versions = predictions[0].runtime
    chips: dict[str, dict[str, object]] = {}
    for prediction in predictions:
        chips[prediction.chip] = {
            "used": prediction.used,
            "head": prediction.head,
            "tail": prediction.tail,
            "minimum": prediction.minimum,
            "probe": prediction.probe,
            "breakdown": dict(prediction.breakdown),
        }
        if manifest_size is not None:
            chips[prediction.chip]["fits"] = fits(prediction.minimum, manifest_size)
    document: dict[str, object] = {
        "runtime": {"esp-tflite-micro": versions.esp_tflite_micro, "esp-nn": versions.esp_nn},
        "basis": basis_of(versions),
        "chips": chips,
    }
    return document if manifest_size is None else {**document, "manifest_size": manifest_size}


def _print(asked: _Asked, predictions: tuple[ArenaPrediction, ...]) -> None:
    groups = _group(predictions)
    versions = predictions[0].runtime
    screen = console()
    screen.print(_figures(asked, groups))
    screen.print(_breakdown(groups))
    runtime = f"esp-tflite-micro {versions.esp_tflite_micro} and esp-nn {versions.esp_nn}"
    say(f"Predicted in bytes for {runtime}, an arena at a multiple of 16.")
    _print_notes([versions])


def _group(predictions: tuple[ArenaPrediction, ...]) -> list[tuple[str, ArenaPrediction]]:
    """Chips grouped by equal figures: most chips need no scratch memory and are alike."""
    groups: dict[tuple[object, ...], list[ArenaPrediction]] = {}
    for prediction in predictions:
        groups.setdefault((prediction.minimum, prediction.breakdown), []).append(prediction)
    return [("\n".join(member.chip for member in members), members[0]) for members in groups.values()]


def _figures(asked: _Asked, groups: list[tuple[str, ArenaPrediction]]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    title = Text(f"Tensor arena of {printable_name(asked.path.name)}", style="bold")
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_lines=len(groups) > 1)
    table.add_column("chip")
    for name in ("minimum", "used", "head", "tail"):
        table.add_column(name, justify="right")
    if asked.size is not None:
        table.add_column(f"in {asked.size:,}", justify="right")
        table.add_column("ESPHome's probe", justify="right")
    for chips, prediction in groups:
        figures = [prediction.minimum, prediction.used, prediction.head, prediction.tail]
        row = [Text(chips), Text(f"{figures[0]:,}", style="bold"), *(Text(f"{figure:,}") for figure in figures[1:])]
        if asked.size is not None:
            spare = Text(f"{asked.size - prediction.minimum:,} spare", style="green")
            short = Text(f"{prediction.minimum - asked.size:,} short", style="red")
            row += [spare if fits(prediction.minimum, asked.size) else short]
            row += [Text(f"{prediction.probe:,}" if prediction.probe else "fails")]
        table.add_row(*row)
    return table


def _breakdown(groups: list[tuple[str, ArenaPrediction]]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("where it goes")
    for chips, _ in groups:
        table.add_column(Text(chips.replace("\n", " ")), justify="right", max_width=20)
    breakdowns = [dict(prediction.breakdown) for _, prediction in groups]
    for kind, words in _KINDS.items():
        if any(kind in breakdown for breakdown in breakdowns):
            table.add_row(words, *(f"{breakdown.get(kind, 0):,}" for breakdown in breakdowns))
    return table


def _print_runtimes(name: str, size: int | None, predictions: Sequence[tuple[ArenaPrediction, ...]]) -> None:
    """Print the table; `predictions` has the same chips for each runtime, `size` is the manifest's."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    columns = _alike_chips(predictions)
    table = Table(
        title=Text(f"Minimum of {printable_name(name)}", style="bold"), title_justify="left", box=box.SIMPLE_HEAD
    )
    table.add_column("esp-tflite-micro")
    table.add_column("esp-nn")
    for chips in columns:
        table.add_column("\n".join(chips), justify="right")
    for tflite_micro, esp_nn, row in _alike_runtimes(predictions):
        minimums = {prediction.chip: prediction.minimum for prediction in row}
        cells = [_cell(minimums[chips[0]], size) for chips in columns]
        table.add_row(", ".join(tflite_micro), _marked(tflite_micro[0], esp_nn), *(Text(*cell) for cell in cells))
    console().print(table)
    say("Predicted in bytes, an arena at a multiple of 16", nl=False)
    say(f"; the manifest has {size:,}." if size is not None else ".")
    _print_notes([row[0].runtime for row in predictions])


def _marked(tflite_micro: str, esp_nn: Sequence[str]) -> str:
    """Versions of esp-nn, with a star where the source was not examined."""
    unseen = {version for version in esp_nn if basis_of(RuntimeVersions(tflite_micro, version)) == "unseen"}
    return ", ".join(f"{version}*" if version in unseen else version for version in esp_nn)


def _print_notes(runtimes: Sequence[RuntimeVersions]) -> None:
    """Notes about the figures of some versions."""
    unseen = [runtime for runtime in runtimes if basis_of(runtime) == "unseen"]
    if unseen:
        mark = "* " if len(runtimes) > 1 else ""
        say(
            f"{mark}The source of this version was not examined; the figures are those of the nearest version that was."
        )
    for note in dict.fromkeys(filter(None, map(slow_convolutions, runtimes if len(runtimes) == 1 else ()))):
        say(note)


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
