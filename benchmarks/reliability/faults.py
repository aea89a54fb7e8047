"""Boards and disks that fail while `harness.check` runs: never wrong numbers, only the clip that was hit is lost."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.reliability.processes import ROOT, published
from exporter.errors import MwwError
from exporter.scratch import FILE_SUFFIX
from harness.check import check
from harness.virtual.process import VirtualBoard

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
        with VirtualBoard(faults=faults) as board:
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
    return [seed, {"a reboot": f"reboot={at}", "a hang": f"hang={at}", "a wrong output": f"wrong={at}"}[kind]]


def _allowed(kind: str) -> list[list[str]]:
    one = [["pass"] * index + ["error"] + ["pass"] * (CLIPS - index - 1) for index in range(CLIPS)]
    return {
        "noise on the line": [["pass"] * CLIPS],
        "a reboot": [*one, ["pass"] * CLIPS],  # at the last inference nobody is left to notice
        "a hang": [["pass"] * index + ["error"] * (CLIPS - index) for index in range(CLIPS + 1)],
        "a wrong output": [["pass"] * index + ["fail"] + ["pass"] * (CLIPS - index - 1) for index in range(CLIPS)],
    }[kind]


FAULTS = ("noise on the line", "a reboot", "a hang", "a wrong output")


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
