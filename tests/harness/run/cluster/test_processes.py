"""Clips shared out to processes of this machine give what one process gives, whatever ends meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.check import check, check_models
from harness.clips.clip import ArrayClip, AudioClip, Clip, audio_clips
from harness.clips.feature_cache import SIZE_VARIABLE
from harness.clips.npz import write_archive
from harness.clips.sources import ClipSource
from harness.run.cluster import processes
from harness.run.cluster.parcels import Parcel, PlacedFile, pack
from harness.run.judging import Observed
from harness.run.options import RunOptions
from harness.run.recording import record
from harness.run.results import RunResult
from harness.run.workbench import Setup
from harness.targets.registry import TargetOptions
from mww.core.children import start_child
from mww.core.errors import EngineError
from mww.core.resources import fixtures_dir
from mww.esphome.model import load_model
from tests.support.waiting import PATIENCE

OPTIONS = RunOptions(engine="exact", jobs=2)
FEATURES = np.random.default_rng(0).integers(-128, 128, (6, 600, 40), np.int8)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The processes that were started, however short the clips."""
    result: list[subprocess.Popen[bytes]] = []

    def start(module: str) -> subprocess.Popen[bytes]:
        result.append(start_child(module))
        return result[-1]

    monkeypatch.setattr(processes, "WORTH", 1e-9)
    monkeypatch.setattr(processes, "start_child", start)
    return result


@pytest.fixture
def helped(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The clips that another process has run."""
    result: list[str] = []
    run = processes.Helper.run

    def noted(helper: processes.Helper, clips: Sequence[Clip], stopped: Callable[[], bool]) -> Iterator[Observed]:
        for clip, observed in zip(clips, run(helper, clips, stopped), strict=True):
            result.append(clip.name)
            yield observed

    monkeypatch.setattr(processes.Helper, "run", noted)
    return result


def timeless(result: RunResult) -> RunResult:
    return replace(result, started="", seconds=0)


@pytest.mark.parametrize("kind", ["sound", "file", "arrays"])
def test_the_results_are_those_of_one_process(
    kind: str, models: Path, tmp_path: Path, started: list[subprocess.Popen[bytes]], helped: list[str]
) -> None:
    loaded = [load_model(models / f"{name}.json") for name in ("okay_nabu", "alexa")]
    named = {f"clip {number}": features for number, features in enumerate(FEATURES)}
    write_archive(tmp_path / "clips.npz", named.items())
    sources: dict[str, ClipSource] = {
        "sound": [fixtures_dir() / "clips"],
        "file": tmp_path / "clips.npz",
        "arrays": named,
    }
    clips = sources[kind]
    results = check_models(loaded, clips, OPTIONS)
    assert len(started) == 1
    assert helped
    assert started[0].returncode == 0
    alone = check_models(loaded, clips, replace(OPTIONS, jobs=1))
    assert list(map(timeless, results)) == list(map(timeless, alone))


def test_a_clip_whose_file_has_changed_meanwhile_is_sent(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = sorted((fixtures_dir() / "clips").rglob("*.wav"))[:4]
    clips = audio_clips(files)
    monkeypatch.setattr(processes, "pack", lambda clip: _placed_wrongly(clip, files[0], files[2]))
    helper = processes.Helper(2)
    try:
        helper.open(
            Setup(load_model(models / "okay_nabu.json"), TargetOptions(engine="exact"), None, None, None, None),
            "emulator",
        )
        observed = list(helper.run(clips, lambda: False))
    finally:
        helper.close()
    alone = check(models / "okay_nabu.json", files, engine="exact")
    assert [len(item.outputs) for item in observed] == [clip.inferences for clip in alone.clips]
    assert [item.streamed.frames_sha256 for item in observed] == [clip.frames_sha256 for clip in alone.clips]


def _placed_wrongly(clip: Clip, *wrong: Path) -> Parcel | None:
    """Where a clip is; for some, as their file was before it changed."""
    parcel = pack(clip)
    assert isinstance(clip, AudioClip)
    assert isinstance(parcel, AudioClip)
    assert isinstance(parcel.path, PlacedFile)
    return replace(parcel, path=replace(parcel.path, size=1)) if clip.path in wrong else parcel


def test_outputs_from_elsewhere_are_compared_with_the_golden_that_is_here(
    models: Path, tmp_path: Path, started: list[subprocess.Popen[bytes]], helped: list[str]
) -> None:
    golden = tmp_path / "golden.npz"
    record(load_model(models / "okay_nabu.json"), [fixtures_dir() / "clips"], golden)
    result = check(models / "okay_nabu.json", golden, engine="exact", jobs=2)
    assert result.verdict == "pass"
    assert helped
    assert {clip.mismatches for clip in result.clips} == {0}


def test_a_process_that_dies_loses_no_clip(models: Path, started: list[subprocess.Popen[bytes]]) -> None:
    def progress(model: str, done: int, total: int) -> None:
        if done == 1:
            started[0].kill()

    named = {f"clip {number}": features for number, features in enumerate(FEATURES)}
    model = load_model(models / "okay_nabu.json")
    (result,) = check_models([model], named, replace(OPTIONS, progress=progress))
    (alone,) = check_models([model], named, replace(OPTIONS, jobs=1))
    assert [clip.outputs_sha256 for clip in result.clips] == [clip.outputs_sha256 for clip in alone.clips]
    assert {warning.partition(" was lost")[0] for warning in result.warnings} <= {"emulator in process 2"}


class _Failing:
    """Raises where it is read, in a process that then takes its time to end."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("__import__('atexit').register(__import__('time').sleep, 60) and 1 / 0",)


def test_a_process_that_fails_is_gone_though_it_takes_long_to_end(models: Path) -> None:
    helper = processes.Helper(2)
    try:
        options = TargetOptions(engine=_Failing())  # type: ignore[arg-type]
        helper.open(Setup(load_model(models / "okay_nabu.json"), options, None, None, None, None), "emulator")
        (observed,) = helper.run([ArrayClip("clip", FEATURES[0])] * 2, lambda: False)
        assert isinstance(observed.streamed.error, EngineError)
        assert helper.gone()
    finally:
        helper.close()


def test_no_process_is_started_for_what_is_done_before_it_would_be_there(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "start_child", None)
    assert check(models / "okay_nabu.json", [fixtures_dir() / "clips"], engine="exact", jobs=2).verdict == "pass"


_INTERRUPTED = """
import sys
from harness.run.cluster import processes
from harness.run.cluster.parcels import Parcel, PlacedFile, pack
processes.WORTH = 1e-9
from harness.cli import main
main(sys.argv[1:])
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux, whose /proc names the children")
def test_an_interrupt_ends_all_of_them(models: Path, tmp_path: Path) -> None:
    for number in range(8):
        with wave.open(str(tmp_path / f"{number}.wav"), "wb") as file:
            file.setparams((1, 2, 16000, 0, "NONE", ""))
            file.writeframes(np.random.default_rng(number).integers(-9000, 9000, 16000 * 600, np.int16).tobytes())
    words = ["run", str(models / "okay_nabu.json"), "--wav", str(tmp_path), "--engine", "exact", "--jobs", "2"]
    program = subprocess.Popen(
        [sys.executable, "-c", _INTERRUPTED, *words],
        env=os.environ | {SIZE_VARIABLE: "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    children = Path(f"/proc/{program.pid}/task/{program.pid}/children")
    while not (pids := children.read_text().split()) and program.poll() is None:
        time.sleep(0.05)
    time.sleep(0.5)
    program.send_signal(signal.SIGINT)
    _, errors = program.communicate(timeout=PATIENCE)
    assert program.returncode == 130
    assert b"Traceback" not in errors
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
