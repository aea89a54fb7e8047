"""What `mww run` really writes: by the published schema, whole, comparable, and never on a board that is taken."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from harness.boards.leases import hold_port
from harness.cli import execute, mww
from harness.virtual.process import VirtualBoard

SCHEMA = json.loads((Path(__file__).parents[3] / "docs/reference/run.schema.json").read_text())


@pytest.fixture(autouse=True)
def _no_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


def _run(model: Path, clips: Path, report: Path, *options: str) -> int:
    return execute(mww, ["run", str(model), "--wav", str(clips), "--lead-in", "1", "--report", str(report), *options])


def _document(report: Path) -> dict:
    document = json.loads((report / "run.json").read_text())
    jsonschema.validate(document, SCHEMA)
    for file in document["files"]:
        assert hashlib.sha256((report / file["name"]).read_bytes()).hexdigest() == file["sha256"]
    assert isinstance(document, dict)
    return document


def test_emulated_and_virtual_runs_are_equal_but_for_where_they_ran(
    models: Path, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, spoken = models / "okay_nabu.json", clips / "okay_nabu"
    assert _run(model, spoken, tmp_path / "emulated") == 0
    assert _run(model, spoken, tmp_path / "virtual", "--target", "virtual") == 0
    emulated, virtual = _document(tmp_path / "emulated"), _document(tmp_path / "virtual")
    assert emulated["golden"] is None and virtual["golden"]["origin"] == "worker"
    assert emulated["evaluation"]["at"]["recall"]["hits"] == len(emulated["clips"])
    with np.load(tmp_path / "virtual" / "outputs.npz", allow_pickle=False) as outputs:
        result = hashlib.sha256(outputs["0/0/outputs"].tobytes()).hexdigest()
    assert result == virtual["clips"][0]["outputs_sha256"]
    capsys.readouterr()
    code = execute(mww, ["compare-runs", str(tmp_path / "emulated"), str(tmp_path / "virtual"), "--json"])
    (compared,) = json.loads(capsys.readouterr().out)["runs"]
    assert compared["results"] == []
    assert {"what": "target", "a": "emulator", "b": "virtual"} in compared["conditions"]
    assert (code, compared["clips"]) == (0, [])


def test_a_csv_labels_clips_that_no_folder_does(models: Path, clips: Path, tmp_path: Path) -> None:
    wav = next((clips / "okay_nabu" / "positive").iterdir())
    (tmp_path / "clip.wav").write_bytes(wav.read_bytes())
    (tmp_path / "labels.csv").write_text("clip,label,end_s\nclip.wav,positive,0.5\n")
    options = ("--labels", str(tmp_path / "labels.csv"))
    assert _run(models / "okay_nabu.json", tmp_path / "clip.wav", tmp_path / "report", *options) == 0
    evaluation = _document(tmp_path / "report")["evaluation"]
    assert (evaluation["at"]["recall"]["hits"], evaluation["delay"]["clips"]) == (1, 1)


def test_in_ci_the_summary_goes_to_the_job_s_page(
    models: Path, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    assert _run(models / "okay_nabu.json", clips / "okay_nabu", tmp_path / "report") == 0
    assert "Wake words: ✅ pass" in (tmp_path / "summary").read_text()


def test_a_board_in_use_is_left_alone(
    models: Path, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    holding = (
        "import sys\nfrom harness.boards.leases import hold_port\n"
        "with hold_port(sys.argv[1], purpose='a soak'):\n    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    with (
        VirtualBoard() as board,
        subprocess.Popen(
            [sys.executable, "-c", holding, board.port], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other,
    ):
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        words = ["--target", board.port]
        assert _run(models / "okay_nabu.json", clips / "okay_nabu", tmp_path / "report", *words) == 2
        assert "(a soak)" in capsys.readouterr().err
        other.communicate("")
        with hold_port(board.port, purpose="ours"):
            assert _run(models / "okay_nabu.json", clips / "okay_nabu", tmp_path / "report", *words) == 0
