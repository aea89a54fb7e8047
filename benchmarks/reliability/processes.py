"""Verbs that are interrupted, terminated and killed, they or any of their processes, at random points.

After each, nothing of it may be left (processes, temporary files, shared memory, half-written results), and the next
call, without cleaning up, must give what an undisturbed one gives.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from mww.core.scratch import FILE_SUFFIX

ROOT = Path(__file__).resolve().parents[2]
GRACE = 15.0
"""Seconds for a process to end after the signal, and for those of its children that outlive it by a moment."""
_MARK = "MWW_RELIABILITY_RUN"


@dataclass(frozen=True, slots=True)
class Case:
    """A verb to disturb: its words, and what of its result must be the same each time."""

    words: Sequence[str]
    result: Callable[[str], object]
    until_ready: bool = False
    """Whether it serves until it is ended; then its first line is its result."""


VERBS: Mapping[str, int] = {
    "mww run": 50,
    "mww run --target virtual": 50,
    "mww virtual": 50,
    "mww flash": 50,
    "mww export --converter direct": 50,
    "mww export": 10,
}
"""The verbs, and how often each is disturbed at full size."""


def _case(name: str, folder: Path) -> Case:
    if name == "mww virtual":
        words = ["virtual", "--json", "--state", str(folder / "board"), "--port-file", str(folder / "port")]
        return Case(words, lambda text: json.loads(text)["schema"], until_ready=True)
    if name == "mww flash":
        return _flash(folder)
    if name.startswith("mww export"):
        return _export(folder, name.split()[2:])
    return _run(folder, "virtual" if name.endswith("virtual") else "emulator")


def disturb(name: str, count: int, seed: int) -> Iterator[str | None]:
    """Disturb a verb `count` times; yields what was lost, or None."""
    chance = random.Random(f"{name} {seed}")
    with tempfile.TemporaryDirectory(prefix="mww-disturbed-") as scratch:
        folder = Path(scratch)
        case = _case(name, folder)
        (folder / "tmp").mkdir()
        started = time.monotonic()
        expected = _undisturbed(case, folder)
        usual = time.monotonic() - started
        for _ in range(count):
            yield _disturbed(case, folder, expected, usual, chance)


def _disturbed(case: Case, folder: Path, expected: object, usual: float, chance: random.Random) -> str | None:
    shared = _shared_memory()
    process = _start(case, folder)
    time.sleep(chance.uniform(0, usual))
    kind = chance.choice((signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGKILL))
    family = [process.pid]
    if kind == signal.SIGKILL:
        family += [child.pid for child in _descendants(process.pid)]
    victim = chance.choice(family)
    with suppress(ProcessLookupError):
        os.kill(victim, kind)
    if case.until_ready and victim != process.pid:
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
    what = f"{kind.name} to {'it' if victim == process.pid else 'a child'}"
    try:
        process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        return f"{what}: it went on"
    if left := _left(folder, shared):
        return f"{what}: {left}"
    if kind != signal.SIGKILL and (files := _files(folder)):  # who is killed cannot tidy
        return f"{what}: files are left: {files}"
    results = _undisturbed(case, folder)
    if results != expected:
        return f"{what}: the next call gave {results!r:.200}"
    files = _files(folder)
    return f"{what}: the next call left {files}" if files else None


def _left(folder: Path, shared: set[Path]) -> str | None:
    deadline = time.monotonic() + GRACE
    while (alive := _marked(folder)) and time.monotonic() < deadline:
        time.sleep(0.1)
    if alive:
        return f"processes are left: {alive}"
    if more := _shared_memory() - shared:
        return f"shared memory is left: {sorted(path.name for path in more)}"
    return None


def _files(folder: Path) -> list[str]:
    """Temporary files of the verb's."""
    parts = [path.name for path in folder.rglob("*") if path.name.endswith(FILE_SUFFIX)]
    return parts + [path.name for path in (folder / "tmp").iterdir()]


def _shared_memory() -> set[Path]:
    """Named shared memory, but for the semaphores of whatever Python program else runs on the machine."""
    return {path for path in Path("/dev/shm").iterdir() if not path.name.startswith("sem.mp-")}


def _start(case: Case, folder: Path) -> subprocess.Popen[str]:
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(folder / "tmp"),
        "MWW_LEASE_DIR": str(folder),
        _MARK: str(folder),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    words = [sys.executable, "-m", "harness.cli", *case.words]
    pipe = subprocess.PIPE
    return subprocess.Popen(words, env=environment, stdout=pipe, stderr=pipe, text=True, cwd=folder)


def _undisturbed(case: Case, folder: Path) -> object:
    process = _start(case, folder)
    if case.until_ready:
        assert process.stdout is not None
        text = ""
        while not text.rstrip().endswith("}"):
            line = process.stdout.readline()
            if not line:
                return f"it did not start: {process.communicate()[1]}"
            text += line
        process.terminate()
        process.communicate()
    else:
        text, error = process.communicate()
        if process.returncode:
            return f"exit {process.returncode}: {text[-500:]} {error[-300:]}"
    return case.result(text)


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _marked(folder: Path) -> list[str]:
    results = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(_MARK) == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                results.append(f"{process.pid} {' '.join(process.cmdline())[-60:]}")
        except psutil.Error:
            continue
    return results


def published() -> Path:
    """The folder of the published models."""
    import pymicro_wakeword

    return Path(pymicro_wakeword.__file__).parent / "models"


def _run(folder: Path, target: str) -> Case:
    from harness.clips.npz import write_archive

    chance = np.random.default_rng(0)
    length = 12_000 if target == "emulator" else 3_000
    clips = [(f"clip {number}", chance.integers(-128, 127, (length, 40)).astype(np.int8)) for number in range(6)]
    write_archive(folder / "clips.npz", clips)
    words = ["run", str(published() / "okay_nabu.json"), "--features", str(folder / "clips.npz"), "--target", target]

    def outputs(text: str) -> object:
        return [clip["outputs_sha256"] for clip in json.loads(text)["clips"]]

    return Case([*words, "--report", str(folder / "report"), "--resume", "--json"], outputs)


def _flash(folder: Path) -> Case:
    from harness.virtual.process import VirtualBoard

    board = VirtualBoard(state=folder / "flashed", transport="rfc2217")
    words = ["flash", "--port", board.port, "--model", str(published() / "okay_nabu.json"), "--firmware", "virtual"]

    def result(text: str, board: VirtualBoard = board) -> object:  # holds the board, which ends with the case
        return json.loads(text)["verified"]

    return Case([*words, "--json"], result)


def _export(folder: Path, more: Sequence[str]) -> Case:
    from exporter.recover import recover, write_recovered
    from mww.tflite.model_file import read_model

    recovered = recover(read_model(published() / "okay_nabu.tflite"))
    write_recovered(recovered, folder / "trained.weights.h5", config=None, ranges=folder / "ranges.json")
    words = ["export", "--checkpoint", str(folder / "trained.weights.h5"), "--output", str(folder / "exported")]
    words += ["--calibration-ranges", str(folder / "ranges.json"), "--name", "trained", "--json"]
    return Case([*words, *more], lambda text: json.loads(text)["model_sha256"])
