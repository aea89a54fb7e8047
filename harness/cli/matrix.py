"""`mww matrix`: the same models over releases of ESPHome, library versions and chips."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from harness.cli.inputs import Place, clip_options, clip_source, place
from harness.cli.matrix_table import print_matrix
from harness.cli.output import emit_json, json_option, progress
from harness.matrix.document import SCHEMA, Matrix, matrix_document
from harness.matrix.prediction import Subject, predict, read_subject
from harness.matrix.rows import choose_rows
from harness.matrix.runs import emulate, golden_sources, judge_runs, take_runs
from harness.run.options import RunOptions
from mww.core.errors import UsageError
from mww.core.files import write_files
from mww.esphome.contract import CHIPS, EsphomePins

_PATH = click.Path(path_type=Path)


@click.command("matrix")
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@click.option("--esphome", "releases", multiple=True, metavar="RELEASE", help="A release of ESPHome; repeatable.")
@click.option("--runtime", "runtimes", multiple=True, metavar="NAME|all", help="Library versions, as for mww arena.")
@click.option("--chip", "chips", multiple=True, type=click.Choice(CHIPS), help="Repeatable; all by default.")
@click.option("--run", "runs", multiple=True, type=_PATH, metavar="DIR", help="Take in a run.json; repeatable.")
@clip_options
@click.option(
    "--golden",
    "goldens",
    multiple=True,
    type=place,
    metavar="GOLDEN.npz",
    help="Of a model, see mww record; repeatable.",
)
@click.option("--check-config", is_flag=True, help="Have each release generate its sources; installs it.")
@click.option("--report", type=_PATH, metavar="DIR", help="Write matrix.json, matrix.md and matrix.html here.")
@json_option
def command(  # noqa: PLR0913 -- one for each option
    *,
    models: tuple[str, ...],
    releases: tuple[str, ...],
    runtimes: tuple[str, ...],
    chips: tuple[str, ...],
    runs: tuple[Path, ...],
    features: Place | None,
    wav: tuple[Place, ...],
    lead_in: float,
    goldens: tuple[Place, ...],
    check_config: bool,
    report: Path | None,
    as_json: bool,
) -> int:
    """Tell what holds of each MODEL, a manifest or .tflite, over versions and chips, and what changed.

    Arenas are predicted, configurations asked of the real ESPHome (--check-config), outputs taken from runs: on boards
    (--run), and here in the emulator (--golden, --features, --wav). Without --esphome, --runtime and runs of boards
    the rows are ESPHome's whole history. Exits with 1 if what held in a row does not in a later one, or not in the
    last.
    """
    if check_config and not releases:
        raise UsageError("--check-config without --esphome", hint="name the releases that are to read it")
    subjects = _subjects(models)
    taken = [*take_runs(runs, subjects)]
    if goldens or features or wav:
        source = clip_source(features, wav, lead_in, goldens[0] if goldens else None)
        names = [subject.name for subject in subjects]
        sources = golden_sources(goldens, subjects) if goldens else dict.fromkeys(names, source)
        with progress() as shown:
            taken += emulate(subjects, sources, RunOptions(lead_in=lead_in, progress=shown))
    rows = choose_rows(releases, runtimes, [one.run for one in taken], _pins_reader() if check_config else None)
    predicted = [predict(subject, rows, chips or CHIPS) for subject in subjects]
    predictions = tuple(one for figures, _ in predicted for one in figures)
    findings = [finding for _, found in predicted for finding in found]
    findings += judge_runs(taken, subjects, rows, predictions)
    if check_config:
        from harness.matrix.esphome import check_configurations

        with progress() as shown:
            findings += check_configurations(subjects, rows, releases, chips or CHIPS, shown)
    matrix = Matrix(subjects, rows, chips or CHIPS, predictions, tuple(findings))
    _show(matrix, report, as_json=as_json)
    return 0 if matrix.holds else 1


def _pins_reader() -> Callable[[str], EsphomePins]:
    from harness.matrix.esphome import read_pins

    return read_pins


def _show(matrix: Matrix, report: Path | None, *, as_json: bool) -> None:
    document = matrix_document(matrix)
    if report is not None:
        from harness.matrix.tables import matrix_markdown, matrix_page

        contents = {
            "matrix.md": matrix_markdown(matrix),
            "matrix.html": matrix_page(matrix),
            "matrix.json": f"{json.dumps({'schema': SCHEMA, **document}, indent=2, allow_nan=False)}\n",
        }
        write_files({report / name: text.encode(errors="replace") for name, text in contents.items()})
    if as_json:
        emit_json(SCHEMA, document)
    else:
        print_matrix(matrix)


def _subjects(paths: Sequence[str]) -> tuple[Subject, ...]:
    """Every model under a name of its own: the file's, with as many folders before it as tell it from the others."""
    places = [Path(path).absolute().with_suffix("") for path in paths]
    twice = next((path for path, place in zip(paths, places, strict=True) if places.count(place) > 1), None)
    if twice is not None:
        raise UsageError(f"{twice} is given twice", hint="name each model once, by its manifest or its .tflite")
    names = [_name(place, places) for place in places]
    return tuple(read_subject(path, name) for path, name in zip(paths, names, strict=True))


def _name(place: Path, places: Sequence[Path]) -> str:
    ends = (place.parts[-length:] for length in range(1, len(place.parts)))
    own = (end for end in ends if sum(other.parts[-len(end) :] == end for other in places) == 1)
    return "/".join(next(own, place.parts))
