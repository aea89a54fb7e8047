"""Manifests made and repaired: ESPHome's own loader takes them, and each change has its reason."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from exporter.manifest import repair_manifest
from harness.cli import execute, mww
from mww.core.errors import ManifestError
from mww.core.resources import published_models
from mww.esphome.manifest import load_manifest
from mww.esphome.manifest_schema import schema_problems
from mww.verification import verify_esphome_compatibility
from tests.support.esphome_env import esphome_python

MODELS = published_models()
GOOD = json.loads((MODELS / "alexa.json").read_text())
SCRIPT = """
import json, sys
from esphome.components.micro_wake_word import MANIFEST_SCHEMA_V2
for path in sys.argv[1:]:
    MANIFEST_SCHEMA_V2(json.load(open(path)))
print("taken")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(MODELS / "alexa.tflite", tmp_path)
    return tmp_path


def write(folder: Path, content: dict[str, Any], name: str = "alexa.json") -> Path:
    (path := folder / name).write_text(json.dumps(content))
    return path


def without(content: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key not in keys}


def micro(**changes: object) -> dict[str, Any]:
    changed = {**GOOD["micro"], **changes}
    return {**GOOD, "micro": {key: value for key, value in changed.items() if value is not ...}}


BROKEN = {
    "version 1 over a version 2 body": ({**GOOD, "version": 1}, {"version"}),
    "version 2 over a version 1 body": (
        {**GOOD, "micro": {"probability_cutoff": 0.9, "sliding_window_average_size": 7}},
        {"sliding_window_size", "feature_step_size", "tensor_arena_size", "minimum_esphome_version"},
    ),
    "a surplus key": ({**GOOD, "trained_by": "me", "micro": {**GOOD["micro"], "arena": 1}}, {"trained_by", "arena"}),
    "figures on the wrong level": (
        {**without(GOOD, "micro"), "micro": {}, **GOOD["micro"]},
        {f"micro.{key}" for key in GOOD["micro"]},
    ),
    "a release of two numbers": (micro(minimum_esphome_version="2024.7"), {"minimum_esphome_version"}),
    "a cutoff in percent": (micro(probability_cutoff=97), {"probability_cutoff"}),
    "a number as text": (micro(tensor_arena_size="30000"), {"tensor_arena_size"}),
    "an arena that is too small": (micro(tensor_arena_size=10_000), {"tensor_arena_size"}),
    "a model by URL": ({**GOOD, "model": "https://example.org/alexa.tflite"}, {"model"}),
    "nothing but the word": ({"wake_word": "Alexa"}, {"type", "version", "model", "author", "trained_languages"}),
    "an empty website": ({**GOOD, "website": ""}, {"website"}),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_esphome_refuses_is_repaired_and_nothing_else_changes(name: str, folder: Path) -> None:
    content, keys = BROKEN[name]
    path = write(folder, content)
    repaired = repair_manifest(path, {})
    assert schema_problems(repaired.content) == ()
    assert keys <= {change.key for change in repaired.changes}
    assert all(change.why for change in repaired.changes)
    for key in ("wake_word", "author", "trained_languages"):
        if key in content:
            assert repaired.content[key] == content[key]
    path.write_text(json.dumps(repaired.content))
    assert verify_esphome_compatibility(path).compatible
    assert repair_manifest(path, {}).changes == ()


def test_esphome_s_own_loader_takes_what_was_made_and_repaired(folder: Path) -> None:
    import subprocess

    paths = []
    for number, (content, _) in enumerate(BROKEN.values()):
        repaired = repair_manifest(write(folder, content), {})
        paths.append(write(folder, repaired.content, f"{number}.json"))
    assert execute(mww, ["manifest", str(folder / "alexa.tflite"), "--output", str(folder / "made.json")]) == 0
    command = [str(esphome_python()), "-c", SCRIPT, *map(str, paths), str(folder / "made.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "taken", done.stderr


def test_good_manifests_stay_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    for path in MODELS.glob("*.json"):
        assert repair_manifest(path, {}).changes == ()
        assert execute(mww, ["manifest", str(path), "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        assert (document["manifest"], document["changes"]) == (None, [])


def test_a_model_gets_a_manifest_with_what_was_asked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--wake-word", "Alexa", "--language", "en", "--language", "de", "--probability-cutoff", "0.9"]
    out = folder / "alexa.json"
    assert execute(mww, ["manifest", str(folder / "alexa.tflite"), *words, "--output", str(out)]) == 0
    manifest = load_manifest(out)
    assert (manifest.wake_word, manifest.trained_languages) == ("Alexa", ("en", "de"))
    assert manifest.probability_cutoff == 0.9
    assert verify_esphome_compatibility(out).compatible


def test_the_given_file_is_never_written_over_unless_asked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(folder, {**GOOD, "version": 1})
    before = path.read_bytes()
    assert execute(mww, ["manifest", str(path)]) == 0
    assert path.read_bytes() == before
    assert json.loads(capsys.readouterr().out)["version"] == 2
    assert execute(mww, ["manifest", str(path), "--output", str(path)]) == 2
    assert path.read_bytes() == before
    assert execute(mww, ["manifest", str(path), "--in-place"]) == 0
    assert json.loads(path.read_text())["version"] == 2


def test_a_manifest_is_only_written_beside_its_model(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "alexa.json"
    assert execute(mww, ["manifest", str(folder / "alexa.tflite"), "--output", str(elsewhere)]) == 2
    assert not elsewhere.exists()


def test_what_cannot_be_repaired_is_an_error_with_every_fault(folder: Path) -> None:
    path = write(folder, {**GOOD, "author": 7, "wake_word": None})
    with pytest.raises(ManifestError, match=r"wake_word must be a string; author must be a string"):
        repair_manifest(path, {})
    (folder / "alexa.tflite").unlink()
    with pytest.raises(ManifestError, match=r"missing|does not name a model"):
        repair_manifest(path, {})


def test_optimize_writes_a_smaller_model_and_the_same_outputs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "small.tflite"
    assert execute(mww, ["optimize", str(write(folder, GOOD)), "--output", str(out), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["size"]["after"] == out.stat().st_size < document["size"]["before"]
    assert all(arena["after"] <= arena["before"] for arena in document["arena"].values())
    assert verify_esphome_compatibility(out).compatible
    assert execute(mww, ["optimize", str(out), "--output", str(out)]) == 2
    assert execute(mww, ["optimize", str(out), "--output", str(out.with_suffix(".json"))]) == 2
    assert "has the name of a manifest" in capsys.readouterr().err
