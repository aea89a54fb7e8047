"""Short clips that are run together give what each gives by itself: results, errors, progress, and what is resumed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.check import check_models
from harness.clips.npz import write_archive
from harness.clips.sources import ClipSource
from harness.engines.exact.engine import ExactModel
from harness.run.options import RunOptions
from harness.run.recording import record
from harness.run.results import RunResult
from harness.run.streaming import SHORT, Feed
from mww.core.errors import EngineError
from mww.core.resources import fixtures_dir
from mww.esphome.model import load_model

LENGTHS = [0, 1, 2, 3, 299, 300, SHORT - 1, SHORT, SHORT + 1, 12_001, *range(100, 170)]
CLIPS = {
    f"clip {length}": np.random.default_rng(length).integers(-128, 128, (length, 40), np.int8) for length in LENGTHS
}
OPTIONS = RunOptions(engine="exact")


@pytest.fixture
def sounds(tmp_path: Path) -> Sequence[Path]:
    """Speech, with a file in the middle that is no sound."""
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    files = sorted((fixtures_dir() / "clips").rglob("*.wav"))
    return [*files[:3], tmp_path / "bad.wav", *files[3:]]


def run(models: Path, clips: ClipSource, options: RunOptions) -> RunResult:
    (result,) = check_models([load_model(models / "okay_nabu.json")], clips, options)
    return replace(result, started="", seconds=0)


def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Feed, "joins", False)


def outputs(result: RunResult) -> list[bytes]:
    return [clip.trace.outputs.tobytes() for clip in result.clips]


def test_clips_of_every_length_give_the_same_together(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []
    options = replace(OPTIONS, progress=lambda name, done, total: seen.append((done, total)))
    together = run(models, CLIPS, options)
    assert seen == [(number, len(CLIPS)) for number in range(1, len(CLIPS) + 1)]
    one_by_one(monkeypatch)
    alone = run(models, CLIPS, OPTIONS)
    assert together == alone
    assert outputs(together) == outputs(alone)


def test_sound_with_a_vad_and_a_clip_that_cannot_be_read(
    models: Path, sounds: Sequence[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = replace(OPTIONS, vad=load_model(models / "hey_jarvis.json"), lead_in=1.0)
    together = run(models, sounds, options)
    assert [clip.status for clip in together.clips].count("error") == 1
    one_by_one(monkeypatch)
    alone = run(models, sounds, options)
    assert together == alone
    assert outputs(together) == outputs(alone)


def test_recorded_outputs_are_compared_clip_by_clip(models: Path, tmp_path: Path) -> None:
    write_archive(tmp_path / "clips.npz", CLIPS.items())
    record(load_model(models / "okay_nabu.json"), tmp_path / "clips.npz", tmp_path / "golden.npz")
    result = run(models, tmp_path / "golden.npz", OPTIONS)
    assert result.verdict == "pass"
    assert {clip.mismatches for clip in result.clips} == {0}


def test_where_they_fail_together_each_clip_says_whether_it_does(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    infer = ExactModel.infer

    def failing(model: ExactModel, frames: np.ndarray) -> np.ndarray:
        if len(frames) == 50:
            raise EngineError("failed", hint="none")
        return infer(model, frames)

    def fail(model: ExactModel, clips: object) -> list[np.ndarray]:
        raise EngineError("failed", hint="none")

    right = run(models, CLIPS, OPTIONS)
    monkeypatch.setattr(ExactModel, "infer", failing)
    monkeypatch.setattr(ExactModel, "infer_clips", fail)
    result = run(models, CLIPS, OPTIONS)
    for clip, expected in zip(result.clips, right.clips, strict=True):
        assert clip.status == ("error" if expected.inferences == 50 else "pass")
        assert clip.status == "error" or clip.outputs_sha256 == expected.outputs_sha256


def test_an_interrupted_run_goes_on(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_archive(tmp_path / "clips.npz", CLIPS.items())
    whole = run(models, tmp_path / "clips.npz", OPTIONS)

    def interrupt(name: str, done: int, total: int) -> None:
        if done == 20:
            raise KeyboardInterrupt

    options = replace(OPTIONS, unfinished=tmp_path / "unfinished.jsonl")
    with pytest.raises(KeyboardInterrupt):
        run(models, tmp_path / "clips.npz", replace(options, progress=interrupt))
    assert len((tmp_path / "unfinished.jsonl").read_bytes().splitlines()) == 20
    result = run(models, tmp_path / "clips.npz", options)
    assert [clip.outputs_sha256 for clip in result.clips] == [clip.outputs_sha256 for clip in whole.clips]
    assert outputs(result) == outputs(whole)
