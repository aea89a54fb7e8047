"""Puts measured rows into the tables of docs/reliability.md: a row that is there is replaced, a new one comes last."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"


def put_row(first_column: str, row: Sequence[str], page: Path = PAGE) -> None:
    """Put a row into the table whose first column is headed so, at the row with the same first cell."""
    lines = page.read_text("utf-8").splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith(f"| {first_column} |")) + 2
    end = next((index for index in range(start, len(lines)) if not lines[index].startswith("|")), len(lines))
    at = next((index for index in range(start, end) if lines[index].startswith(f"| {row[0]} |")), end)
    lines[at : min(at + 1, end)] = [f"| {' | '.join(row)} |"]
    page.write_text("\n".join(lines) + "\n", "utf-8")
