"""The matrix for people: which columns a table has, what changed in sentences, and both as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from harness.matrix.document import Matrix
from harness.matrix.findings import Aspect, Change, Finding, Row
from harness.report.markdown import escape

_MARKS: Final = {True: "✅", False: "❌", None: ""}
_ORDER: Final[tuple[Aspect, ...]] = ("arena", "manifest", "configuration", "firmware", "run")


@dataclass(frozen=True, slots=True)
class Column:
    """An aspect of a model, the chips for which it says the same in every row, and what it says, by row."""

    aspect: Aspect
    chips: tuple[str, ...]
    by_row: Mapping[int, Finding]


def models_of(findings: Iterable[Finding]) -> list[str]:
    """The models that something was found of, in order; the empty name is the firmware's."""
    return list(dict.fromkeys(finding.model for finding in findings))


def columns_of(findings: Iterable[Finding], model: str) -> list[Column]:
    """The columns of a model's table."""
    by_chip: dict[tuple[Aspect, str], dict[int, Finding]] = {}
    for finding in findings:
        if finding.model == model:
            by_chip.setdefault((finding.aspect, finding.chip or ""), {})[finding.row] = finding
    alike: dict[tuple[object, ...], Column] = {}
    for (aspect, chip), by_row in by_chip.items():
        key = (aspect, *((row, finding.holds, finding.said) for row, finding in by_row.items()))
        former = alike.get(key, Column(aspect, (), by_row))
        alike[key] = replace(former, chips=(*former.chips, chip))
    return sorted(alike.values(), key=lambda column: _ORDER.index(column.aspect))


def sentences(matrix: Matrix) -> list[str]:
    """What is lost, regained, or came out otherwise in a run, a sentence each; alike chips together."""
    grouped: dict[tuple[object, ...], tuple[Change, list[str]]] = {}
    for change in matrix.changes:
        before, after = change.before, change.after
        if not (change.lost or change.regained or before.aspect == "run"):
            continue  # a figure that moved and still holds: the table shows it
        key = before.model, before.aspect, before.row, after.row, before.said, after.said
        grouped.setdefault(key, (change, []))[1].append(before.chip or "")
    return [_sentence(matrix.rows, change, chips) for change, chips in grouped.values()]


def _sentence(rows: Sequence[Row], change: Change, chips: Sequence[str]) -> str:
    before, after = change.before, change.after
    how = "lost" if change.lost else "regained" if change.regained else "changed"
    where = " ".join(part for part in (before.model or "the firmware", ", ".join(filter(None, chips))) if part)
    said = f"{how}: {where}: {before.aspect} {before.said} -> {after.said}, at {rows[after.row].label}"
    return f"{said} ({'; '.join(after.details)})" if after.details else said


def matrix_markdown(matrix: Matrix) -> str:
    """The matrix for a pull request: a table for each model, then what is lost."""
    lines = [f"### Matrix: {'✅ pass' if matrix.holds else '❌ fail'}", ""]
    for name in models_of(matrix.findings):
        lines += [*_table(matrix, name), ""]
    lines += [f"- {escape(sentence)}" for sentence in sentences(matrix)]
    return "\n".join(lines).rstrip() + "\n"


def _table(matrix: Matrix, name: str) -> list[str]:
    columns = columns_of(matrix.findings, name)
    size = next((subject.size for subject in matrix.subjects if subject.name == name), None)
    title = f"**{escape(name) or 'the firmware'}**" + (f", manifest {size:,} bytes" if size is not None else "")
    headings = [escape(" ".join((column.aspect, *column.chips)).strip()) for column in columns]
    lines = [title, "", f"| versions | {' | '.join(headings)} |", f"|---{'|---' * len(columns)}|"]
    for index, row in enumerate(matrix.rows):
        cells = [column.by_row.get(index) for column in columns]
        if any(cells):
            said = [f"{_MARKS[cell.holds]} {escape(cell.said)}".strip() if cell else "" for cell in cells]
            lines.append(f"| {escape(row.label)} | {' | '.join(said)} |")
    return lines
