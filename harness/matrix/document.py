"""The matrix as JSON, `mww.matrix/1`, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.matrix.findings import Change, Finding, Row, changes, holds
from harness.matrix.prediction import Predicted, Subject
from harness.report.markdown import escape

SCHEMA = "mww.matrix/1"
_MARKS = {True: "✅", False: "❌", None: ""}


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


def matrix_document(matrix: Matrix) -> dict[str, object]:
    """The JSON document, without its schema's name."""
    return {
        "verdict": "pass" if matrix.holds else "fail",
        "models": [
            {"model": one.name, "path": one.path, "model_sha256": one.file.sha256, "manifest_size": one.size}
            for one in matrix.subjects
        ],
        "rows": [_row(row) for row in matrix.rows],
        "arenas": [_arena(one) for one in matrix.predictions],
        "findings": [_finding(one) for one in matrix.findings],
        "changes": [_change(one) for one in matrix.changes],
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


def _arena(one: Predicted) -> dict[str, object]:
    arena = one.arena
    figures = {name: getattr(arena, name) for name in ("used", "head", "tail", "minimum", "probe")}
    return {"model": one.model, "row": one.row, "chip": arena.chip, **figures, "fits": one.fits, "loads": one.loads}


def _finding(one: Finding) -> dict[str, object]:
    return {
        "model": one.model or None,
        "row": one.row,
        "chip": one.chip,
        "aspect": one.aspect,
        "holds": one.holds,
        "said": one.said,
        "details": list(one.details),
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


def matrix_markdown(matrix: Matrix) -> str:
    """The matrix for a pull request: a table for each model, then what is lost."""
    lines = [f"### Matrix: {'✅ pass' if matrix.holds else '❌ fail'}", ""]
    for name in columns_of(matrix.findings):
        lines += [*_table(matrix, name), ""]
    lines += [f"- {escape(sentence)}" for sentence in sentences(matrix)]
    return "\n".join(lines).rstrip() + "\n"


def _table(matrix: Matrix, name: str) -> list[str]:
    groups = alike(matrix.findings, name)
    size = next((subject.size for subject in matrix.subjects if subject.name == name), None)
    title = f"**{escape(name) or 'the firmware'}**" + (f", manifest {size:,} bytes" if size is not None else "")
    headings = [escape(heading(aspect, chips)) for aspect, chips, _ in groups]
    lines = [title, "", f"| versions | {' | '.join(headings)} |", f"|---{'|---' * len(groups)}|"]
    for index, row in enumerate(matrix.rows):
        cells = [by_row.get(index) for _, _, by_row in groups]
        if any(cells):
            said = [f"{_MARKS[cell.holds]} {escape(cell.said)}".strip() if cell else "" for cell in cells]
            lines.append(f"| {escape(row.label)} | {' | '.join(said)} |")
    return lines


Group = tuple[str, tuple[str, ...], dict[int, Finding]]
"""An aspect, the chips for which it says the same in every row, and what it says by row."""


def columns_of(findings: Iterable[Finding]) -> list[str]:
    """The models that something was found of, in order; the empty name is the firmware's."""
    return list(dict.fromkeys(finding.model for finding in findings))


def alike(findings: Iterable[Finding], model: str) -> list[Group]:
    """The columns of a model's table: chips with the same answers share one."""
    columns: dict[tuple[str, str], dict[int, Finding]] = {}
    for finding in findings:
        if finding.model == model:
            columns.setdefault((finding.aspect, finding.chip or ""), {})[finding.row] = finding
    groups: dict[tuple[object, ...], tuple[str, list[str], dict[int, Finding]]] = {}
    for (aspect, chip), by_row in columns.items():
        said = tuple((row, finding.holds, finding.said) for row, finding in by_row.items())
        groups.setdefault((aspect, *said), (aspect, [], by_row))[1].append(chip)
    order = ("arena", "manifest", "configuration", "firmware", "run")
    found = [(aspect, tuple(chips), by_row) for aspect, chips, by_row in groups.values()]
    return sorted(found, key=lambda group: order.index(group[0]))


def heading(aspect: str, chips: Sequence[str]) -> str:
    """A column's heading."""
    return " ".join(part for part in (aspect, " ".join(chips)) if part)


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
