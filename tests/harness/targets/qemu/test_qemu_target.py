"""`--target qemu` from image to verdict, on a stand-in that is as strict as QEMU; see tests/support/qemu_system.py."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from harness.check import check
from harness.cli import execute, mww
from harness.targets.registry import TargetOptions, open_target
from harness.virtual.chips import find_chip
from harness.virtual.factory import factory_image
from mww.core.errors import ImageError, QemuError
from tests.support import qemu_system
from tests.support.plugin import ALONE
from tests.support.waiting import PATIENCE, have_ended, wait_for


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a firmware for each chip; QEMU's stand-in is in the path, and its files are in `files`."""
    qemu_system.install(tmp_path / "bin", QEMU_STANDIN_RECORD=str(tmp_path / "words"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    for name in ("MWW_QEMU", "MWW_QEMU_FIRMWARE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "files").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "files"))
    for chip in ("esp32", "esp32s3", "esp32c3"):
        (tmp_path / f"{chip}.bin").write_bytes(factory_image(find_chip(chip)))
    return tmp_path


@pytest.mark.parametrize("chip", ["esp32", "esp32s3", "esp32c3"])
def test_a_run_from_image_to_verdict(here: Path, models: Path, clips: Path, chip: str) -> None:
    clip = sorted((clips / "okay_nabu").rglob("*.wav"))[0]
    result = check(models / "okay_nabu.json", clip, target=f"qemu:{here / chip}.bin", lead_in=1.0)
    assert (result.verdict, result.target.kind, result.target.chip) == ("pass", "qemu", chip)
    assert dict(result.target.versions)["qemu"] == "0.0.0 (stand-in)"
    assert result.clips[0].latency_us is None  # though the stand-in's firmware says one, as QEMU's would
    assert result.clips[0].detections
    assert list((here / "files").iterdir()) == []
    assert "-M" in (here / "words").read_text().split("\0")


def test_the_environment_may_name_the_firmware(
    here: Path, models: Path, clips: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = sorted((clips / "okay_nabu").rglob("*.wav"))[0]
    words = ["run", str(models / "okay_nabu.json"), "--wav", str(clip), "--target", "qemu", "--json"]
    assert execute(mww, words) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert "mww firmware esp32-s3-devkitc" in error["hint"]
    monkeypatch.setenv("MWW_QEMU_FIRMWARE", str(here / "esp32.bin"))
    assert execute(mww, words) == 0
    assert json.loads(capsys.readouterr().out)["target"]["chip"] == "esp32"


def test_without_qemu_it_is_exit_2_with_how_to_get_it(
    models: Path, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MWW_QEMU", str(tmp_path))
    words = ["run", str(models / "okay_nabu.json"), "--wav", str(clips), "--target", "qemu", "--json"]
    assert execute(mww, words) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "qemu-missing"
    assert "idf_tools.py install qemu-xtensa" in error["hint"]


def test_a_firmware_that_does_not_boot_shows_its_log(here: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_app = (here / "esp32s3.bin").read_bytes()[:0x10000].ljust(4 << 20, b"\xff")
    monkeypatch.setattr("harness.targets.qemu.target.merge_flash", lambda *_: no_app)
    with pytest.raises(QemuError, match="does not answer") as error:
        open_target(f"qemu:{here / 'esp32s3.bin'}", TargetOptions(timeout=30))
    assert "No bootable app partitions" in str(error.value.hint)
    assert list((here / "files").iterdir()) == []


def test_another_qemu_says_what_it_lacks(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = here / "debian" / "qemu-system-xtensa"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'qemu: unsupported machine type' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("MWW_QEMU", str(program))
    with pytest.raises(QemuError, match="QEMU does not start: qemu: unsupported machine type") as error:
        open_target(f"qemu:{here / 'esp32s3.bin'}", TargetOptions())
    assert "Espressif" in str(error.value.hint)


def test_what_is_no_firmware_is_refused_before_anything_starts(here: Path) -> None:
    (here / "text.bin").write_text("no firmware")
    with pytest.raises(ImageError, match="no factory image"):
        open_target(f"qemu:{here / 'text.bin'}", TargetOptions())
    assert not (here / "words").exists()


_HOLD = """
import sys, tempfile, time
tempfile.tempdir = sys.argv[2]
from harness.targets.registry import TargetOptions, open_target
target = open_target(sys.argv[1], TargetOptions())
target.info()
print("up", flush=True)
time.sleep(600)
"""


def test_a_killed_run_leaves_neither_qemu_nor_its_files(here: Path) -> None:
    words = [sys.executable, "-c", _HOLD, f"qemu:{here / 'esp32s3.bin'}", str(here / "files")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 2
        process.send_signal(signal.SIGKILL)
    assert have_ended(children)
    wait_for(lambda: not list((here / "files").iterdir()))


def test_an_operator_is_looked_for_in_qemu(
    here: Path, models: Path, clips: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = sorted((clips / "okay_nabu").rglob("*.wav"))[0]
    words = ["bisect", str(models / "okay_nabu.json"), "--wav", str(clip), "--target", f"qemu:{here / 'esp32s3.bin'}"]
    assert execute(mww, [*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["schema"] == "mww.bisect/1"
    assert list((here / "files").iterdir()) == []


def test_tests_run_in_qemu(here: Path, models: Path) -> None:
    (here / "test_it.py").write_text(
        "import pytest\n"
        "@pytest.mark.mww_hardware\n"
        "def test_it(mww_target, mww_model):\n"
        "    assert mww_target.load(mww_model).used > 0\n"
        "    assert mww_target.info().kind == 'qemu'\n"
    )
    words = [sys.executable, "-m", "pytest", *ALONE, "-q", "-p", "no:cacheprovider"]
    words += ["test_it.py", "--mww-target", f"qemu:{here / 'esp32.bin'}", "--mww-model", str(models / "okay_nabu.json")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[4]), *sys.path])}
    done = subprocess.run(
        words, cwd=here, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert "1 passed" in done.stdout, done.stdout
