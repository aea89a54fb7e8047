"""Boards and disks that fail while `harness.check` runs: never wrong numbers, only the clip that was hit is lost."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from benchmarks.reliability.processes import ROOT, published
from harness.check import check, check_models
from harness.run.options import RunOptions
from harness.virtual.process import VirtualBoard
from mww.core.errors import GONE_CODES, MwwError
from mww.core.scratch import FILE_SUFFIX
from mww.esphome.model import load_model

CLIPS = 4
FRAMES = 300


def try_faults(kind: str, count: int, seed: int) -> Iterator[str | None]:
    """Run on `count` boards with a random fault of a kind; yields what was lost, or None."""
    chance = random.Random(f"{kind} {seed}")
    model = published() / "okay_nabu.json"
    noise = np.random.default_rng(seed)
    clips = {f"clip {number}": noise.integers(-128, 127, (3 * FRAMES, 40)).astype(np.int8) for number in range(CLIPS)}
    for _ in range(count):
        faults = _faults(kind, chance)
        with VirtualBoard(faults=faults, transport=_TRANSPORTS.get(kind, "socket")) as board:
            try:
                statuses = [clip.status for clip in check(model, clips, target=board.port).clips]
            except MwwError as error:
                yield f"{faults}: nothing ran: {error.message}"
                continue
        yield None if statuses in _allowed(kind) else f"{faults}: {statuses}"


def _faults(kind: str, chance: random.Random) -> Sequence[str]:
    seed = f"seed={chance.randrange(1 << 30)}"
    if kind == "noise on the line":
        names = chance.sample(("corrupt", "drop", "duplicate", "log"), chance.randrange(1, 5))
        return [seed, *(f"{name}={chance.uniform(0.001, 0.03):.3f}" for name in names)]
    at = chance.randrange(CLIPS * FRAMES)
    return [seed, f"{kind.split()[1].rstrip(',')}={at}"]


def _allowed(kind: str) -> list[list[str]]:
    results = [["pass"] * index + ["error"] + ["pass"] * (CLIPS - index - 1) for index in range(CLIPS)]
    return {
        "noise on the line": [["pass"] * CLIPS],
        "a reboot": [*results, ["pass"] * CLIPS],  # at the last inference nobody is left to notice
        "a hang, control lines": [*results, ["pass"] * CLIPS],
        "a hang": [["pass"] * index + ["error"] * (CLIPS - index) for index in range(CLIPS + 1)],
        "a wrong output": [["pass"] * index + ["fail"] + ["pass"] * (CLIPS - index - 1) for index in range(CLIPS)],
    }[kind]


FAULTS = ("noise on the line", "a reboot", "a hang", "a hang, control lines", "a wrong output")
_TRANSPORTS = {"a hang, control lines": "rfc2217"}


def try_deaths(count: int, seed: int) -> Iterator[str | None]:
    """Kill one of two boards that share clips, at a random moment; the other must do all, and a warning say so."""
    chance = random.Random(f"deaths {seed}")
    model = load_model(published() / "okay_nabu.json")
    clips = {f"clip {number}": np.full((3 * FRAMES, 40), number, np.int8) for number in range(3 * CLIPS)}
    for _ in range(count):
        with VirtualBoard(inference_us=200) as mortal, VirtualBoard(inference_us=200) as other:
            assert mortal.pid is not None
            clock = threading.Timer(chance.uniform(1.5, 3.5), os.kill, [mortal.pid, signal.SIGKILL])
            options = RunOptions(target=mortal.port, more_targets=(other.port,))
            clock.start()
            try:
                (result,) = check_models([model], clips, options)
            except MwwError as error:  # it died before there was a first answer
                yield None if error.code in GONE_CODES else f"nothing ran: {error.message}"
                continue
            finally:
                clock.join()
        yield None if result.verdict == "pass" else f"{[clip.status for clip in result.clips]}"


def try_renaming(count: int, seed: int) -> Iterator[str | None]:
    """Unplug a board in a random clip and plug it in under another name; that clip is lost, and the later ones run."""
    chance = random.Random(f"renaming {seed}")
    model = published() / "okay_nabu.json"
    clips = {f"clip {number}": np.full((3 * FRAMES, 40), number, np.int8) for number in range(CLIPS)}
    for _ in range(count):
        at = chance.randrange(1, CLIPS)
        yield _renamed(model, clips, at)


def _renamed(model: Path, clips: dict[str, npt.NDArray[np.int8]], at: int) -> str | None:
    from serial.tools import list_ports

    with tempfile.TemporaryDirectory(prefix="mww-renamed-") as scratch, ExitStack() as stack:
        boards = [VirtualBoard(state=Path(scratch), transport="pty")]
        stack.callback(lambda: [board.close() for board in boards])
        first_name = boards[0].port

        def comports() -> list[SimpleNamespace]:
            usb = {"serial_number": "7C:DF:A1", "vid": 0x303A, "pid": 0x1001, "product": "", "location": ""}
            return [SimpleNamespace(device=boards[-1].port, **usb)]

        def progress(name: str, done: int, total: int) -> None:
            if done == at:
                boards[-1].close()
                for handle in os.openpty():  # takes the old name
                    stack.callback(os.close, handle)
                boards.append(VirtualBoard(state=Path(scratch), transport="pty"))

        usual, list_ports.comports = list_ports.comports, comports
        stack.callback(setattr, list_ports, "comports", usual)
        statuses = [clip.status for clip in check(model, clips, target=first_name, progress=progress).clips]
    expected = ["pass"] * CLIPS
    expected[at] = "error"
    return None if statuses == expected and boards[-1].port != first_name else f"{statuses}"


def try_full_disk(count: int, seed: int) -> Iterator[str | None]:
    """Let the disk be full while a report is written; the old report stays, and `--resume` ends the run."""
    if os.geteuid() != 0:
        return
    chance = random.Random(seed)
    for _ in range(count):
        with tempfile.TemporaryDirectory(prefix="mww-full-") as scratch:
            size = chance.randrange(16, 64) << 10
            mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", scratch], check=False)
            if mounted.returncode:
                return
            try:
                yield _full(Path(scratch), size)
            finally:
                subprocess.run(["umount", scratch], check=True)


def _full(folder: Path, size: int) -> str | None:
    report = folder / "report"
    report.mkdir()
    (report / "run.json").write_text("the old one")
    wav = sorted((ROOT / "fixtures" / "clips" / "okay_nabu").rglob("*.wav"))[:2]
    words = ["run", str(published() / "okay_nabu.json"), "--lead-in", "1", "--report", str(report), "--json"]
    words += [word for path in wav for word in ("--wav", str(path))]
    filler = folder / "filler"
    filler.write_bytes(bytes(size - (12 << 10)))
    first = _mww(words)
    if first.returncode != 2 or json.loads(first.stdout)["schema"] != "mww.error/1":
        return f"a full disk gave exit {first.returncode}: {first.stdout[:100]}{first.stderr[-200:]}"
    if (report / "run.json").read_text() != "the old one":
        return "the old report is gone"
    if left := [path.name for path in report.iterdir() if path.name.endswith(FILE_SUFFIX)]:
        return f"files are left: {left}"
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,size=8m", str(folder)], check=True)
    second = _mww([*words, "--resume"])
    return None if second.returncode == 0 else f"the next run gave exit {second.returncode}: {second.stderr[-200:]}"


def _mww(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness.cli", *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
