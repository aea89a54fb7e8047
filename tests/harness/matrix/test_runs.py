"""Runs that are on record, in the row of the versions that their target told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pymicro_wakeword import __file__ as package

from harness.matrix.findings import Finding, choose_rows, row_of
from harness.matrix.prediction import predict, read_subject
from harness.matrix.runs import judge_runs, take_runs
from harness.report.run_document import read_runs
from mww.core.errors import InputError
from mww.esphome.contract import RuntimeVersions
from mww.tflite.model_file import read_model

ALEXA = Path(package).parent / "models" / "alexa.json"
GOOD, WRONG = "a" * 64, "b" * 64


def recorded(folder: Path, esphome: str, esp_nn: str, outputs: str = GOOD, **changes: Any) -> Path:
    """A report's folder with the run of alexa on an ESP32-S3 that was flashed with such a build."""
    versions = {"esphome": esphome, "esp-tflite-micro": "1.3.3~1", "esp-nn": esp_nn}
    passed = outputs == GOOD
    clip = {
        **{"name": "clip.wav", "status": "pass" if passed else "fail", "error": None, "inferences": 99},
        **{"outputs_sha256": outputs, "mismatches": 0 if passed else 7, "max_abs_difference": 0 if passed else 31},
        **{"detections": [], "latency_us": None},
    }
    content = {
        "schema": "mww.run/1",
        "verdict": clip["status"],
        "model": "alexa",
        "model_sha256": read_model(ALEXA.with_suffix(".tflite")).sha256,
        "target": {"kind": "device", "chip": "esp32s3", "engine": "tflm", "versions": versions},
        "arena": {"used": 22140, "size": 22176, "source": "measured", "manifest": 22348, "fits": True},
        "clips": [clip],
        **changes,
    }
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps(content))
    return folder


def found(*folders: Path) -> list[Finding]:
    """What a matrix of these runs alone finds in them."""
    subject = read_subject(str(ALEXA), "alexa")
    taken = take_runs(folders, [subject])
    rows = choose_rows((), (), [item.run for item in taken])
    return list(judge_runs(taken, [subject], rows, predict(subject, rows, ["esp32s3"])[0]))


def test_a_run_stands_in_the_row_of_its_release(tmp_path: Path) -> None:
    (run,) = read_runs(recorded(tmp_path / "a", "2026.4.0b2", "1.2.1"))
    row = row_of(run)
    assert (row.esphome, row.runtime, row.pinned) == ("2026.4.0b2", RuntimeVersions("1.3.3~1", "1.2.1"), True)
    (other,) = read_runs(recorded(tmp_path / "b", "2027.1.0-dev", "1.2.1"))
    assert row_of(other).pinned is None  # of a release that nobody looked at


def test_outputs_that_changed_with_the_library_are_told(tmp_path: Path) -> None:
    newer = recorded(tmp_path / "new", "2026.4.0b3", "1.1.2")
    wrong = recorded(tmp_path / "wrong", "2026.4.0b2", "1.2.1", outputs=WRONG)
    lost, repaired = found(newer, wrong)
    assert (lost.row, lost.holds, repaired.row, repaired.holds) == (0, False, 1, True)
    assert lost.said == "fail, 1 of 1 clip"
    assert lost.details == ("arena: 22,140 bytes measured, 30,108 predicted",)
    assert repaired.details[0] == "verdict: fail -> pass"
    assert repaired.details[1].startswith("clip clip.wav: status, outputs_sha256")


def test_a_run_of_another_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a run of another model"):
        found(recorded(tmp_path / "a", "2026.6.5", "1.1.2", model_sha256="0" * 64))


@pytest.mark.parametrize("lie", [{"verdict": "maybe"}, {"verdict": "pass"}, {"clips": [{"name": "a", "status": "ok"}]}])
def test_a_run_that_contradicts_itself_is_refused(tmp_path: Path, lie: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"(verdict|status) must be|inferences is") as error:
        found(recorded(tmp_path / "a", "2026.6.5", "1.1.2", outputs=WRONG, **lie))
    assert error.value.hint


def test_two_runs_in_one_place_are_refused(tmp_path: Path) -> None:
    folders = [recorded(tmp_path / name, "2026.6.5", "1.1.2") for name in "ab"]
    with pytest.raises(InputError, match="same place"):
        found(*folders)


def test_qemu_is_another_place_than_a_board(tmp_path: Path) -> None:
    board = recorded(tmp_path / "board", "2026.6.5", "1.1.2")
    target = {"kind": "qemu", "chip": "esp32s3", "engine": "tflm"}
    versions = {"esphome": "2026.6.5", "esp-tflite-micro": "1.3.3~1", "esp-nn": "1.1.2"}
    emulated = recorded(tmp_path / "qemu", "", "", target={**target, "versions": versions})
    assert [item.row for item in found(board, emulated)] == [0, 1]
    assert row_of(read_runs(emulated)[0]).label == "ESPHome 2026.6.5, qemu, esp-nn 1.1.2"


def test_a_pc_is_no_release(tmp_path: Path) -> None:
    versions = {"tflite-micro": "0.dev"}
    target = {"kind": "emulator", "chip": "esp32s3", "engine": "tflm", "versions": versions}
    (finding,) = found(recorded(tmp_path / "a", "", "", target=target))
    assert finding.holds
    (run,) = read_runs(tmp_path / "a")
    assert row_of(run).label == "emulator, tflite-micro 0.dev"
