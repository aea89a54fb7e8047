"""`mww arena`: what scripts and people get for a model, a manifest and a measured run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pymicro_wakeword
import pytest

from harness.cli import execute, mww
from mww.esphome.chips import CHIP_NAMES
from mww.tflite.model_file import read_model
from mww.tflm.runtime import newest_esp_nn

MODELS = Path(pymicro_wakeword.__file__).parent / "models"
ALEXA = MODELS / "alexa.json"  # tensor_arena_size 22348; minimum 22144 on the esp32s3, 16144 on the esp32


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """A copy of alexa that may be written to."""
    (tmp_path / "alexa.tflite").write_bytes((MODELS / "alexa.tflite").read_bytes())
    path = tmp_path / "alexa.json"
    path.write_text(ALEXA.read_text())
    return path


def arena(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON document of `mww arena`."""
    code = execute(mww, ["arena", *map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


def run_json(path: Path, **changes: Any) -> Path:
    """The result of a run of alexa on a board, with some of its fields changed."""
    content: dict[str, Any] = {
        "schema": "mww.run/1",
        "verdict": "pass",
        "target": {"kind": "device", "chip": "esp32s3", "engine": "tflm", "versions": {}},
        "model_sha256": read_model(MODELS / "alexa.tflite").sha256,
        "arena": {"used": 22140, "size": 22176, "source": "measured", "manifest": 22348, "fits": True},
        "clips": [],
    }
    path.write_text(json.dumps({**content, **changes}))
    return path


def test_a_model_gives_figures_for_every_chip_and_no_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    code, document = arena(capsys, MODELS / "alexa.tflite")
    assert code == 0
    assert document["schema"] == "mww.arena/1"
    assert document["runtime"] == {"esp-tflite-micro": "1.3.3~1", "esp-nn": "1.1.2"}
    assert list(document["chips"]) == list(CHIP_NAMES)
    assert "manifest_size" not in document
    figures = document["chips"]["esp32s3"]
    assert [figures[name] for name in ("used", "head", "tail", "minimum")] == [22140, 9616, 12524, 22144]
    assert figures["probe"] is None
    assert sum(figures["breakdown"].values()) == figures["used"]
    assert "fits" not in figures


def test_a_size_for_the_probe_is_no_verdict_on_a_bare_model(capsys: pytest.CaptureFixture[str]) -> None:
    code, document = arena(capsys, MODELS / "alexa.tflite", "--chip", "esp32s3", "--manifest-size", 22348)
    assert (code, document["chips"]["esp32s3"]["probe"]) == (0, 22176)
    code, document = arena(capsys, MODELS / "alexa.tflite", "--chip", "esp32s3", "--manifest-size", 1000)
    assert (code, document["chips"]["esp32s3"]["probe"]) == (0, 0)


def test_a_manifest_is_judged_on_the_asked_chips(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, document = arena(capsys, manifest)
    assert (code, document["manifest_size"]) == (0, 22348)
    assert all(chip["fits"] for chip in document["chips"].values())
    code, document = arena(capsys, manifest, "--manifest-size", 20000)
    assert (code, document["manifest_size"]) == (1, 20000)
    assert [chip for chip, figures in document["chips"].items() if not figures["fits"]] == ["esp32s3", "esp32p4"]
    code, document = arena(capsys, manifest, "--manifest-size", 20000, "--chip", "esp32", "--chip", "esp32c6")
    assert (code, list(document["chips"])) == (0, ["esp32", "esp32c6"])


def test_people_get_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(mww, ["arena", str(ALEXA)]) == 0
    text = capsys.readouterr().out
    for part in ("alexa.json", "22,144", "204 spare", "esp32p4", "streaming state", "esp-nn 1.1.2"):
        assert part in text


def test_a_measured_run_writes_its_use_and_a_tenth_into_the_manifest(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run_json(tmp_path / "run.json")
    code, document = arena(capsys, manifest, "--from-run", result)
    assert code == 0
    assert document["from_run"] == {"used": 22140, "tensor_arena_size": 24368, "written": False}
    assert manifest.read_text() == ALEXA.read_text()
    code, document = arena(capsys, manifest, "--from-run", result, "--write")
    assert (code, document["manifest_size"], list(document["chips"])) == (0, 24368, ["esp32s3"])
    expected = json.loads(ALEXA.read_text())
    expected["micro"]["tensor_arena_size"] = 24368  # 22140 * 1.1 = 24354, up to 16
    assert json.loads(manifest.read_text()) == expected


def test_a_size_too_small_for_other_chips_is_said(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = {"used": 16140, "size": 16176, "source": "measured"}
    result = run_json(tmp_path / "run.json", arena=measured, target={"chip": "esp32"})
    assert execute(mww, ["arena", str(manifest), "--from-run", str(result), "--write", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["manifest_size"] == 17760
    assert "too few on esp32s3, esp32p4" in captured.err


def test_the_run_of_one_model_is_found_in_a_set(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = json.loads(run_json(tmp_path / "one.json").read_text())
    other = {**first, "model_sha256": "0" * 64, "arena": None}
    result = tmp_path / "run.json"
    result.write_text(json.dumps({"schema": "mww.run-set/1", "verdict": "pass", "runs": [other, first]}))
    code, document = arena(capsys, manifest, "--from-run", result, "--write")
    assert (code, document["from_run"]["used"]) == (0, 22140)


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"schema": "mww.arena/1"}, "schema must be"),
        ({"model_sha256": "0" * 64}, "another model"),
        ({"model_sha256": None}, "another model"),
        ({"arena": {"used": 22140, "source": "predicted"}}, "not measured"),
        ({"arena": {"used": 22140}}, "not measured"),
        ({"arena": {"used": -1, "source": "measured"}}, "arena.used must be"),
        ({"arena": {"used": True, "source": "measured"}}, "arena.used must be"),
        ({"arena": {"used": 10**12, "source": "measured"}}, "arena.used must be"),
        ({"arena": {"used": "22140", "source": "measured"}}, "arena.used must be"),
        ({"arena": [22140]}, "arena must be an object (keys with values), not [22140]"),
        ({"arena": None}, "arena must be an object (keys with values), but is missing"),
    ],
)
def test_a_run_that_measured_nothing_for_this_model_is_refused(
    changes: dict[str, Any], reason: str, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, document = arena(capsys, manifest, "--from-run", run_json(tmp_path / "run.json", **changes), "--write")
    assert code == 2
    assert reason in document["error"]["message"]
    assert manifest.read_text() == ALEXA.read_text()


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 100_000, "\xff", '{"schema": "mww.run-set/1", "runs": 5}'])
def test_garbage_for_a_run_is_refused(
    text: str, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = tmp_path / "run.json"
    result.write_bytes(text.encode("latin-1"))
    assert arena(capsys, manifest, "--from-run", result, "--write")[0] == 2
    assert arena(capsys, manifest, "--from-run", tmp_path, "--write")[0] == 2
    assert arena(capsys, manifest, "--from-run", tmp_path / "absent.json", "--write")[0] == 2


def test_usage_errors_are_exit_2(manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        (manifest, "--write"),
        (MODELS / "alexa.tflite", "--from-run", run_json(tmp_path / "run.json")),
        (manifest, "--chip", "esp8266"),
        (manifest, "--manifest-size", "-5"),
        (manifest, "--manifest-size", "many"),
    ):
        code, document = arena(capsys, *arguments)
        assert (code, document["error"]["code"]) == (2, "usage")


def test_what_cannot_be_read_is_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text("{}")
    for path, code in ((tmp_path / "absent.tflite", "model-file"), (broken, "manifest"), (tmp_path, "model-file")):
        exit_code, document = arena(capsys, path)
        assert (exit_code, document["error"]["code"]) == (2, code)


def test_another_runtime_takes_the_default_s_place(capsys: pytest.CaptureFixture[str]) -> None:
    code, document = arena(capsys, ALEXA, "--runtime", "esp-nn=1.2.1", "--chip", "esp32s3")
    assert code == 1
    assert document["runtime"] == {"esp-tflite-micro": "1.3.3~1", "esp-nn": "1.2.1"}
    assert document["chips"]["esp32s3"]["minimum"] == 30112
    assert "runtimes" not in document


def test_a_release_that_pins_no_esp_nn_gives_both_builds(capsys: pytest.CaptureFixture[str]) -> None:
    code, document = arena(capsys, ALEXA, "--esphome", "2026.3.3", "--chip", "esp32s3")
    assert code == 0
    runtimes = document["runtimes"]
    assert [entry["runtime"]["esp-nn"] for entry in runtimes] == ["1.1.1", newest_esp_nn()]
    assert [entry["basis"] for entry in runtimes] == ["measured", "unseen"]
    assert [entry["chips"]["esp32s3"]["fits"] for entry in runtimes] == [True, True]
    assert {key: document[key] for key in ("runtime", "basis", "chips")} == runtimes[0]


def test_a_release_that_is_newer_than_the_data_gets_the_newest_pins_and_a_warning(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert execute(mww, ["arena", str(ALEXA), "--esphome", "2099.12.0", "--json"]) == 0
    written = capsys.readouterr()
    assert json.loads(written.out)["runtime"] == {"esp-tflite-micro": "1.3.3~1", "esp-nn": "1.1.2"}
    assert "2099.12.0 is newer than the data" in written.err


def test_people_get_one_row_for_runtimes_that_are_alike(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(mww, ["arena", str(ALEXA), "--runtime", "all"]) == 1
    message = " ".join(capsys.readouterr().out.split())
    assert "1.3.3~1 1.1.0, 1.1.1, 1.1.2, 1.2.0, 1.2.0~1 16,144 22,144 22,128" in message
    assert "1.3.3~1 1.2.1, 1.2.2 16,144 30,112, 7,764 short 22,128" in message
    assert "1.3.3~1 1.2.3 16,144 30,144, 7,796 short 22,128" in message
    assert "1.3.4, 1.3.5, 1.3.7, 1.3.8, 1.4.0, 1.4.1, 1.4.2, 1.4.3 1.5.0* 16,144 22,176 18,320" in message
    assert "* The source of this version was not examined" in message
