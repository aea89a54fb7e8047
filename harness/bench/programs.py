"""Runs whole programs, those of mww-harness and the usual alternatives, and measures their time and memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mww.core.errors import BenchmarkError
from mww.core.resources import IMPORT_ROOT

_PACKAGE: Final = Path(__file__).resolve().parent
_MWW: Final = "from harness.cli import main; main()"  # as the console script does


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that exited with 0: its stdout, and the seconds from start to end."""

    output: str
    seconds: float

    @property
    def document(self) -> Any:
        """The JSON document on stdout."""
        return json.loads(self.output)


def mww(*words: object) -> list[str]:
    """The command line that runs `mww` with arguments."""
    return [sys.executable, "-c", _MWW, *map(str, words)]


def bare(script: str, *words: object) -> list[str]:
    """The command line of a script in this folder that uses no code of mww-harness."""
    return [sys.executable, str(_PACKAGE / f"{script}.py"), *map(str, words)]


def measuring_peak(file: Path, words: Sequence[str]) -> list[str]:
    """The command line that runs a program and writes the peak memory of its largest process into a file, in bytes."""
    return [sys.executable, str(_PACKAGE / "peak.py"), str(file), *words]


def run(words: Sequence[str], variables: Mapping[str, str] | None = None) -> Finished:
    """Run a program, with additional environment variables.

    Raises:
        BenchmarkError: It fails; the hint is the last line of its output.
    """
    (finished,) = run_together([words], variables)
    return finished


def run_together(commands: Sequence[Sequence[str]], variables: Mapping[str, str] | None = None) -> list[Finished]:
    """Run programs at the same time.

    Raises:
        BenchmarkError: As for `run`.
    """
    root = str(IMPORT_ROOT)
    given = os.environ | (variables or {})
    given.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed program is compiled
    environment = given | {"PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="mww-bench-") as folder:
        running = []
        try:
            for number, words in enumerate(commands):
                with (
                    (Path(folder) / f"{number}.out").open("wb") as out,
                    (Path(folder) / f"{number}.err").open("wb") as err,
                ):
                    running.append(subprocess.Popen(words, stdout=out, stderr=err, env=environment, cwd=folder))
            return [_wait(process, Path(folder) / str(number), started) for number, process in enumerate(running)]
        finally:
            for process in running:
                if process.returncode is None:
                    process.kill()
                    process.wait()


def _wait(process: subprocess.Popen[bytes], files: Path, started: float) -> Finished:
    process.wait()
    seconds = time.perf_counter() - started
    message = files.with_suffix(".out").read_text(errors="replace")
    if process.returncode != 0:
        last = [line.strip() for line in (files.with_suffix(".err").read_text(errors="replace") + message).splitlines()]
        what = " ".join(map(str, process.args))[:300] if isinstance(process.args, list) else "a program"
        raise BenchmarkError(
            f"exit status {process.returncode} from {what}",
            hint="; ".join(last[-3:])[-500:] or "it printed nothing; run it by hand",
        )
    return Finished(message, seconds)
