"""`--from audio`: a target hears the sound itself, and what is wrong with its front-end is named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import numpy.typing as npt
import pytest

from harness.check import check
from harness.clips.clip import audio_clips
from harness.link import messages as wire
from harness.link.client import LinkClient
from harness.report.run_document import run_document
from harness.run.causes import Wrong, name_frontend_causes
from harness.run.features import FeatureComparison, FeatureMismatch, HeardFeatures
from harness.run.results import ClipResult, RunResult, Trace
from harness.virtual.frontend import BoardFrontend
from harness.virtual.process import VirtualBoard
from mww.core.errors import UsageError, WrongFirmwareError
from mww.esphome.frontend import quantize_features
from mww.esphome.frontend_errors import ERROR_KINDS
from mww.esphome.frontend_numpy import DEFAULT_SETTINGS, NumpyFrontend
from mww.esphome.model import load_model

SCHEMA = json.loads((Path(__file__).parents[3] / "docs/reference/run.schema.json").read_text())
NOISY = ("drop=0.02", "corrupt=0.02", "duplicate=0.02", "log=0.02")


def digests(result: RunResult) -> list[tuple[str | None, str | None]]:
    return [(clip.frames_sha256, clip.outputs_sha256) for clip in result.clips]


def test_sound_over_a_bad_cable_gives_the_outputs_of_features(models: Path, clips: Path) -> None:
    given, model = [clips / "okay_nabu", clips / "negative"], models / "okay_nabu.json"
    features = check(model, given, lead_in=1.2)
    result = check(model, given, lead_in=1.2, target="virtual", source="audio", faults=NOISY, baud=4_000_000)
    assert result.verdict == "pass"
    assert digests(result) == digests(features)
    assert [clip.detections for clip in result.clips] == [clip.detections for clip in features.clips]
    assert [clip.device_detections for clip in result.clips] == [clip.detections for clip in features.clips]
    assert any(clip.detections for clip in result.clips)
    for clip in result.clips:
        assert clip.features is not None
        assert (clip.features.sha256, clip.features.mismatches) == (clip.frames_sha256, 0)
        assert clip.device_inferences == clip.inferences


def test_a_step_of_20_ms(models: Path, clips: Path) -> None:
    model = replace(load_model(models / "okay_nabu.json"), feature_step_size=20)
    features = check(model, clips / "okay_nabu", lead_in=2.2)
    result = check(model, clips / "okay_nabu", lead_in=2.2, target="virtual", source="audio")
    assert result.verdict == "pass"
    assert digests(result) == digests(features)


WORDS = {
    "step": "makes a slice each 20 ms",
    "gain": "without its gain control",
    "noise-reduction": "without its noise reduction",
    "smoothing": "the noise smoothing of even",
    "log": "gives no logarithms",
    "quantiser": "quantised with the model's float scale",
    "byte-order": "their two bytes exchanged",
    "volume": "at 1/2 of its level",
    "noreset": "not reset between clips",
}


@pytest.mark.parametrize("kind", ERROR_KINDS)
def test_every_error_of_a_front_end_is_recognised(models: Path, clips: Path, kind: str) -> None:
    """The board's own front-end with that error, over one clip behind another."""
    model, (first, second, _) = load_model(models / "okay_nabu.json"), audio_clips([clips / "okay_nabu"], lead_in=1.5)
    board, made = BoardFrontend(kind), []
    for clip in (first, second):
        board.start(model.feature_step_size)
        made = [quantize_features(features) for samples, _ in clip.sound() for features in slices_of(board, samples)]
    comparison = FeatureComparison()
    comparison.add(np.concatenate([slices for _, slices in second.sound()]), np.array(made))
    heard = comparison.result()
    result = finished(second.name, heard)
    (problem,) = name_frontend_causes(model, [Wrong(second, result, (first,), None)], None)
    assert WORDS[kind] in problem.message


def slices_of(board: BoardFrontend, samples: bytes) -> Iterator[npt.NDArray[np.uint16]]:
    at = 0
    while at < len(samples):
        taken, features = board.process(samples[at : at + 320])
        at += 2 * taken
        if features is not None:
            yield features


def finished(name: str, heard: HeardFeatures) -> ClipResult:
    trace = Trace(np.empty(0, np.uint8), None, None, heard.slices)
    return ClipResult(
        name=name,
        status="fail",
        error=None,
        slices=0,
        inferences=0,
        device_inferences=None,
        outputs_sha256=None,
        mismatches=None,
        max_abs_difference=None,
        first_mismatch=None,
        features=heard.result,
        max_output=None,
        detections=(),
        golden_detections=None,
        device_detections=None,
        latency_us=None,
        trace=trace,
    )


@pytest.mark.parametrize("kind", ["step", "gain", "noreset"])
def test_a_wrong_front_end_is_named(models: Path, clips: Path, kind: str) -> None:
    faults = (f"frontend={kind}",)
    result = check(
        models / "okay_nabu.json", clips / "okay_nabu", lead_in=1.5, target="virtual", source="audio", faults=faults
    )
    assert result.verdict == "fail"
    (problem,) = result.problems
    assert problem.code == "frontend"
    assert WORDS[kind] in problem.message
    assert "the model is right" in problem.message
    wrong = [clip for clip in result.clips if clip.status == "fail"]
    assert len(wrong) == len(result.clips) - (kind == "noreset")
    assert problem.clips == tuple(clip.name for clip in wrong)
    for clip in wrong:
        assert clip.features is not None
        assert clip.features.first_mismatch is not None
    jsonschema.validate(json.loads(json.dumps(run_document([result]))), SCHEMA)


@pytest.mark.slow
def test_what_is_wrong_behind_the_front_end_is_looked_for_there(models: Path, clips: Path) -> None:
    given, model = clips / "okay_nabu", models / "okay_nabu.json"
    result = check(model, given, lead_in=1.5, target="virtual", source="audio", faults=("wrong=30",))
    (problem,) = result.problems
    assert (problem.code, problem.inference) == ("output", 30)
    assert result.clips[0].features is not None
    assert result.clips[0].features.mismatches == 0
    both = check(model, given, lead_in=1.5, target="virtual", source="audio", faults=("wrong=30", "frontend=gain"))
    (first, *_) = both.problems
    assert "without its gain control; the model is wrong too" in first.message


def test_a_rule_that_says_the_opposite_is_found(models: Path, clips: Path) -> None:
    result = check(
        models / "okay_nabu.json",
        clips / "okay_nabu",
        lead_in=1.5,
        target="virtual",
        source="audio",
        faults=("detect=60", "drop=0.05", "duplicate=0.05"),
    )
    (problem,) = result.problems
    assert (problem.code, len(problem.clips)) == ("detection", 3)
    assert problem.inference in (59, 60)  # told at the first slice of the frame, the newest output is the one before


def test_what_cannot_be_meant_is_refused(models: Path, clips: Path) -> None:
    model, given = models / "okay_nabu.json", clips / "okay_nabu"
    with pytest.raises(UsageError, match="no front-end of its own"):
        check(model, given, source="audio")
    with pytest.raises(UsageError, match="without sound"):
        check(model, {"clip": np.zeros((60, 40), np.int8)}, source="audio", target="virtual")
    with pytest.raises(UsageError, match="receives no sound"):
        check(model, given, target="virtual", faults=("frontend=gain",))
    with pytest.raises(UsageError, match="does not exist"):
        check(model, given, target="virtual", source="sound")  # type: ignore[arg-type]


def test_an_older_firmware_says_so_once(models: Path, clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LinkClient, "has_frontend", property(lambda client: client.board.flags & 0))
    with VirtualBoard() as board, pytest.raises(WrongFirmwareError, match="has no front-end") as caught:
        check(models / "okay_nabu.json", clips / "okay_nabu", target=board.port, source="audio")
    assert "mww flash --port" in caught.value.hint
    assert wire.FLAG_FRONTEND


@pytest.mark.slow
def test_finished_clips_are_recalled_with_their_features(models: Path, clips: Path, tmp_path: Path) -> None:
    journal = tmp_path / "unfinished.jsonl"
    words = {"lead_in": 1.5, "target": "virtual", "source": "audio", "faults": ("frontend=step",)}
    runs = [
        check(models / "okay_nabu.json", clips / "okay_nabu", unfinished=journal, **words)  # type: ignore[arg-type]
        for _ in range(2)
    ]
    assert [clip.features for clip in runs[0].clips] == [clip.features for clip in runs[1].clips]
    assert runs[0].problems == runs[1].problems
    assert len(journal.read_text().splitlines()) == len(runs[0].clips)


def test_slices_are_compared_however_they_come() -> None:
    sound = np.random.default_rng(0).normal(0, 3000, 40_000).astype("<i2").tobytes()
    slices = quantize_features(NumpyFrontend(DEFAULT_SETTINGS).process(sound))
    other = slices.copy()
    other[100, 7] ^= 1
    comparison = FeatureComparison()
    comparison.add(slices[:50], other[:90])
    comparison.add(slices[50:], other[90:-3])
    result = comparison.result().result
    assert result.mismatches == 1 + 3
    assert result.first_mismatch == FeatureMismatch(100, tuple(slices[100].tolist()), tuple(other[100].tolist()))
    assert np.array_equal(comparison.result().slices, other[:-3])
    short = FeatureComparison()
    short.add(slices, slices[:-2])
    first = short.result().result.first_mismatch
    assert first is not None
    assert (first.slice, first.found) == (len(slices) - 2, None)
