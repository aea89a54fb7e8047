"""The matrix as data: its rows, the findings of each, and what changed from row to row.

Findings come from prediction, from the real ESPHome, or from runs; here they are ordered and judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from harness.report.run_document import RecordedRun
from harness.targets.registry import spec_of_kind
from mww.core.errors import MwwError, UnknownRuntimeError
from mww.esphome.contract import RuntimeVersions
from mww.esphome.releases import Release, release_key
from mww.tflm.builds import Build, builds_of, builds_with, esphome_builds, runtime_among, select_runtimes

_LAST = (9999, 0, 0, 0)


def choose_rows(
    releases: Sequence[str],
    runtimes: Sequence[str],
    runs: Sequence[RecordedRun],
    read_installed: Callable[[str], Release] | None = None,
) -> tuple[Row, ...]:
    """Rows in the order of releases, each once; what has no release comes last.

    Where nothing is asked for and no run names a runtime, they begin with ESPHome's history.

    Args:
        releases: Of ESPHome.
        runtimes: Names, as `select_runtimes` takes them.
        runs: Their targets tell their versions.
        read_installed: Reads a release that is newer than the data from its own package; None: the newest known
            pins stand in.

    Raises:
        UsageError: A name is not known.
        UnknownRuntimeError: Nothing is known of a version.
    """
    asked = [Row.of(build) for release in releases for build in _builds(release, read_installed)]
    asked += [Row(None, runtime) for runtime in (select_runtimes(runtimes) if runtimes else ())]
    made = [row_of(run) for run in runs]
    if not asked and not any(row.runtime for row in made):
        return (*(Row.of(build) for build in esphome_builds()), *dict.fromkeys(made))
    return tuple(sorted(dict.fromkeys([*asked, *made]), key=lambda row: order(row.esphome) or _LAST))


def _builds(release: str, read_installed: Callable[[str], Release] | None) -> tuple[Build, ...]:
    try:
        builds = builds_with(release)
    except UnknownRuntimeError as error:
        if read_installed is None:
            hint = "--check-config reads the release itself; --runtime names library versions"
            raise UnknownRuntimeError(error.message, hint=hint) from error
    else:
        if read_installed is None or not builds[0].assumed:
            return builds
    return builds_of(read_installed(release), release)


def row_of(run: RecordedRun) -> Row:
    """The row that a run was made on, by the versions that its target reported."""
    esphome, built = dict(run.versions).get("esphome"), runtime_among(run.versions)
    if not spec_of_kind(run.kind).is_hardware:
        reported = "" if built else ", ".join(f"{name} {version}" for name, version in run.versions)
        return Row(esphome, built, place=", ".join(filter(None, (run.kind, reported))))
    try:
        same = [build for build in builds_with(esphome or "") if build.runtime == built]
    except MwwError:  # a release of its own, or a later release
        same = []
    return Row.of(same[0]) if same else Row(esphome, built, place="" if esphome else run.kind)


def order(release: str | None) -> tuple[int, int, int, int] | None:
    """A release's place in order; None for what is not a single release."""
    try:
        return release_key(release or "")
    except MwwError:
        return None


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
