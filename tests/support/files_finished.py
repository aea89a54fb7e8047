"""A line for each test file that has finished, in place of a dot for each test."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Sequence

import pytest


class FilesFinished:
    """Listens in the process that hands out the tests to others."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._started = time.monotonic()
        self._left: Counter[str] = Counter()
        self._results: dict[str, Counter[str]] = defaultdict(Counter)
        self._seconds: Counter[str] = Counter()
        self._count = self._done = 0

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: object, ids: Sequence[str]) -> None:
        """Each process collects the same tests."""
        self._left = Counter(map(_file, ids))
        self._count = len(ids)

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """No letter for a test."""
        if hasattr(report, "wasxfail"):
            return None
        if report.failed:
            return "failed" if report.when == "call" else "error", "", "FAILED"
        if report.skipped:
            return "skipped", "", "SKIPPED"
        return ("passed", "", "PASSED") if report.when == "call" else None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count, and write the line after a file's last test."""
        file = _file(report.nodeid)
        self._seconds[file] += report.duration
        if report.when == "call" or not report.passed:
            self._results[file][report.outcome] += 1
        if report.failed:
            self._write(f"{report.nodeid} failed")
        if report.when == "teardown":
            self._left[file] -= 1
            self._done += 1
            if not self._left[file]:
                results = ", ".join(f"{count} {outcome}" for outcome, count in sorted(self._results[file].items()))
                self._write(f"{file}: {results}, {self._seconds[file]:.0f} s")

    def _write(self, what: str) -> None:
        minutes, seconds = divmod(round(time.monotonic() - self._started), 60)
        terminal = self._config.get_terminal_writer()
        terminal.line(f"{minutes:3}:{seconds:02} {self._done:5} of {self._count}  {what}")


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]
