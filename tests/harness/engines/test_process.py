from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psutil
import pymicro_wakeword
import pytest

from harness.check import check
from harness.engines.process import EngineProcess, started_ahead
from mww.core.errors import EngineError
from tests.support.needs import INTERPRETERS, engine_params
from tests.support.waiting import PATIENCE

MODELS = Path(pymicro_wakeword.__file__).parent / "models"
OKAY_NABU = (MODELS / "okay_nabu.tflite").read_bytes()
FRAME_BYTES = 120


pytestmark = pytest.mark.usefixtures("real_children")


def frames(number: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).integers(-128, 128, number * FRAME_BYTES, np.int8).tobytes()


@pytest.fixture
def tflm() -> Iterator[EngineProcess]:
    with EngineProcess("tflm", deadline=PATIENCE) as engine:
        engine.load(OKAY_NABU)
        yield engine


def gone(pid: int) -> bool:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


def test_tflm_gives_what_the_package_gives(tflm: EngineProcess) -> None:
    code = """
import sys, numpy as np
from tflite_micro import runtime
interpreter = runtime.Interpreter.from_file(sys.argv[1])
frames = np.frombuffer(sys.stdin.buffer.read(), np.int8).reshape(-1, 1, 3, 40)
for frame in frames:
    interpreter.set_input(frame, 0)
    interpreter.invoke()
    sys.stdout.buffer.write(interpreter.get_output(0).tobytes())
"""
    given = frames(2500)
    words = [sys.executable, "-c", code, str(MODELS / "okay_nabu.tflite")]
    expected = subprocess.run(words, input=given, capture_output=True, check=True).stdout
    assert tflm.infer(given) == expected
    assert tflm.inferences == 2500


def test_the_parent_never_loads_an_interpreter() -> None:
    code = """
import sys
from harness.engines.process import EngineProcess
with EngineProcess("tflm") as engine:
    engine.load(open(sys.argv[1], "rb").read())
    assert len(engine.infer(bytes(120))) == 1
print("tflite_micro" in sys.modules)
"""
    words = [sys.executable, "-c", code, str(MODELS / "okay_nabu.tflite")]
    result = subprocess.run(words, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


@pytest.mark.parametrize("name", INTERPRETERS)
def test_state_never_passes_from_one_clip_to_the_next(name: str, spoken: tuple[npt.NDArray[np.int8], ...]) -> None:
    first, second = (clip[60 : 60 + 3 * 60].tobytes() for clip in spoken)
    with EngineProcess(name) as engine:
        engine.load(OKAY_NABU)
        alone = engine.infer(second)
        engine.reset()
        assert max(alone) > 0
        assert engine.infer(first) != alone
        assert engine.infer(second) != alone
        engine.reset()
        assert engine.infer(second) == alone
        engine.reset()
        assert b"".join(engine.infer(second[n : n + FRAME_BYTES]) for n in range(0, len(second), FRAME_BYTES)) == alone


@pytest.mark.parametrize("name", engine_params("tflite-runtime", "litert"))
def test_the_reference_resolver_is_within_one_of_the_device(
    name: str, tflm: EngineProcess, spoken: tuple[npt.NDArray[np.int8], ...]
) -> None:
    given = np.concatenate(spoken)[: sum(map(len, spoken)) // 3 * 3].tobytes()
    with EngineProcess(name) as engine:
        engine.load(OKAY_NABU)
        outputs, expected = (np.frombuffer(e.infer(given), np.uint8).astype(int) for e in (engine, tflm))
    assert expected.max() > 0
    assert np.abs(outputs - expected).max() <= 1


@pytest.mark.parametrize("name", INTERPRETERS)
def test_a_model_that_an_engine_refuses_is_one_error_and_the_next_one_loads(name: str) -> None:
    broken = bytearray(OKAY_NABU)
    position = broken.index(b"stream")
    broken[position - 400 : position] = bytes(400)
    with EngineProcess(name) as engine:
        with pytest.raises(EngineError):
            engine.load(bytes(broken))
        engine.load(OKAY_NABU)
        assert len(engine.infer(frames(3))) == 3


def test_a_crash_names_signal_and_inference_and_reset_mends_it(tflm: EngineProcess) -> None:
    before = tflm.infer(frames(10))
    pid = tflm.pid
    assert pid is not None
    os.kill(pid, signal.SIGSEGV)
    with pytest.raises(EngineError, match="ended by SIGSEGV at inference 10") as caught:
        tflm.infer(frames(5))
    assert caught.value.inference == 10
    assert tflm.pid is None
    with pytest.raises(EngineError):
        tflm.infer(frames(1))
    tflm.reset()
    assert tflm.infer(frames(10)) == before


def test_a_real_model_that_crashes_tflm_is_one_error_and_the_next_one_runs(models: Path, tflm: EngineProcess) -> None:
    crashing = bytearray((models / "hey_jarvis.tflite").read_bytes())
    crashing[45030] = 1  # a bias that says it is 16 MB larger than its buffer
    tflm.load(bytes(crashing))
    with pytest.raises(EngineError, match="ended by SIGSEGV at inference 0"):
        tflm.infer(frames(5))
    tflm.load(OKAY_NABU)
    assert len(tflm.infer(frames(5))) == 5


def test_a_hang_ends_at_the_deadline_and_leaves_no_process() -> None:
    with EngineProcess("tflm", deadline=1.0) as engine:
        engine.load(OKAY_NABU)
        pid = engine.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(EngineError, match="did not answer within 1 s at inference 0"):
            engine.infer(frames(5))
        assert gone(pid)


def test_frames_that_do_not_fit_the_model_are_refused(tflm: EngineProcess) -> None:
    with pytest.raises(EngineError, match="119 bytes of frames for a model that takes 120"):
        tflm.infer(frames(1)[1:])


def test_a_child_ends_with_its_parent_even_in_native_code_that_never_returns() -> None:
    child = (
        "from harness.engines.worker import end_with_parent; end_with_parent(); print(flush=True); sum(range(10**14))"
    )
    parent = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {child!r}], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        process.kill()
        process.wait()
        assert gone(pid)


def test_a_folder_that_shadows_the_package_does_not_reach_the_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "harness").mkdir()
    (tmp_path / "harness" / "__init__.py").write_text("raise SystemExit('shadowed')")
    monkeypatch.chdir(tmp_path)
    with EngineProcess("tflm") as engine:
        engine.load(OKAY_NABU)
        assert len(engine.infer(frames(1))) == 1


def test_a_process_that_cannot_be_started_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(EngineError, match="cannot start a process for engine tflm: No such file"):
        EngineProcess("tflm")


def test_many_loads_leave_nothing_behind(tflm: EngineProcess) -> None:
    assert tflm.pid is not None
    child, given = psutil.Process(tflm.pid), frames(1)
    sizes = []
    for _ in range(3):
        for _ in range(100):
            tflm.load(OKAY_NABU)
            tflm.infer(given)
        sizes.append((child.memory_info().rss, child.num_fds()))
    assert sizes[2][0] - sizes[1][0] < 2**20
    assert sizes[2][1] == sizes[0][1]


def test_a_process_is_renewed_before_what_its_engine_loses_adds_up(
    tflm: EngineProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.engines.process.RENEWAL", 3)
    pids, outputs = [], set()
    for _ in range(5):
        tflm.reset()
        pids.append(tflm.pid)
        outputs.add(tflm.infer(frames(5)))
    assert pids[0] == pids[1] != pids[2] == pids[3] == pids[4]
    assert len(outputs) == 1


def test_a_process_that_was_started_ahead_is_taken_and_one_too_many_ends(models: Path) -> None:
    before = psutil.Process().children()
    with started_ahead("tflm", 2):
        ahead = [child.pid for child in psutil.Process().children() if child not in before]
        with EngineProcess("tflm") as engine:
            assert engine.pid in ahead
            engine.load((models / "okay_nabu.tflite").read_bytes())
    assert psutil.Process().children() == before


def test_a_process_is_passed_on_to_the_next_engine_and_ends_at_last(models: Path) -> None:
    before = psutil.Process().children()
    outputs = []
    with started_ahead("tflm", 0):
        pids = []
        for name in ("okay_nabu", "alexa", "okay_nabu"):
            engine = EngineProcess("tflm")
            engine.load((models / f"{name}.tflite").read_bytes())
            outputs.append(engine.infer(frames(5)))
            pids.append(engine.pid)
            engine.close()
        assert len(set(pids)) == 1
        assert outputs[0] == outputs[2]
    assert psutil.Process().children() == before
    EngineProcess("tflm").close()
    assert psutil.Process().children() == before


def test_nothing_is_started_ahead_of_an_engine_that_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.engines.process.util.find_spec", lambda name: None)
    before = psutil.Process().children()
    with started_ahead("tflm"):
        assert psutil.Process().children() == before


def test_what_a_process_has_made_counts_for_the_next_engine_too(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.engines.process.RENEWAL", 2)
    pids = []
    with started_ahead("tflm", 0):
        for _ in range(3):
            engine = EngineProcess("tflm")
            engine.load((models / "okay_nabu.tflite").read_bytes())
            pids.append(engine.pid)
            engine.close()
    assert pids[0] == pids[1] != pids[2]


def test_a_check_leaves_no_process_behind(models: Path, spoken: tuple[npt.NDArray[np.int8], ...]) -> None:
    before = set(psutil.Process().children(recursive=True))
    check(models / "okay_nabu.json", {"a": spoken[0]}, engine="litert", vad=models / "alexa.json")
    assert set(psutil.Process().children(recursive=True)) <= before
