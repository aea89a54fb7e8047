from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import numpy as np
import numpy.typing as npt
import psutil
import pytest

from harness.cli import execute, mww
from harness.clips.golden import Golden, Provenance, RecordedClip, write_golden
from harness.clips.npz import write_archive
from harness.run.workbench import Bench
from mww.esphome.model import load_model
from tests.support.waiting import PATIENCE, have_ended

Slices = npt.NDArray[np.int8]
REPOSITORY = Path(__file__).resolve().parents[3]
RUN_FIELDS = {"verdict", "target", "model_sha256", "stride", "arena", "clips", "golden"}
CLIP_FIELDS = {
    "name",
    "status",
    "error",
    "slices",
    "inferences",
    "device_inferences",
    "outputs_sha256",
    "mismatches",
    "max_abs_difference",
    "first_mismatch",
    "max_output",
    "detections",
    "golden_detections",
    "latency_us",
}


@pytest.fixture
def features(tmp_path: Path, spoken: tuple[Slices, ...]) -> Path:
    path = tmp_path / "features.npz"
    write_archive(path, [("first", spoken[0]), ("second", spoken[1])])
    return path


def called(capsys: pytest.CaptureFixture[str], *words: str | Path, code: int = 0) -> dict[str, object]:
    """The document that a run prints; nothing else may be on stdout."""
    assert execute(mww, ["run", *map(str, words), "--json"]) == code
    document = json.loads(capsys.readouterr().out)
    assert isinstance(document, dict)
    return document


def test_one_model_is_one_document_with_every_field(
    models: Path, features: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = called(capsys, models / "okay_nabu.json", "--features", features)
    jsonschema.validate(document, json.loads((REPOSITORY / "docs/reference/run.schema.json").read_text()))
    assert document["schema"] == "mww.run/1"
    assert set(document) >= RUN_FIELDS
    assert document["golden"] is None
    target, arena, clips = document["target"], document["arena"], document["clips"]
    assert isinstance(target, dict)
    assert set(target) == {"kind", "chip", "engine", "versions"}
    assert (target["kind"], target["chip"], target["engine"]) == ("emulator", "esp32s3", "tflm")
    assert isinstance(arena, dict)
    assert set(arena) >= {"used", "size", "source", "manifest", "fits"}
    assert isinstance(clips, list)
    for clip in clips:
        assert set(clip) >= CLIP_FIELDS
        assert (clip["mismatches"], clip["golden_detections"], clip["latency_us"], clip["error"]) == (None,) * 4
        (detection,) = clip["detections"]
        assert set(detection) == {"inference", "time_s", "average", "maximum", "vad_blocked"}
        assert detection["time_s"] == pytest.approx((detection["inference"] + 1) * 0.03, abs=0.02)


def test_several_models_are_a_set(models: Path, features: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = called(capsys, models / "okay_nabu.json", models / "alexa.tflite", "--features", features)
    assert (document["schema"], document["verdict"]) == ("mww.run-set/1", "pass")
    runs = document["runs"]
    assert isinstance(runs, list)
    assert [entry["model"] for entry in runs] == ["okay_nabu", "alexa"]
    assert all(set(entry) >= RUN_FIELDS for entry in runs)


def test_a_difference_is_exit_1(
    models: Path, features: Path, spoken: tuple[Slices, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    golden, model = tmp_path / "golden.npz", load_model(models / "okay_nabu.tflite")
    outputs = np.zeros(len(spoken[0]) // 3, np.uint8)
    provenance = Provenance(model.name, model.sha256, model.stride, "tflm", (), 0.0)
    write_golden(golden, provenance, [RecordedClip("clip", spoken[0], outputs)])
    document = called(capsys, model.path, "--golden", golden, code=1)
    (clip,) = document["clips"]  # type: ignore[misc]
    assert (document["verdict"], clip["status"], clip["golden_detections"]) == ("fail", "fail", [])
    assert clip["first_mismatch"]["expected"] == 0
    assert clip["mismatches"] > 0
    assert execute(mww, ["run", str(model.path), "--golden", str(golden)]) == 1
    assert "FAIL" in capsys.readouterr().out


def test_a_model_that_crashes_the_engine_is_exit_2_and_the_others_run(
    models: Path, features: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crashing = bytearray((models / "hey_jarvis.tflite").read_bytes())
    crashing[45030] = 1  # a bias that says it is 16 MB larger than its buffer
    bad = tmp_path / "bad.tflite"
    bad.write_bytes(crashing)
    document = called(capsys, bad, models / "okay_nabu.json", "--features", features, code=2)
    first, second = document["runs"]  # type: ignore[misc]
    assert (document["verdict"], first["verdict"], second["verdict"]) == ("error", "error", "pass")
    assert first["clips"][0]["error"]["code"] == "engine"
    assert "SIGSEGV" in first["clips"][0]["error"]["message"]


def test_a_run_that_fails_at_once_leaves_no_report(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [models / "okay_nabu.json", "--wav", tmp_path / "absent.wav", "--report", tmp_path / "report"]
    called(capsys, *words, code=2)
    assert list(tmp_path.iterdir()) == []


def test_the_report_and_junit_are_written(
    models: Path, features: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report, junit = tmp_path / "new" / "report", tmp_path / "junit.xml"
    document = called(capsys, models / "okay_nabu.json", "--features", features, "--report", report, "--junit", junit)
    written = json.loads((report / "run.json").read_text())
    written.pop("files")
    assert written == document
    assert b"<testsuite" in junit.read_bytes()


def test_the_same_error_of_all_clips_is_printed_once(
    models: Path, features: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.json").write_text("{}")
    words = ["run", str(tmp_path / "bad.json"), str(models / "okay_nabu.json"), "--features", str(features)]
    assert execute(mww, words) == 2
    shown = capsys.readouterr().out
    assert shown.count("is not a valid manifest") == shown.count("all 2 clips: manifest: ") == 1
    assert "PASS" in shown


def test_people_see_clips_and_verdict(models: Path, clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", str(models / "okay_nabu.json"), "--wav", str(clips / "okay_nabu"), "--engine", "litert"]
    assert execute(mww, words) == 0
    shown = capsys.readouterr()
    assert "PASS" in shown.out
    assert "litert" in shown.out
    assert str(clips / "okay_nabu" / "positive") in shown.out.replace("\n", "")
    assert "\x1b" not in shown.out
    assert shown.err == ""


def test_a_name_cannot_write_to_the_terminal(
    models: Path, tmp_path: Path, spoken: tuple[Slices, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    features = tmp_path / "features.npz"
    write_archive(features, [("\x1b[2J[red]clip", spoken[0])])
    assert execute(mww, ["run", str(models / "okay_nabu.json"), "--features", str(features)]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "[2J[red]clip" in shown


def test_a_short_clip_is_warned_of_on_stderr(
    models: Path, spoken: tuple[Slices, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_archive(tmp_path / "short.npz", [("short", spoken[0][:60])])
    assert (
        execute(mww, ["run", str(models / "okay_nabu.json"), "--features", str(tmp_path / "short.npz"), "--json"]) == 0
    )
    shown = capsys.readouterr()
    assert "--lead-in" in shown.err
    assert any("--lead-in" in warning for warning in json.loads(shown.out)["warnings"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no clips are given"),
        (["--features", "f.npz", "--golden", "g.npz"], "--features and --golden are given together"),
        (["--features", "f.npz", "--lead-in", "1"], "--lead-in with --features"),
        (["--golden", "g.npz", "--lead-in", "1"], "--lead-in with --golden"),
        (["--wav", "absent.wav"], "absent.wav does not exist"),
        (["--wav", ".", "--target", "nowhere"], "unknown target 'nowhere'"),
        (["--features", "absent.npz"], "cannot read absent.npz"),
        (["--wav", ".", "--engine", "xnnpack"], "xnnpack"),
        (["--wav", ".", "--tolerance", "-1"], "tolerance"),
        (["--wav", ".", "--timeout", "nan"], "not a finite number"),
        (["--wav", ".", "--min-recall", "nan"], "not a finite number"),
    ],
)
def test_what_cannot_be_meant_is_exit_2_and_one_document(
    models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clip.wav").write_bytes(b"")
    document = called(capsys, models / "okay_nabu.json", *words, code=2)
    assert document["schema"] == "mww.error/1"
    assert message in document["error"]["message"]  # type: ignore[index]


def test_an_unreadable_clip_is_an_error_of_its_own(
    models: Path, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = next(iter(sorted((clips / "negative").glob("*.wav"))))
    (tmp_path / "a.wav").write_bytes(good.read_bytes()[:-100])
    (tmp_path / "b.wav").write_bytes(good.read_bytes())
    document = called(capsys, models / "okay_nabu.json", "--wav", tmp_path, code=2)
    cut, whole = document["clips"]  # type: ignore[misc]
    assert (document["verdict"], cut["status"], whole["status"]) == ("error", "error", "pass")
    assert cut["error"]["code"] == "audio"
    assert cut["outputs_sha256"] is None


@pytest.mark.parametrize(("name", "jobs"), [(signal.SIGINT, "1"), (signal.SIGTERM, "1"), (signal.SIGINT, "2")])
def test_an_interrupt_is_exit_130_and_leaves_nothing_behind(
    models: Path, tmp_path: Path, name: signal.Signals, jobs: str
) -> None:
    features, report = tmp_path / "features.npz", tmp_path / "report"
    write_archive(features, [(clip, np.zeros((1_000_000, 40), np.int8)) for clip in ("an hour", "and another")])
    words = ["run", str(models / "okay_nabu.json"), "--features", str(features), "--report", str(report)]
    process = subprocess.Popen(
        [sys.executable, "-m", "harness.cli", *words, "--jobs", jobs],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stderr=subprocess.PIPE,
    )
    while not report.exists() or len(children := psutil.Process(process.pid).children()) < int(jobs):
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(name)
    _, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert error.decode().split() == ["interrupted"]
    assert have_ended(children)
    assert list(report.iterdir()) == []


def test_an_interrupt_says_that_finished_clips_are_kept(
    models: Path, features: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        (tmp_path / "unfinished.jsonl").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("harness.cli.run_models.check_models", interrupt)
    words = ["run", str(models / "okay_nabu.json"), "--features", str(features), "--report", str(tmp_path)]
    assert execute(mww, words) == 130
    assert "the same command with --resume" in capsys.readouterr().err


def test_the_golden_of_a_run_is_named(
    models: Path, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    golden = tmp_path / "golden.npz"
    words = ["record", str(models / "alexa.json"), "--wav", str(clips / "alexa"), "--lead-in", "1"]
    assert execute(mww, [*words, "--output", str(golden)]) == 0
    capsys.readouterr()
    document = called(capsys, models / "alexa.json", "--golden", golden)
    source = document["golden"]
    assert isinstance(source, dict)
    assert source["sha256"] == hashlib.sha256(golden.read_bytes()).hexdigest()
    opened = Golden.open(golden)
    assert document["lead_in"] == opened.provenance.lead_in == 1.0
    opened.close()


def test_an_interrupted_run_resumes_from_its_finished_clips(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    features, report = tmp_path / "features.npz", tmp_path / "report"
    clips = [(f"clip {number}", np.full((3_000, 40), number, np.int8)) for number in range(6)]
    write_archive(features, clips)
    words = [models / "okay_nabu.json", "--features", features, "--engine", "litert"]
    words += ["--vad", models / "alexa.json", "--report", report]
    process = subprocess.Popen(
        [sys.executable, "-m", "harness.cli", "run", *map(str, words)],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stderr=subprocess.DEVNULL,
    )
    unfinished = report / "unfinished.jsonl"
    while not unfinished.exists() or unfinished.read_bytes().count(b"\n") < 2:
        time.sleep(0.02)
    process.kill()
    process.wait()
    with unfinished.open("ab") as file:
        file.write(b'{"run": "torn')
    run_again: list[str] = []
    original = Bench.run
    monkeypatch.setattr(
        Bench, "run", lambda self, clips, stop: run_again.extend(c.name for c in clips) or original(self, clips, stop)
    )
    resumed = called(capsys, *words, "--resume")
    assert 0 < len(run_again) <= 4
    assert not unfinished.exists()
    whole = called(capsys, *words)
    for document in (resumed, whole):
        document.pop("started")
        document.pop("seconds")
    assert resumed == whole
    assert execute(mww, ["run", str(models / "okay_nabu.json"), "--features", str(features), "--resume"]) == 2


def test_what_failed_is_tried_again_alone(
    models: Path, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = min((clips / "negative").glob("*.wav")).read_bytes()
    (tmp_path / "a.wav").write_bytes(whole[:-100])
    (tmp_path / "b.wav").write_bytes(whole)
    words = [models / "okay_nabu.json", "--wav", tmp_path, "--report", tmp_path / "report", "--resume"]
    assert called(capsys, *words, code=2)["verdict"] == "error"
    (tmp_path / "a.wav").write_bytes(whole)
    run_again: list[str] = []
    original = Bench.run
    monkeypatch.setattr(
        Bench,
        "run",
        lambda self, clips, stop: run_again.extend(Path(c.name).name for c in clips) or original(self, clips, stop),
    )
    assert called(capsys, *words)["verdict"] == "pass"
    assert run_again == ["a.wav"]
    assert not (tmp_path / "report" / "unfinished.jsonl").exists()


def test_features_and_goldens_are_not_taken_for_each_other(
    models: Path, features: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    golden, model = tmp_path / "golden.npz", models / "alexa.json"
    assert execute(mww, ["record", str(model), "--features", str(features), "--output", str(golden)]) == 0
    capsys.readouterr()
    assert called(capsys, model, "--golden", features, code=2)["error"]["code"] == "golden"  # type: ignore[index]
    assert called(capsys, model, "--features", golden, code=2)["error"]["code"] == "usage"  # type: ignore[index]


def test_of_several_models_one_that_cannot_be_read_is_told_in_its_place(
    models: Path, features: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cut.tflite").write_bytes((models / "alexa.tflite").read_bytes()[:5000])
    (tmp_path / "odd.json").write_text("{")
    words = [tmp_path / "cut.tflite", models / "okay_nabu.json", tmp_path / "odd.json", "--features", features]
    document = called(capsys, *words, "--report", tmp_path / "report", code=2)
    jsonschema.validate(document, json.loads((REPOSITORY / "docs/reference/run.schema.json").read_text()))
    cut, good, odd = document["runs"]  # type: ignore[misc]
    assert [item["verdict"] for item in (cut, good, odd)] == ["error", "pass", "error"]
    assert {clip["error"]["code"] for clip in cut["clips"]} == {"model-file"}
    assert {clip["error"]["code"] for clip in odd["clips"]} == {"manifest"}
    assert (
        execute(mww, ["run", str(tmp_path / "cut.tflite"), str(tmp_path / "absent"), "--features", str(features)]) == 2
    )


@pytest.mark.parametrize(
    ("target", "fault", "said"),
    [
        ("virtual", "kernel=MUL", "kernel=MUL, but the model does not have MUL"),
        ("virtual", "kernel=NONE", "fault kernel takes OP, not 'NONE'"),
        ("emulator", "noreset", "--fault for the target emulator"),
    ],
)
def test_a_fault_that_cannot_happen_is_refused(
    models: Path, features: Path, capsys: pytest.CaptureFixture[str], target: str, fault: str, said: str
) -> None:
    words = (models / "okay_nabu.json", "--features", features, "--target", target, "--fault", fault)
    document = called(capsys, *words, code=2)
    assert said in document["error"]["message"]  # type: ignore[index]


def test_a_virtual_board_is_started_with_a_fault(
    models: Path, features: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (models / "okay_nabu.json", "--features", features, "--target", "virtual", "--fault", "wrong=30")
    document = called(capsys, *words, code=1)
    first = document["clips"][0]  # type: ignore[index]
    assert (first["mismatches"], first["first_mismatch"]["inference"]) == (1, 30)
