"""`mww matrix`: what scripts and people get."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pymicro_wakeword
import pytest

from harness.cli import execute, mww
from mww.esphome.chips import CHIP_NAMES
from mww.tflm.builds import esphome_builds
from tests.harness.matrix.test_runs import WRONG, recorded
from tests.mww.tflm.test_arena_synthetic import depthwise_convolutions

MODELS = Path(pymicro_wakeword.__file__).parent / "models"
PUBLISHED = [MODELS / f"{name}.json" for name in ("alexa", "hey_jarvis", "hey_mycroft", "okay_nabu")]


def matrix(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON document of `mww matrix`."""
    code = execute(mww, ["matrix", *map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_the_history_shows_what_broke_every_published_model_on_the_s3(capsys: pytest.CaptureFixture[str]) -> None:
    code, document = matrix(capsys, *PUBLISHED)
    assert (code, document["schema"], document["verdict"]) == (1, "mww.matrix/1", "fail")
    assert [row["esphome"] for row in document["rows"]] == [build.esphome for build in esphome_builds()]
    fits = {(item["model"], item["row"], item["chip"]): item["fits"] for item in document["arenas"]}
    assert len(fits) == 4 * len(document["rows"]) * len(CHIP_NAMES)
    short = {(model, chip) for (model, row, chip), held in fits.items() if document["rows"][row]["pinned"] and not held}
    on_1_2_1 = [index for index, row in enumerate(document["rows"]) if row["esphome"] == "from 2026.4.0b2"]
    assert len(on_1_2_1) == 1
    assert short >= {(path.stem, "esp32s3") for path in PUBLISHED}
    lost = {(item["model"], item["chip"]) for item in document["changes"] if item["lost"] and item["aspect"] == "arena"}
    assert {(path.stem, "esp32s3") for path in PUBLISHED} <= lost
    at = [item for item in document["arenas"] if item["row"] in on_1_2_1 and item["chip"] == "esp32s3"]
    assert all(item["loads"] and not item["fits"] for item in at)  # by the probe that came with that very release


def test_releases_that_are_alike_hold(capsys: pytest.CaptureFixture[str]) -> None:
    code, document = matrix(capsys, MODELS / "alexa.json", "--esphome", "2026.6.5", "--esphome", "2026.4.0")
    assert (code, document["verdict"], document["changes"]) == (0, "pass", [])
    assert [row["esphome"] for row in document["rows"]] == ["2026.4.0", "2026.6.5"]
    manifest = [item for item in document["findings"] if item["aspect"] == "manifest"]
    assert [item["holds"] for item in manifest] == [True, True]


def test_a_release_older_than_the_manifest_asks_for_does_not_take_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.loads((MODELS / "alexa.json").read_text())
    content["micro"]["minimum_esphome_version"] = "2026.5.0"
    (tmp_path / "alexa.tflite").write_bytes((MODELS / "alexa.tflite").read_bytes())
    (path := tmp_path / "alexa.json").write_text(json.dumps(content))
    code, document = matrix(capsys, path, "--esphome", "2026.4.0", "--esphome", "2026.5.0")
    manifest = [item for item in document["findings"] if item["aspect"] == "manifest"]
    assert [item["holds"] for item in manifest] == [False, True]
    assert code == 0  # it never held before, and holds in the newest


def test_a_model_without_a_manifest_has_figures_and_nothing_to_hold(capsys: pytest.CaptureFixture[str]) -> None:
    code, document = matrix(capsys, MODELS / "alexa.tflite", "--runtime", "1.1.2", "--runtime", "1.2.1")
    assert code == 0
    assert {item["fits"] for item in document["arenas"]} == {None}


def test_what_a_runtime_refuses_does_not_hold_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (model := tmp_path / "no-bias.tflite").write_bytes(depthwise_convolutions())
    versions = ("esp-tflite-micro=1.3.1", "esp-tflite-micro=1.3.8")
    code, document = matrix(capsys, model, *(f"--runtime={item}" for item in versions), "--chip", "esp32s3")
    refused, figures = document["findings"]
    assert (code, refused["holds"], figures["holds"]) == (1, False, None)  # without a manifest nothing fits or not
    assert "no bias" in refused["said"]


def test_a_run_in_the_emulator_is_a_row_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tflite_micro", reason="tflite-micro, the device's own runtime, is not installed")
    import numpy as np

    np.savez(tmp_path / "clips.npz", clip=np.zeros((90, 40), np.int8))
    model = MODELS / "alexa.json"
    code, document = matrix(capsys, model, "--features", tmp_path / "clips.npz", "--esphome", "2026.6.5")
    assert code == 0
    assert [row["esphome"] for row in document["rows"]] == ["2026.6.5", None]
    assert document["rows"][1]["label"].startswith("emulator, tflite-micro")
    (finding,) = (item for item in document["findings"] if item["aspect"] == "run")
    assert (finding["row"], finding["holds"], finding["said"]) == (1, True, "pass, 1 clip")


def test_each_model_is_held_against_its_own_golden(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tflite_micro", reason="tflite-micro, the device's own runtime, is not installed")
    import numpy as np

    np.savez(tmp_path / "clips.npz", clip=np.zeros((90, 40), np.int8))
    goldens = []
    for model in PUBLISHED[:2]:
        goldens.append(golden := tmp_path / f"{model.stem}.npz")
        assert (
            execute(mww, ["record", str(model), "--features", str(tmp_path / "clips.npz"), "--output", str(golden)])
            == 0
        )
    capsys.readouterr()
    asked = [part for golden in goldens for part in ("--golden", golden)]
    code, document = matrix(capsys, *PUBLISHED[:3], *asked, "--chip", "esp32")
    assert code == 0
    runs = [(item["model"], item["holds"]) for item in document["findings"] if item["aspect"] == "run"]
    assert runs == [(model.stem, True) for model in PUBLISHED[:2]]
    assert len(document["rows"]) == len(esphome_builds()) + 1  # the history, and this computer
    code, document = matrix(capsys, PUBLISHED[2], *asked)
    assert (code, document["error"]["code"]) == (2, "golden")


def test_runs_of_boards_stand_in_the_rows_of_their_builds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = recorded(tmp_path / "good", "2026.4.0b3", "1.1.2")
    wrong = recorded(tmp_path / "wrong", "2026.4.0b2", "1.2.1", outputs=WRONG)
    code, document = matrix(capsys, MODELS / "alexa.json", "--run", good, "--run", wrong, "--chip", "esp32s3")
    assert code == 0  # it was wrong, and no longer is
    assert [row["esphome"] for row in document["rows"]] == ["2026.4.0b2", "2026.4.0b3"]
    runs = [item for item in document["findings"] if item["aspect"] == "run"]
    assert [(item["row"], item["chip"], item["holds"]) for item in runs] == [
        (0, "esp32s3", False),
        (1, "esp32s3", True),
    ]
    regained = {item["aspect"] for item in document["changes"] if item["regained"]}
    assert regained == {"arena", "run"}


def test_people_see_a_table_what_is_lost_and_the_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--runtime", "1.1.2", "--runtime", "1.2.1", "--report", str(tmp_path / "out")]
    assert execute(mww, ["matrix", str(MODELS / "alexa.json"), *arguments]) == 1
    message = capsys.readouterr().out
    assert "alexa, manifest 22,348 bytes" in message
    lost = "lost: alexa esp32s3: arena 22,144 -> 30,112, 7,764 short: ESPHome's probe finds more, at "
    assert f"{lost}esp-tflite-micro 1.3.3~1, esp-nn 1.2.1\n" in message
    assert message.rstrip().endswith("FAIL")
    document = json.loads((tmp_path / "out" / "matrix.json").read_text())
    assert document["schema"] == "mww.matrix/1"
    summary = (tmp_path / "out" / "matrix.md").read_text()
    assert summary.startswith("### Matrix: ❌ fail")
    assert "- lost: alexa esp32s3" in summary
    page = (tmp_path / "out" / "matrix.html").read_text()
    assert '<td class="not">✗ 30,112, 7,764 short: ESPHome&#39;s probe finds more</td>' in page
    assert "<script" not in page


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        [str(MODELS / "alexa.json")] * 2,
        [str(MODELS / "alexa.json"), "--check-config"],
        [str(MODELS / "alexa.json"), "--esphome", "2024.6.0"],
        [str(MODELS / "alexa.json"), "--run", "nowhere"],
        ["nowhere.json"],
    ],
)
def test_what_cannot_be_carried_out_is_exit_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, document = matrix(capsys, *arguments)
    assert (code, document["schema"]) == (2, "mww.error/1")


def test_models_of_one_name_are_told_apart_by_their_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [tmp_path / branch / "models" for branch in "ab"]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "wake.tflite").write_bytes((MODELS / "alexa.tflite").read_bytes())
    words = ["--chip", "esp32", "--runtime", "1.1.2"]
    code, document = matrix(capsys, *(folder / "wake.tflite" for folder in folders), MODELS / "alexa.json", *words)
    assert (code, [item["model"] for item in document["models"]]) == (0, ["a/models/wake", "b/models/wake", "alexa"])
    code, document = matrix(capsys, MODELS / "alexa.json", MODELS / "alexa.tflite", *words)
    assert (code, document["error"]["code"]) == (2, "usage")
    assert "alexa.json is given twice" in document["error"]["message"]
