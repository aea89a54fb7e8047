"""`mww export`: one document, the right exit code, and nothing half done."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pymicro_wakeword
import pytest

from harness.cli import execute, mww
from mww.core.resources import fixtures_dir
from tests.support.needs import needs_tensorflow, needs_tflm
from tests.support.waiting import PATIENCE

MODEL = Path(pymicro_wakeword.__file__).parent / "models" / "hey_jarvis.tflite"
FEATURES = fixtures_dir() / "calibration" / "features.npz"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recovered") / "hey_jarvis.weights.h5"
    ranges = path.with_name("ranges.json")
    assert execute(mww, ["recover", str(MODEL), "--output", str(path), "--ranges-output", str(ranges)]) == 0
    return path


def _error(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "mww.error/1"
    error: dict[str, str] = document["error"]
    return error


def test_one_document_tells_all_and_nothing_else_is_said(
    checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["export", "--checkpoint", str(checkpoint), "--output", str(tmp_path / "out"), "--name", "jarvis", "--json"]
    words += ["--calibration", str(FEATURES), "--author", "me", "--chip", "esp32s3", "--chip", "esp32"]
    words += ["--probability-cutoff", "0.9", "--language", "en", "--language", "de", "--sliding-window-size", "7"]
    assert execute(mww, words) == 0
    captured = capfd.readouterr()
    document = json.loads(captured.out)
    assert captured.err == ""
    assert document["schema"] == "mww.export/1"
    assert document["compatible"] is True
    assert document["converter"] == "direct"
    assert document["architecture"]["mixconv_kernel_sizes"] == [[5], [9], [13], [21]]
    assert document["calibration"]["clips"] == 640
    assert document["calibration"]["input_zero_point"] == -128
    assert document["arena"]["chips"].keys() == {"esp32s3", "esp32"}
    assert document["arena"]["chips"]["esp32s3"]["fits"] is True
    manifest = json.loads(Path(document["manifest"]).read_text())
    assert manifest["author"] == "me"
    assert manifest["trained_languages"] == ["en", "de"]
    assert manifest["micro"]["probability_cutoff"] == 0.9
    assert manifest["micro"]["sliding_window_size"] == 7
    assert manifest["micro"]["tensor_arena_size"] == document["arena"]["manifest_size"]


def test_a_failed_check_is_exit_1_and_leaves_nothing(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = tmp_path / "noise.npz"
    np.savez(noise, features=np.random.default_rng(0).integers(0, 300, (40, 30, 40)).astype(np.uint16))
    words = ["export", "--checkpoint", str(checkpoint), "--output", str(tmp_path / "out"), "--calibration", str(noise)]
    assert execute(mww, [*words, "--json"]) == 2
    assert _error(capsys)["code"] == "calibration"
    assert execute(mww, [*words, "--allow-small-calibration"]) == 1
    captured = capsys.readouterr()
    assert "FAIL  highest-output" in captured.out
    assert "calibrated with 40 clips" in captured.err
    assert not (tmp_path / "out").exists()


@needs_tflm
def test_the_cutoff_can_be_chosen_by_clips(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = tmp_path / "clips"
    shutil.copytree(fixtures_dir() / "clips" / "hey_jarvis" / "positive", clips / "positive")
    shutil.copytree(fixtures_dir() / "clips" / "negative", clips / "negative")
    words = ["export", "--checkpoint", str(checkpoint), "--output", str(tmp_path / "out"), "--json"]
    words += ["--calibration-ranges", str(checkpoint.with_name("ranges.json")), "--cutoff-from", str(clips)]
    assert execute(mww, [*words, "--target-recall", "0.6"]) == 0
    document = json.loads(capsys.readouterr().out)
    manifest = json.loads(Path(document["manifest"]).read_text())
    assert manifest["micro"]["probability_cutoff"] == document["probability_cutoff"] == document["cutoff"]["cutoff"]
    assert document["cutoff"]["at"]["recall"]["value"] >= 0.6
    assert len(document["cutoff"]["sweep"]) == 256
    assert execute(mww, [*words, "--probability-cutoff", "0.9"]) == 2
    capsys.readouterr()
    words.remove("--json")
    assert execute(mww, [*words, "--target-recall", "0.6"]) == 0
    assert " of 3; 95 %" in capsys.readouterr().out


def test_calibration_and_ranges_exclude_each_other(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ranges = str(checkpoint.with_name("ranges.json"))
    words = ["export", "--checkpoint", str(checkpoint), "--output", str(tmp_path), "--calibration-ranges", ranges]
    assert execute(mww, [*words, "--calibration", str(FEATURES), "--json"]) == 2
    assert _error(capsys)["code"] == "usage"


def test_a_missing_checkpoint_is_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["export", "--checkpoint", str(tmp_path / "no.weights.h5"), "--output", str(tmp_path / "out"), "--json"]
    assert execute(mww, words) == 2
    assert _error(capsys)["code"] == "checkpoint"


@needs_tensorflow
def test_an_interrupt_is_exit_130_and_leaves_nothing(checkpoint: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "harness.cli", "export", "--checkpoint", str(checkpoint), "--output"]
    words += [str(tmp_path / "out"), "--converter", "tensorflow"]  # the slower one
    with subprocess.Popen(words, stderr=subprocess.PIPE) as process:
        maps = Path(f"/proc/{process.pid}/maps")
        while "pywrap_tensorflow" not in maps.read_text():  # in the middle of it, on any machine
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert b"Traceback" not in errors
    assert not (tmp_path / "out").exists()


def test_help_needs_no_tensorflow() -> None:
    code = "import sys, exporter.tflite; exporter.tflite.main(['--help']); sys.exit('tensorflow' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert answer.returncode == 0
    assert "--calibration-ranges" in answer.stdout
