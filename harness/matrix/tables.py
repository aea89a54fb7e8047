"""The matrix for people: tables, what changed in sentences, and both as Markdown and as a page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from harness.matrix.document import Matrix
from harness.matrix.findings import Aspect, Change, Finding, Row
from harness.matrix.prediction import UNSEEN
from harness.report.markdown import escape
from harness.report.page import page_environment

_MARKS: Final = {True: "✅", False: "❌", None: ""}
_ORDER: Final[tuple[Aspect, ...]] = ("arena", "kernels", "manifest", "configuration", "firmware", "run")


@dataclass(frozen=True, slots=True)
class Column:
    """An aspect of a model, the chips for which it says the same in every row, and what it says, by row."""

    aspect: Aspect
    chips: tuple[str, ...]
    by_row: Mapping[int, Finding]


@dataclass(frozen=True, slots=True)
class Table:
    """What was found of one model, or of the firmware: a line for each row that has an answer, a cell a column."""

    title: str
    columns: tuple[Column, ...]
    lines: tuple[tuple[Row, tuple[Finding | None, ...]], ...]


def tables(matrix: Matrix) -> list[Table]:
    """A table for each model that something was found of, and one for the firmware, whose name is empty."""
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
    """What is lost, regained, or came out otherwise in a run, a sentence each; alike chips together."""
    grouped: dict[tuple[object, ...], tuple[Change, list[str]]] = {}
    for change in matrix.changes:
        before, after = change.before, change.after
        if not (change.lost or change.regained or before.aspect in ("run", "kernels")):
            continue  # a figure that moved and still holds: the table shows it
        key = before.model, before.aspect, before.row, after.row, before.said, after.said
        grouped.setdefault(key, (change, []))[1].append(before.chip or "")
    lines = [_sentence(matrix.rows, change, chips) for change, chips in grouped.values()]
    if any(finding.aspect == "arena" and finding.said.endswith(UNSEEN) for finding in matrix.findings):
        lines.append(f"note: {UNSEEN} the source of this version was not seen; the figure is of the nearest that was")
    return lines


def _sentence(rows: Sequence[Row], change: Change, chips: Sequence[str]) -> str:
    before, after = change.before, change.after
    how = "lost" if change.lost else "regained" if change.regained else "changed"
    where = " ".join(part for part in (before.model or "the firmware", ", ".join(filter(None, chips))) if part)
    message = f"{how}: {where}: {before.aspect} {before.said} -> {after.said}, at {rows[after.row].label}"
    return f"{message} ({'; '.join(after.details)})" if after.details else message


def matrix_markdown(matrix: Matrix) -> str:
    """The matrix for a pull request: a table for each model, then what is lost."""
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
