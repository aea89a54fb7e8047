"""The plugin in real pytest runs, beside pytest-embedded and pytest-xdist."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import pytest
import yaml

from harness.clips.golden import Provenance, RecordedClip, write_golden
from harness.run.allowances import DEFAULT_NAME, Difference, propose, render
from harness.targets.emulator import EmulatorTarget
from harness.virtual.process import VirtualBoard
from mww.esphome.model import load_model
from tests.support.plugin import ALONE, PLUGIN
from tests.support.rack import rack
from tests.support.waiting import PATIENCE

pytest.importorskip("pytest_embedded", reason="needs pytest-embedded, which the extra test installs")


INVENTORY = """
boards:
  - {id: left, chip: esp32s3, serial: plugin-test-1, port: "socket://127.0.0.1:1"}
  - {id: right, chip: esp32s3, serial: plugin-test-2, port: "socket://127.0.0.1:2"}
  - {id: small, chip: esp32, serial: plugin-test-3, port: "socket://127.0.0.1:3"}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "boards.yaml").write_text(INVENTORY)
    (tmp_path / "leases").mkdir()
    monkeypatch.setenv("MWW_LEASE_DIR", str(tmp_path / "leases"))
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    return tmp_path


def _command(*arguments: str, plugins: Sequence[str] = ALONE) -> list[str]:
    return [sys.executable, "-m", "pytest", *plugins, "-q", "-rs", "-p", "no:cacheprovider", *arguments]


def _run(folder: Path, tests: str, *arguments: str, plugins: Sequence[str] = ALONE) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text("import pytest, time, pathlib\n" + tests)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}
    command = _command(*arguments, plugins=plugins)
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def test_by_default_tests_run_on_the_emulator_and_say_so_in_junit(folder: Path, models: Path) -> None:
    tests = "def test_load(mww_target, mww_model):\n    assert mww_target.load(mww_model).used > 0\n"
    words = ("--mww-model", str(models / "okay_nabu.json"), "--junit-xml", "junit.xml", "-o", "junit_family=xunit1")
    done = _run(folder, tests, *words, plugins=PLUGIN)
    assert done.returncode == 0, done.stdout
    case = ElementTree.parse(folder / "junit.xml").find(".//testcase[@name='test_load[okay_nabu]']")
    assert case is not None
    properties = {entry.get("name"): entry.get("value") for entry in case.findall("properties/property")}
    assert (properties["mww_target"], properties["mww_chip"], properties["mww_engine"]) == (
        "emulator",
        "esp32s3",
        "tflm",
    )
    assert "mww_version.tflite-micro" in properties


def test_a_test_can_bring_its_model_and_check_clips(folder: Path, models: Path, clips: Path) -> None:
    tests = (
        f"@pytest.mark.parametrize('mww_model', [{str(models / 'alexa.json')!r}], indirect=True)\n"
        "def test_alexa(mww_check, mww_model):\n"
        f"    result = mww_check(mww_model, {str(clips / 'alexa')!r}, lead_in=1.0)\n"
        "    assert result.verdict == 'pass' and all(clip.detections for clip in result.clips)\n"
    )
    done = _run(folder, tests)
    assert done.returncode == 0, done.stdout


def test_markers_choose_by_target_and_chip(folder: Path) -> None:
    tests = (
        "@pytest.mark.mww_hardware\ndef test_board(mww_board): pass\n"
        "@pytest.mark.mww_esp32\ndef test_small(mww_board): assert mww_board.id == 'small'\n"
        "@pytest.mark.mww_esp32c3\ndef test_other(): pass\n"
    )
    emulated = _run(folder, tests)
    assert "3 skipped" in emulated.stdout
    assert "needs a board: --mww-boards" in emulated.stdout
    boards = _run(folder, tests, "--mww-boards", "boards.yaml")
    assert "2 passed, 1 skipped" in boards.stdout
    assert "needs esp32c3, but the target has esp32, esp32s3" in boards.stdout


def test_what_cannot_be_meant_is_a_usage_error(folder: Path) -> None:
    both = _run(folder, "", "--mww-target", "virtual", "--mww-boards", "boards.yaml")
    assert both.returncode == pytest.ExitCode.USAGE_ERROR
    assert "give one of them" in both.stderr
    (folder / "boards.yaml").write_text("boards: [{id: a, chip: esp32, serail: x}]")
    wrong = _run(folder, "", "--mww-boards", "boards.yaml")
    assert wrong.returncode == pytest.ExitCode.USAGE_ERROR
    assert "did you mean serial" in wrong.stderr


def test_a_board_that_is_not_there_fails_in_two_lines(folder: Path) -> None:
    (folder / "boards.yaml").write_text("boards: [{id: gone, chip: esp32, serial: no-such-serial}]")
    done = _run(folder, "def test_it(mww_board): pass\n", "--mww-boards", "boards.yaml")
    assert done.returncode == 1
    assert "these boards are not connected: gone" in done.stdout
    assert "Traceback" not in done.stdout


_SHARED = """
@pytest.mark.parametrize("number", range(12))
def test_alone(mww_board, number):
    mine = pathlib.Path(f"using-{mww_board.id}")
    mine.mkdir()  # fails when another worker is using this board
    time.sleep(0.1)
    mine.rmdir()
    with open("used", "a") as file:
        file.write(mww_board.id + "\\n")
"""


@pytest.mark.slow
def test_more_workers_than_boards_wait_and_never_share(folder: Path) -> None:
    done = _run(folder, _SHARED, "--mww-boards", "boards.yaml", "--mww-chip", "esp32s3", "-n", "3")
    assert done.returncode == 0, done.stdout
    used = (folder / "used").read_text().split()
    assert (len(used), set(used)) == (12, {"left", "right"})


@pytest.mark.slow
def test_a_killed_run_frees_its_board(folder: Path) -> None:
    (folder / "test_hold.py").write_text(
        "import time\ndef test_hold(mww_board):\n    open('held', 'w').close()\n    time.sleep(100)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}
    options = ("--mww-boards", "boards.yaml", "--mww-chip", "esp32")
    with subprocess.Popen(
        _command("test_hold.py", *options, plugins=PLUGIN),
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    ) as holding:
        while not (folder / "held").exists():
            assert holding.poll() is None
            time.sleep(0.05)
        busy = _run(folder, "def test_it(mww_board): pass\n", "test_it.py", *options, "--mww-wait", "0.5")
        assert f"process {holding.pid} (pytest)" in busy.stdout
        holding.send_signal(signal.SIGKILL)
    freed = _run(folder, "def test_it(mww_board): pass\n", "test_it.py", *options, "--mww-wait", "0.5")
    with contextlib.suppress(ProcessLookupError):  # pytest-embedded's manager process outlives the killed pytest
        os.killpg(holding.pid, signal.SIGKILL)
    assert freed.returncode == 0, freed.stdout


def test_a_dead_board_fails_one_test_and_no_later_one(folder: Path, models: Path) -> None:
    tests = "@pytest.mark.parametrize('number', range(3))\ndef test_it(mww_target, number): pass\n"
    with rack(folder, ["esp32s3"]) as inventory:
        (alive,) = yaml.safe_load(inventory.read_text())["boards"]
        dead = {"id": "dead", "chip": "esp32s3", "serial": "gone", "port": "socket://127.0.0.1:9"}
        inventory.write_text(yaml.safe_dump({"boards": [dead, alive]}))
        done = _run(folder, tests, "--mww-boards", str(inventory))
    assert "2 passed" in done.stdout and "1 error" in done.stdout
    assert "cannot connect to socket://127.0.0.1:9" in done.stdout


def test_a_board_at_a_port_says_itself_which_chip_it_has(folder: Path) -> None:
    tests = """
@pytest.mark.mww_esp32s3
def test_fits(mww_board): assert mww_board.chip == "esp32s3"
@pytest.mark.mww_esp32
def test_does_not_fit(mww_board): pass
"""
    with VirtualBoard() as board:
        done = _run(folder, tests, "--mww-port", board.port)
    assert "1 passed, 1 skipped" in done.stdout, done.stdout
    assert "needs esp32, but the target has esp32s3" in done.stdout


@pytest.mark.slow
def test_a_board_that_hangs_in_a_test_fails_that_test_and_no_later_one(folder: Path, models: Path) -> None:
    tests = f"""
import numpy
@pytest.mark.parametrize("number", range(3))
def test_it(mww_check, number):
    clips = {{"clip": numpy.zeros((60, 40), numpy.int8)}}
    assert mww_check({str(models / "okay_nabu.json")!r}, clips).verdict == "pass"
"""
    with VirtualBoard(faults=["hang=10"]) as hanging, VirtualBoard() as other:
        boards = [
            {"id": name, "chip": "esp32s3", "serial": str(board.pid), "port": board.port}
            for name, board in (("hanging", hanging), ("other", other))
        ]
        (folder / "boards.yaml").write_text(yaml.safe_dump({"boards": boards}))
        done = _run(folder, tests, "--mww-boards", "boards.yaml")
    assert "2 passed" in done.stdout and "1 failed" in done.stdout, done.stdout


def test_loading_the_plugin_is_cheap() -> None:
    code = (
        "import sys, pytest\nbefore = set(sys.modules)\nimport harness.pytest_plugin\n"
        "print(sorted({'numpy', 'yaml', 'serial', 'click', 'jinja2'} & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_installed_package_brings_the_plugin() -> None:
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert '[project.entry-points.pytest11]\nmww = "harness.pytest_plugin"' in project


@pytest.mark.slow
def test_allowances_are_read_from_the_project_and_told_at_the_end(
    folder: Path, models: Path, spoken: tuple[npt.NDArray[np.int8], ...]
) -> None:
    model = load_model(models / "okay_nabu.json")
    with EmulatorTarget() as target:
        target.load(model)
        outputs = target.infer(spoken[0][: len(spoken[0]) // 3 * 3].reshape(-1, 3, 40)).outputs.copy()
        info = target.info()
    outputs[7] ^= 1
    provenance = Provenance(model.name, model.sha256, model.stride, "tflm", info.versions, 1.0)
    write_golden(folder / "golden.npz", provenance, [RecordedClip("okay", spoken[0], outputs)])
    seen = [Difference("okay", 1, 1)]
    allowance = propose(model.name, model.sha256, info, seen, reason="seen on the S3", by="jane", date="2026-07-01")
    tests = (
        "def test_okay(mww_check, mww_model):\n    assert mww_check(mww_model, 'golden.npz').verdict == 'pass'\n"
        "def test_again(mww_check, mww_model):\n    assert mww_check(mww_model, 'golden.npz').verdict == 'pass'\n"
    )
    options = ("--mww-model", str(model.path))
    assert _run(folder, tests, *options).returncode == 1
    (folder / DEFAULT_NAME).write_text(render([allowance]))
    done = _run(folder, tests, *options, "-n", "2")
    assert done.returncode == 0, done.stdout
    assert "okay_nabu: used: it accepts 1 output of 1 clip" in done.stdout
    assert "seen on the S3) [2 tests]" in done.stdout
    assert _run(folder, tests, *options, "--mww-allowances", "absent.yaml").returncode == 1
