"""The matrix as data: rows, what was found in them, and what changed from row to row.

What is found is predicted, asked of the real ESPHome, or was run; here it is only put in order and judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from mww.esphome.contract import RuntimeVersions
from mww.tflm.builds import Build

Aspect = Literal["arena", "kernels", "manifest", "configuration", "firmware", "run"]
"""`arena`: does the model fit, predicted; `kernels`: do the libraries use the chip's kernels;
`manifest`: does the release take it, by its own minimum version;
`configuration`, `firmware`: does the real ESPHome take the wake word's YAML and the harness's; `run`: a verdict."""


@dataclass(frozen=True, slots=True)
class Row:
    """One combination of versions.

    Attributes:
        esphome: A release, or several in words; None where none is named.
        runtime: What the arena is predicted for; None where only runs are known.
        pinned: Whether the release fixes the library versions; None without a release.
        probes: Whether ESPHome tries more than the manifest's size; None without a release.
        place: Where runs were made that no board or no release made; else empty.
    """

    esphome: str | None
    runtime: RuntimeVersions | None
    pinned: bool | None = None
    probes: bool | None = None
    place: str = ""

    @classmethod
    def of(cls, build: Build) -> Row:
        """The row of a release's build."""
        return cls(build.esphome, build.runtime, build.pinned, build.probes)

    @property
    def label(self) -> str:
        """The row in a few words."""
        parts = [f"ESPHome {self.esphome}" if self.esphome else "", self.place]
        if self.runtime and not self.esphome:
            parts.append(f"esp-tflite-micro {self.runtime.esp_tflite_micro}")
        if self.runtime:
            parts.append(f"esp-nn {self.runtime.esp_nn}")
        return ", ".join(filter(None, parts))


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Attributes:
        model: The model's name.
        row: Index of the row.
        chip: None where it holds for all.
        aspect: What was asked.
        holds: The answer; None where there is nothing to hold, as the arena of a model without a manifest.
        said: The answer in a few words, for people.
        value: What is compared between rows.
        details: More, a line each.
    """

    model: str
    row: int
    chip: str | None
    aspect: Aspect
    holds: bool | None
    said: str
    value: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """What is found of one model and chip in a row, and otherwise in the next row that has an answer."""

    before: Finding
    after: Finding

    @property
    def lost(self) -> bool:
        """Whether it held, and holds no more."""
        return self.before.holds is True and self.after.holds is False

    @property
    def regained(self) -> bool:
        """Whether it did not hold, and holds."""
        return self.before.holds is False and self.after.holds is True


def changes(findings: Iterable[Finding]) -> tuple[Change, ...]:
    """Everything that is not as in the row before; what holds for alike chips is reported for each."""
    return tuple(
        Change(before, after)
        for column in _columns(findings)
        for before, after in pairwise(column)
        if (before.holds, before.value) != (after.holds, after.value)
    )


def holds(findings: Iterable[Finding]) -> bool:
    """Whether nothing is lost from a row to the next, and everything holds in the last row that answers."""
    for column in _columns(findings):
        answers = [finding.holds for finding in column if finding.holds is not None]
        first = answers.index(True) if True in answers else 0
        if not all(answers[first:]):
            return False
    return True


def _columns(findings: Iterable[Finding]) -> Iterator[list[Finding]]:
    """The findings of one model, aspect and chip, by row."""
    columns: dict[tuple[str, str, str | None], list[Finding]] = {}
    for finding in findings:
        columns.setdefault((finding.model, finding.aspect, finding.chip), []).append(finding)
    for column in columns.values():
        yield sorted(column, key=lambda finding: finding.row)
