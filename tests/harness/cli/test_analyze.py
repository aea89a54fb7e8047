from __future__ import annotations

import json
from pathlib import Path

import pymicro_wakeword
import pytest

from harness.cli import execute, mww

MODELS = Path(pymicro_wakeword.__file__).parent / "models"
ALEXA, HEY_JARVIS = MODELS / "alexa.tflite", MODELS / "hey_jarvis.tflite"


def test_analyze_prints_text_or_json_and_writes_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(mww, ["analyze", str(ALEXA)]) == 0
    assert "Streaming state" in capsys.readouterr().out
    page = tmp_path / "alexa.html"
    assert execute(mww, ["analyze", str(ALEXA), "--html", str(page), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "mww.analyze/1"
    assert document["html"] == str(page)
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_compare_prints_text_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(mww, ["compare", str(ALEXA), str(ALEXA)]) == 0
    assert "identical" in capsys.readouterr().out
    assert execute(mww, ["compare", str(ALEXA), str(HEY_JARVIS), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "mww.compare/1"
    assert document["identical"] is False
    assert document["a"]["parameters"] > document["b"]["parameters"]


def test_garbage_is_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    garbage = tmp_path / "garbage.tflite"
    garbage.write_bytes(b"garbage")
    assert execute(mww, ["analyze", str(garbage), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["schema"] == "mww.error/1"
    assert execute(mww, ["compare", str(ALEXA), str(garbage)]) == 2
