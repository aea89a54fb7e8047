from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.check import check
from harness.cli import execute, mww
from mww.core.errors import FeatureError
from mww.esphome.frontend import quantize_features, wav_to_features


def test_clips_become_arrays_named_by_their_paths(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wavs = sorted((clips / "negative").glob("*.wav"))[:2]
    output = tmp_path / "new" / "features.npz"
    words = ["features", *map(str, wavs), "--output", str(output), "--lead-in", "0.5", "--json"]
    assert execute(mww, words) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "mww.features/1"
    with np.load(output, allow_pickle=False) as archive:
        assert list(archive) == list(map(str, wavs))
        for wav, entry in zip(wavs, document["clips"], strict=True):
            expected = quantize_features(wav_to_features(wav, lead_in=0.5))
            assert archive[str(wav)].dtype == np.int8
            assert np.array_equal(archive[str(wav)], expected)
            assert entry == {"name": str(wav), "slices": len(expected)}


def test_raw_features_are_the_front_ends_own(clips: Path, tmp_path: Path) -> None:
    wav = next(iter(sorted((clips / "negative").glob("*.wav"))))
    assert execute(mww, ["features", str(wav), "--output", str(tmp_path / "raw.npz"), "--raw"]) == 0
    with np.load(tmp_path / "raw.npz", allow_pickle=False) as archive:
        assert archive[str(wav)].dtype == np.uint16
        assert np.array_equal(archive[str(wav)], wav_to_features(wav))


def test_a_bad_clip_leaves_no_file(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wav = next(iter(sorted((clips / "negative").glob("*.wav"))))
    cut = tmp_path / "cut.wav"
    cut.write_bytes(wav.read_bytes()[:1000])
    assert execute(mww, ["features", str(wav), str(cut), "--output", str(tmp_path / "features.npz")]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["cut.wav"]
    error = capsys.readouterr().err
    assert "is cut short" in error
    assert "hint: convert it: sox" in error


def test_a_feature_file_gives_the_times_and_hours_of_its_sound(models: Path, clips: Path, tmp_path: Path) -> None:
    (sound,) = [str(clips / "okay_nabu" / "positive" / "joe.wav")]
    file = tmp_path / "features.npz"
    assert execute(mww, ["features", sound, "--output", str(file), "--lead-in", "1.5"]) == 0
    first, second = (
        check(models / "okay_nabu.json", source, lead_in=lead_in) for source, lead_in in (([sound], 1.5), (file, 0.0))
    )
    assert first.clips[0].detections == second.clips[0].detections != ()
    assert (first.lead_in, first.evaluation) == (second.lead_in, second.evaluation)


def test_slices_of_another_length_are_refused(models: Path, clips: Path, tmp_path: Path) -> None:
    words = ["features", str(clips / "negative" / "speech-0.wav"), "--output", str(tmp_path / "f.npz")]
    assert execute(mww, [*words, "--feature-step-size", "20"]) == 0
    with pytest.raises(FeatureError, match="has slices of 20 ms, and the model takes slices of 10 ms"):
        check(models / "okay_nabu.json", tmp_path / "f.npz")
