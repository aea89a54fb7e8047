from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.check import check
from harness.cli import execute, mww
from harness.clips.golden import Golden
from mww.esphome.frontend import frontend_version
from mww.esphome.model import load_model


def test_a_recorded_golden_is_what_a_run_gives(
    models: Path, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    golden, model = tmp_path / "golden.npz", models / "okay_nabu.json"
    words = [
        "record",
        str(model),
        "--wav",
        str(clips / "okay_nabu"),
        "--lead-in",
        "1",
        "--output",
        str(golden),
        "--json",
    ]
    assert execute(mww, words) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["engine"], document["lead_in"]) == ("mww.record/1", "tflm", 1.0)
    assert set(document["versions"]) == {"tflite-micro", frontend_version()[0]}
    direct = check(model, clips / "okay_nabu", lead_in=1.0)
    assert document["model_sha256"] == direct.model_sha256
    for entry, clip in zip(document["clips"], direct.clips, strict=True):
        expected = (clip.name, clip.slices, clip.inferences, clip.outputs_sha256)
        assert (entry["name"], entry["slices"], entry["inferences"], entry["outputs_sha256"]) == expected
    again = check(model, golden)
    assert again.verdict == "pass"
    assert [clip.detections for clip in again.clips] == [clip.detections for clip in direct.clips]


def test_recording_again_gives_the_same_file_and_tells_what_changed(
    models: Path, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    golden = tmp_path / "golden.npz"
    words = ["record", str(models / "okay_nabu.json"), "--wav", str(clips / "negative"), "--output", str(golden)]
    assert execute(mww, words) == 0
    assert capsys.readouterr().out.count(" new ") == 3
    first = golden.read_bytes()
    assert execute(mww, [*words, "--json"]) == 0
    assert [clip["changed"] for clip in json.loads(capsys.readouterr().out)["clips"]] == [0, 0, 0]
    assert golden.read_bytes() == first
    less = ["record", str(models / "alexa.json"), "--wav", str(clips / "negative" / "speech-0.wav"), *words[4:]]
    assert execute(mww, [*less, "--lead-in", "1", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["replaced_model_sha256"] == load_model(models / "okay_nabu.json").sha256
    assert len(document["removed"]) == 2
    assert [(clip["changed"], clip["former"] > 0) for clip in document["clips"]] == [(None, True)]


def test_numpy_reads_a_golden(models: Path, clips: Path, tmp_path: Path) -> None:
    path = tmp_path / "golden.npz"
    assert (
        execute(mww, ["record", str(models / "alexa.json"), "--wav", str(clips / "alexa"), "--output", str(path)]) == 0
    )
    golden = Golden.open(path)
    with np.load(path, allow_pickle=False) as archive:
        for clip in golden.clips:
            outputs = archive[f"outputs/{clip.name}"]
            assert np.array_equal(outputs, golden.outputs(clip.name))
            assert len(outputs) == len(archive[f"features/{clip.name}"]) // 3
    golden.close()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no clips are given"),
        (["--features", "a.npz", "--wav", "b.wav"], "--features and --wav are given together"),
        (["--features", "a.npz", "--lead-in", "1"], "--lead-in with --features"),
        (["--wav", "absent.wav"], "absent.wav does not exist"),
        (["--features", "absent.npz"], "cannot read absent.npz"),
    ],
)
def test_what_cannot_be_recorded_leaves_no_file(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    golden = tmp_path / "golden.npz"
    assert execute(mww, ["record", str(models / "alexa.json"), *words, "--output", str(golden), "--json"]) == 2
    assert message in json.loads(capsys.readouterr().out)["error"]["message"]
    assert not golden.exists()
