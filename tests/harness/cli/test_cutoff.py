from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.cli import execute, mww
from harness.cli.cutoff import snippet
from harness.run.cutoff import CutoffChoice, choose_cutoff
from harness.run.evaluation.statistics import SweepPoint, binomial_proportion, poisson_rate
from mww.esphome.contract import cutoff_of
from mww.esphome.model import load_model


@pytest.fixture
def labelled(clips: Path, tmp_path: Path) -> Path:
    for kind, name in {"positive": "okay_nabu/positive", "negative": "negative"}.items():
        shutil.copytree(clips / name, tmp_path / "clips" / kind)
    return tmp_path / "clips"


@pytest.fixture
def manifest(models: Path, tmp_path: Path) -> Path:
    for suffix in (".json", ".tflite"):
        shutil.copy(models / f"okay_nabu{suffix}", tmp_path)
    return tmp_path / "okay_nabu.json"


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = execute(mww, ["cutoff", *map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_it_writes_the_cutoff_and_nothing_else(
    manifest: Path, labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = json.loads(manifest.read_text())
    code, document = run(capsys, manifest, "--clips", labelled)
    assert (code, document["written"]) == (0, False)
    assert json.loads(manifest.read_text()) == before
    code, document = run(capsys, manifest, "--clips", labelled, "--max-false-accepts-per-hour", 0, "--write")
    assert (code, document["written"]) == (0, True)
    before["micro"]["probability_cutoff"] = document["choice"]["cutoff"]
    assert json.loads(manifest.read_text()) == before
    assert document["choice"] == document["levels"]["slightly"]
    assert len(document["sweep"]) == 256


def test_a_csv_labels_the_clips_of_one_folder(
    manifest: Path, labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, expected = run(capsys, manifest, "--clips", labelled)
    lines = [f"{path.name},{kind}" for kind in ("positive", "negative") for path in (labelled / kind).iterdir()]
    (csv := tmp_path / "labels.csv").write_text("\n".join(["clip,label", *lines]))
    flat = tmp_path / "flat"
    for kind in ("positive", "negative"):
        shutil.copytree(labelled / kind, flat, dirs_exist_ok=True)
    code, document = run(capsys, manifest, "--clips", flat, "--labels", csv)
    assert (code, document["choice"], document["lead_in"]) == (0, expected["choice"], 1.0)
    csv.write_text("\n".join(["clip,label", *(line for line in lines if line.endswith("positive"))]))
    code, document = run(capsys, manifest, "--clips", flat, "--labels", csv)
    assert (code, "labels no clip as negative" in document["error"]["message"]) == (2, True)


def test_wishes_that_contradict_and_those_that_no_cutoff_grants(
    manifest: Path, labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, document = run(
        capsys, manifest, "--clips", labelled, "--target-recall", 0.5, "--max-false-accepts-per-hour", 1
    )
    assert (code, document["error"]["code"]) == (2, "usage")
    shutil.copy(labelled / "positive" / "en-us-f2-160.wav", labelled / "negative")
    for extra in ("en-us-klatt-160.wav", "joe.wav"):
        shutil.copy(labelled / "positive" / extra, labelled / "negative")
    code, document = run(capsys, manifest, "--clips", labelled, "--max-false-accepts-per-hour", 0)
    assert (code, document["error"]["code"]) == (1, "cutoff")


def points(hours: float) -> tuple[SweepPoint, ...]:
    """The lower the cutoff, the more of both."""
    return tuple(
        SweepPoint(byte, cutoff_of(byte), binomial_proportion(255 - byte, 255), poisson_rate((250 - byte) // 20, hours))
        for byte in range(1, 251)
    )


def test_levels_are_as_sensitive_as_their_limits_allow() -> None:
    sweep = points(hours=10)
    choice = CutoffChoice(0.5, 127, 0.9, None, sweep[126], sweep)
    counts = {name: point.false_accepts.count for name, point in choice.levels.items()}
    assert counts == {"slightly": 0, "moderately": 3, "very": 7}
    assert choice.levels["very"].cutoff < choice.levels["moderately"].cutoff < choice.levels["slightly"].cutoff


def test_the_snippet_is_yaml_with_a_line_for_each_level(models: Path, labelled: Path) -> None:
    choice = choose_cutoff(load_model(models / "okay_nabu.json"), labelled)
    (select,) = yaml.safe_load(snippet(choice, "okay nabu"))["select"]
    assert select["options"] == ["Slightly sensitive", "Moderately sensitive", "Very sensitive"]
    (action,) = select["on_value"]["then"]
    assert action["lambda"].count("id(okay_nabu).set_probability_cutoff(") == 3
