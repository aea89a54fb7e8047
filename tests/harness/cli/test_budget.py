"""Several models on one device, added up."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.cli import execute, mww
from harness.report.run_document import run_document
from mww.core.resources import published_models
from mww.tflite.model_file import read_model
from mww.tflm.arena import predict_arena
from tests.support.run_results import clip, run, speech

MODELS = published_models()


def budget(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, Any]]:
    code = execute(mww, ["budget", *map(str, words), "--json"])
    return code, json.loads(capsys.readouterr().out)


def manifest(folder: Path, name: str, **micro: object) -> Path:
    content = json.loads((MODELS / f"{name}.json").read_text())
    content["micro"] |= micro
    (folder / f"{name}.tflite").write_bytes((MODELS / f"{name}.tflite").read_bytes())
    (path := folder / f"{name}.json").write_text(json.dumps(content))
    return path


def codes(document: dict[str, Any], chip: str = "esp32s3") -> set[str]:
    return {finding["code"] for finding in document["chips"][chip]["findings"]}


def test_models_are_added_up_and_the_first_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    code, document = budget(capsys, MODELS / "okay_nabu.json", MODELS / "alexa.json", "--chip", "esp32s3")
    assert code == 0
    chip = document["chips"]["esp32s3"]
    assert chip["fits"] is True
    assert [model["name"] for model in chip["models"]] == ["okay_nabu", "alexa"]
    for model in chip["models"]:
        path = MODELS / f"{model['name']}.tflite"
        size = json.loads(path.with_suffix(".json").read_text())["micro"]["tensor_arena_size"]
        assert model["flash"] == path.stat().st_size
        assert model["arena"] == predict_arena(path, "esp32s3", manifest_size=size).probe
        assert model["variables"] == 1024
        assert model["basis"] == "estimated"
        assert model["share"] == pytest.approx(model["inference_ms"] / 30, abs=1e-3)
    assert chip["total"]["flash"] == sum(model["flash"] for model in chip["models"])
    assert chip["total"]["ram"] == sum(model["arena"] + 1024 for model in chip["models"])
    (order,) = (finding for finding in chip["findings"] if finding["code"] == "only-first-enabled")
    assert "(okay_nabu)" in order["message"] and "alexa" in order["message"]


def test_a_chip_without_a_published_time_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    code, document = budget(capsys, MODELS / "alexa.json", "--chip", "esp32c3")
    assert code == 0
    assert codes(document, "esp32c3") == {"time-unknown"}
    assert document["chips"]["esp32c3"]["total"]["share"] is None


def test_a_run_on_a_board_gives_measured_times(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = speech(3.0, 2.0)
    clips = tuple(clip(name, outputs, microseconds=25_000) for name in ("a", "b", "c"))
    sha256 = read_model(MODELS / "alexa.tflite").sha256
    board = run(clips)
    recorded = replace(board, model_sha256=sha256, target=replace(board.target, chip="esp32c3"))
    (tmp_path / "run.json").write_text(json.dumps(run_document([recorded])))
    words = ("--chip", "esp32c3", "--run", tmp_path / "run.json")
    code, document = budget(capsys, MODELS / "alexa.json", *words)
    (model,) = document["chips"]["esp32c3"]["models"]
    assert (code, model["basis"]) == (0, "measured")
    assert 25.0 <= model["inference_ms"] < 25.5
    assert codes(document, "esp32c3") == {"time-tight"}


def test_what_cannot_work_together_is_exit_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slow = manifest(tmp_path, "alexa", feature_step_size=20)
    code, document = budget(capsys, MODELS / "okay_nabu.json", slow, "--chip", "esp32s3")
    assert (code, document["chips"]["esp32s3"]["fits"]) == (1, False)
    assert "steps-differ" in codes(document)
    code, document = budget(capsys, slow, "--vad", MODELS / "hey_jarvis.json", "--chip", "esp32s3")
    assert code == 1
    assert "vad-step-wins" in codes(document)
    small = manifest(tmp_path, "hey_mycroft", tensor_arena_size=16_000)
    code, document = budget(capsys, small, "--chip", "esp32s3")
    assert code == 1
    assert "arena-too-small" in codes(document)


def test_many_models_take_more_than_real_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = []
    for number in range(5):
        (tmp_path / f"word{number}.tflite").write_bytes((MODELS / "okay_nabu.tflite").read_bytes())
        paths.append(tmp_path / f"word{number}.tflite")
    code, document = budget(capsys, *paths, "--chip", "esp32s3")
    assert code == 1
    assert {"time", "memory-tight"} <= codes(document)
    assert "memory-tight" not in codes(budget(capsys, *paths, "--chip", "esp32s3", "--psram")[1])


def test_two_models_of_one_name_are_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    code, document = budget(capsys, MODELS / "alexa.json", MODELS / "alexa.tflite")
    assert (code, document["error"]["code"]) == (2, "usage")


def test_people_get_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(mww, ["budget", str(MODELS / "alexa.json"), "--chip", "esp32s3"]) == 0
    text = capsys.readouterr().out
    assert "together" in text and "fits" in text
