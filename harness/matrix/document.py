"""The matrix as a whole, and as the JSON document `mww.matrix/1`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from harness.matrix.findings import Change, Finding, Row, changes, holds
from harness.matrix.prediction import Predicted, Subject

SCHEMA: Final = "mww.matrix/1"


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
