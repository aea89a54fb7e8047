"""The rows of a matrix: those that are asked for, those that runs were made on, or ESPHome's whole history."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.matrix.findings import Row
from harness.report.recorded import RecordedRun
from harness.targets.registry import spec_of_kind
from mww.core.errors import MwwError, UnknownRuntimeError
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
