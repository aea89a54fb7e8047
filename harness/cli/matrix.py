"""`mww matrix`: the same models with several releases of ESPHome, library versions and chips."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import click

from harness.cli.output import console, emit_json, json_option, progress, say, warn
from harness.cli.run_options import Place, clip_options, clip_source, place
from harness.matrix.findings import Aspect, Change, Finding, Row, changes, choose_rows, holds
from harness.matrix.prediction import UNSEEN, Predicted, Subject, predict, read_subject
from harness.matrix.runs import emulate, golden_sources, judge_runs, take_runs
from harness.report.markdown import escape
from harness.report.page import page_environment
from harness.run.options import RunOptions
from mww.core.errors import UsageError
from mww.core.files import write_files
from mww.core.readable import printable, printable_name
from mww.esphome.chips import CHIP_NAMES
from mww.esphome.releases import Release
from mww.tflm.builds import assumed_warning, builds_with

SCHEMA: Final = "mww.matrix/1"

_MARKS: Final = {True: "✅", False: "❌", None: ""}
_ORDER: Final[tuple[Aspect, ...]] = ("arena", "kernels", "manifest", "configuration", "firmware", "run")

_PATH = click.Path(path_type=Path)

_COLOURS: Final = {True: "green", False: "red", None: ""}


@dataclass(frozen=True, slots=True)
class Matrix:
    """Everything that was found, in the order of rows."""

    subjects: tuple[Subject, ...]
    rows: tuple[Row, ...]
    chips: tuple[str, ...]
    predictions: tuple[Predicted, ...]
    findings: tuple[Finding, ...]

    @property
    def changes(self) -> tuple[Change, ...]:
        """What is not as in the row before."""
        return changes(self.findings)

    @property
    def holds(self) -> bool:
        """Whether nothing is lost, and everything holds in the end."""
        return holds(self.findings)


@dataclass(frozen=True, slots=True)
class Column:
    """An aspect of a model, the chips with the same values in every row, and these values by row."""

    aspect: Aspect
    chips: tuple[str, ...]
    by_row: Mapping[int, Finding]


@dataclass(frozen=True, slots=True)
class Table:
    """The results of a model, or of the firmware: a line for each row with a result, a cell for each column."""

    title: str
    columns: tuple[Column, ...]
    lines: tuple[tuple[Row, tuple[Finding | None, ...]], ...]


def tables(matrix: Matrix) -> list[Table]:
    """A table for each model with results, and a table for the firmware, whose name is empty."""
    return [_table(matrix, name) for name in dict.fromkeys(finding.model for finding in matrix.findings)]


def _table(matrix: Matrix, name: str) -> Table:
    size = next((subject.size for subject in matrix.subjects if subject.name == name), None)
    title = (name or "the firmware") + (f", manifest {size:,} bytes" if size is not None else "")
    columns = _columns(matrix.findings, name)
    lines = [(row, tuple(column.by_row.get(index) for column in columns)) for index, row in enumerate(matrix.rows)]
    return Table(title, columns, tuple((row, cells) for row, cells in lines if any(cells)))


def _columns(findings: Iterable[Finding], model: str) -> tuple[Column, ...]:
    by_chip: dict[tuple[Aspect, str], dict[int, Finding]] = {}
    for finding in findings:
        if finding.model == model:
            by_chip.setdefault((finding.aspect, finding.chip or ""), {})[finding.row] = finding
    alike: dict[tuple[object, ...], Column] = {}
    for (aspect, chip), by_row in by_chip.items():
        key = (aspect, *((row, finding.holds, finding.said) for row, finding in by_row.items()))
        former = alike.get(key, Column(aspect, (), by_row))
        alike[key] = replace(former, chips=(*former.chips, chip))
    return tuple(sorted(alike.values(), key=lambda column: _ORDER.index(column.aspect)))


def sentences(matrix: Matrix) -> list[str]:
    """What no longer holds, holds again, or differs in a run: a sentence for each, with equal chips together."""
    grouped: dict[tuple[object, ...], tuple[Change, list[str]]] = {}
    for change in matrix.changes:
        before, after = change.before, change.after
        if not (change.lost or change.regained or before.aspect in ("run", "kernels")):
            continue  # a figure that changed and still holds: the table shows it
        key = before.model, before.aspect, before.row, after.row, before.said, after.said
        grouped.setdefault(key, (change, []))[1].append(before.chip or "")
    lines = [_sentence(matrix.rows, change, chips) for change, chips in grouped.values()]
    if any(finding.aspect == "arena" and finding.said.endswith(UNSEEN) for finding in matrix.findings):
        lines.append(
            f"note: {UNSEEN} the source of this version was not examined; "
            "the figure is that of the nearest version that was"
        )
    return lines


def _sentence(rows: Sequence[Row], change: Change, chips: Sequence[str]) -> str:
    before, after = change.before, change.after
    how = "lost" if change.lost else "regained" if change.regained else "changed"
    where = " ".join(part for part in (before.model or "the firmware", ", ".join(filter(None, chips))) if part)
    message = f"{how}: {where}: {before.aspect} {before.said} -> {after.said}, at {rows[after.row].label}"
    return f"{message} ({'; '.join(after.details)})" if after.details else message


def matrix_markdown(matrix: Matrix) -> str:
    """The matrix for a pull request: a table for each model, then the changes."""
    lines = [f"### Matrix: {'✅ pass' if matrix.holds else '❌ fail'}", ""]
    for table in tables(matrix):
        headings = [escape(" ".join((column.aspect, *column.chips)).strip()) for column in table.columns]
        lines += [f"**{escape(table.title)}**", "", f"| versions | {' | '.join(headings)} |"]
        lines.append(f"|---{'|---' * len(headings)}|")
        for row, cells in table.lines:
            results = [f"{_MARKS[cell.holds]} {escape(cell.said)}".strip() if cell else "" for cell in cells]
            lines.append(f"| {escape(row.label)} | {' | '.join(results)} |")
        lines.append("")
    lines += [f"- {escape(sentence)}" for sentence in sentences(matrix)]
    return "\n".join(lines).rstrip() + "\n"


def matrix_page(matrix: Matrix) -> str:
    """The matrix as one self-contained HTML page."""
    template = page_environment().get_template("matrix.html.j2")
    return template.render(matrix=matrix, tables=tables(matrix), sentences=sentences(matrix))


@click.command("matrix")
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@click.option("--esphome", "releases", multiple=True, metavar="RELEASE", help="A release of ESPHome; repeatable.")
@click.option("--runtime", "runtimes", multiple=True, metavar="NAME|all", help="Library versions, as for mww arena.")
@click.option("--chip", "chips", multiple=True, type=click.Choice(CHIP_NAMES), help="Repeatable; all by default.")
@click.option("--run", "runs", multiple=True, type=_PATH, metavar="DIR", help="Include a run.json; repeatable.")
@clip_options
@click.option(
    "--golden",
    "goldens",
    multiple=True,
    type=place,
    metavar="GOLDEN.npz",
    help="A golden of a model, see mww record; repeatable.",
)
@click.option("--check-config", is_flag=True, help="Let each ESPHome release check the configuration; installs it.")
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
    """Show what holds for each MODEL, a manifest or .tflite, with several versions and chips, and what changed.

    Arenas are predicted, configurations are checked by the real ESPHome (--check-config), outputs come from runs: on
    boards (--run), and here in the emulator (--golden, --features, --wav). Without --esphome, --runtime and runs of
    boards the rows are ESPHome's whole history. Exits with 1 if what held in a row does not in a later one, or not in
    the last.
    """
    if check_config and not releases:
        raise UsageError("--check-config without --esphome", hint="give the releases with --esphome")
    subjects = _subjects(models)
    taken = [*take_runs(runs, subjects)]
    if goldens or features or wav:
        source = clip_source(features, wav, lead_in, goldens[0] if goldens else None)
        names = [subject.name for subject in subjects]
        sources = golden_sources(goldens, subjects) if goldens else dict.fromkeys(names, source)
        with progress() as shown:
            taken += emulate(subjects, sources, RunOptions(lead_in=lead_in, progress=shown))
    rows = choose_rows(releases, runtimes, [item.run for item in taken], _reader() if check_config else None)
    if not check_config and (newer := assumed_warning(b for release in releases for b in builds_with(release))):
        warn(newer, "--check-config reads the release itself")
    predicted = [predict(subject, rows, chips or CHIP_NAMES) for subject in subjects]
    predictions = tuple(item for figures, _ in predicted for item in figures)
    findings = [finding for _, entry in predicted for finding in entry]
    findings += judge_runs(taken, subjects, rows, predictions)
    if check_config:
        from harness.matrix.esphome import check_configurations

        with progress() as shown:
            findings += check_configurations(subjects, rows, releases, chips or CHIP_NAMES, shown)
    matrix = Matrix(subjects, rows, chips or CHIP_NAMES, predictions, tuple(findings))
    _show(matrix, report, as_json=as_json)
    return 0 if matrix.holds else 1


def _reader() -> Callable[[str], Release]:
    from harness.matrix.esphome import read_installed

    return read_installed


def _show(matrix: Matrix, report: Path | None, *, as_json: bool) -> None:
    document = _document(matrix)
    if report is not None:
        contents = {
            "matrix.md": matrix_markdown(matrix),
            "matrix.html": matrix_page(matrix),
            "matrix.json": f"{json.dumps({'schema': SCHEMA, **document}, indent=2, allow_nan=False)}\n",
        }
        write_files({report / name: text.encode(errors="replace") for name, text in contents.items()})
    if as_json:
        emit_json(SCHEMA, document)
    else:
        _print_matrix(matrix)


def _subjects(paths: Sequence[str]) -> tuple[Subject, ...]:
    """Every model under a unique name: the file's, with as many of its folders as needed."""
    places = [Path(path).absolute().parent / Path(path).stem for path in paths]
    twice = next((path for path, place in zip(paths, places, strict=True) if places.count(place) > 1), None)
    if twice is not None:
        raise UsageError(f"{twice} is given twice", hint="give each model once, by its manifest or its .tflite")
    names = [_name(place, places) for place in places]
    return tuple(read_subject(path, name) for path, name in zip(paths, names, strict=True))


def _name(place: Path, places: Sequence[Path]) -> str:
    ends = (place.parts[-length:] for length in range(1, len(place.parts)))
    own = (end for end in ends if sum(other.parts[-len(end) :] == end for other in places) == 1)
    return "/".join(next(own, place.parts))


def _print_matrix(matrix: Matrix) -> None:
    """Print the tables, the changes and the verdict."""
    for table in tables(matrix):
        _print_table(table)
    for sentence in sentences(matrix):
        how, _, rest = sentence.partition(": ")
        say(f"{how}: ", nl=False, fg={"lost": "red", "regained": "green"}.get(how))
        say(rest)
    say("PASS" if matrix.holds else "FAIL", fg=_COLOURS[matrix.holds], bold=True)


def _print_table(table: Table) -> None:
    from rich import box
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid(title=Text(printable(table.title), style="bold"), title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("ESPHome", "esp-tflite-micro", "esp-nn"):
        grid.add_column(name, overflow="fold")
    for column in table.columns:
        grid.add_column(Text("\n".join((column.aspect, *column.chips))))
    for row, cells in table.lines:
        results = [Text(printable(cell.said), style=_COLOURS[cell.holds]) if cell else Text() for cell in cells]
        grid.add_row(*(Text(printable_name(text)) for text in _versions(row)), *results)
    console().print(grid)


def _versions(row: Row) -> tuple[str, str, str]:
    where = ", ".join(filter(None, (row.esphome, row.place)))
    return (where, row.runtime.esp_tflite_micro, row.runtime.esp_nn) if row.runtime else (where, "", "")


def _document(matrix: Matrix) -> dict[str, object]:
    """The JSON document, without its schema's name."""
    return {
        "verdict": "pass" if matrix.holds else "fail",
        "models": [
            {"model": item.name, "path": item.path, "model_sha256": item.file.sha256, "manifest_size": item.size}
            for item in matrix.subjects
        ],
        "rows": [_row(row) for row in matrix.rows],
        "arenas": [_arena(item) for item in matrix.predictions],
        "findings": [_finding(item) for item in matrix.findings],
        "changes": [_change(item) for item in matrix.changes],
    }


def _row(row: Row) -> dict[str, object]:
    runtime = row.runtime
    return {
        "label": row.label,
        "esphome": row.esphome,
        "runtime": {"esp-tflite-micro": runtime.esp_tflite_micro, "esp-nn": runtime.esp_nn} if runtime else None,
        "pinned": row.pinned,
        "probes": row.probes,
    }


def _arena(item: Predicted) -> dict[str, object]:
    arena = item.arena
    figures = {name: getattr(arena, name) for name in ("used", "head", "tail", "minimum", "probe")}
    return {"model": item.model, "row": item.row, "chip": arena.chip, **figures, "fits": item.fits, "loads": item.loads}


def _finding(item: Finding) -> dict[str, object]:
    return {
        "model": item.model or None,
        "row": item.row,
        "chip": item.chip,
        "aspect": item.aspect,
        "holds": item.holds,
        "said": item.said,
        "details": list(item.details),
    }


def _change(change: Change) -> dict[str, object]:
    before, after = change.before, change.after
    return {
        "model": before.model or None,
        "chip": before.chip,
        "aspect": before.aspect,
        "from": {"row": before.row, "holds": before.holds, "said": before.said},
        "to": {"row": after.row, "holds": after.holds, "said": after.said},
        "lost": change.lost,
        "regained": change.regained,
    }
