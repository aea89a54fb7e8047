from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import pymicro_wakeword
import pytest

from harness.cli import execute, mww

OKAY_NABU = Path(pymicro_wakeword.__file__).parent / "models" / "okay_nabu.tflite"


def test_a_published_model_holds(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(mww, ["verify", str(OKAY_NABU)]) == 0
    assert "runs on ESPHome" in capsys.readouterr().out


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(mww, ["verify", str(OKAY_NABU), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "mww.verify/1"
    assert document["compatible"] is True
    assert set(document["checks"][0]) == {"id", "status", "message", "hint", "expected", "found"}


def test_a_broken_rule_is_exit_1_and_garbage_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = OKAY_NABU.read_bytes()
    other_scale = tmp_path / "other.tflite"
    scale = bytes.fromhex("d1d0d03d")  # 0.101960786, float32
    assert scale in content
    other_scale.write_bytes(content.replace(scale, bytes.fromhex("9a99193e")))
    assert execute(mww, ["verify", str(other_scale), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert "input-scale" in {check["id"] for check in document["checks"] if check["status"] == "fail"}

    truncated = tmp_path / "truncated.tflite"
    truncated.write_bytes(content[:5000])
    assert execute(mww, ["verify", str(truncated), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "model-file"


def test_strict_makes_a_warning_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = OKAY_NABU.read_bytes()
    doubtful = tmp_path / "doubtful.tflite"
    doubtful.write_bytes(content.replace(bytes.fromhex("d1d0d03d"), struct.pack("<f", 26 / 255 * 1.005)))
    assert execute(mww, ["verify", str(doubtful)]) == 0
    assert "warn  input-scale" in capsys.readouterr().out
    assert execute(mww, ["verify", str(doubtful), "--strict", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["compatible"] is False
    assert [check["id"] for check in document["checks"] if check["status"] != "pass"] == ["input-scale"]


def test_the_module_is_the_same_command() -> None:
    command = [sys.executable, "-m", "exporter.verification", str(OKAY_NABU.with_suffix(".json")), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    document = json.loads(done.stdout)
    assert document["schema"] == "mww.verify/1"
    assert "manifest-arena" in {check["id"] for check in document["checks"]}


def test_verify_loads_nothing_heavy() -> None:
    heavy = ["tensorflow", "keras", "h5py", "rich", "jinja2", "esptool", "serial", "yaml"]
    script = (
        "import sys; from harness.cli import execute, mww; "
        f"assert execute(mww, ['verify', {str(OKAY_NABU)!r}]) == 0; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
