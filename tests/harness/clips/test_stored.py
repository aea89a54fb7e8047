"""The official trainer's feature folders as clips: the same slices as from sound, with labels by its own names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.check import check
from harness.cli import execute, mww
from harness.clips.sources import open_folders
from harness.run.evaluation.labels import labels_from_names
from mww.core.errors import AudioError, FeatureError
from mww.esphome.feature_folders import as_int8
from mww.esphome.frontend import quantize_features, wav_to_features
from tests.support.feature_folders import write_feature_folder


def _features(folder: Path, lead_in: float = 0.0) -> list[np.ndarray[Any, Any]]:
    return [wav_to_features(path, lead_in=lead_in) for path in sorted(folder.rglob("*.wav"))]


@pytest.fixture(scope="module")
def trained(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the trainer's notebook leaves: augmented positives and a negative set with an ambient part."""
    root = tmp_path_factory.mktemp("trainer")
    words = _features(clips / "okay_nabu")
    write_feature_folder(root / "generated_augmented_features" / "testing" / "wakeword_mmap", words)
    write_feature_folder(root / "generated_augmented_features" / "training" / "wakeword_mmap", words * 3)
    others = [np.concatenate(_features(clips / "negative") * 3)]
    write_feature_folder(root / "negative_datasets" / "dinner_party" / "testing_ambient" / "speech_mmap", others)
    write_feature_folder(root / "negative_datasets" / "dinner_party" / "training" / "speech_mmap", others * 2)
    return root


def test_stored_features_are_the_slices_of_the_sound(clips: Path, tmp_path: Path) -> None:
    raw = _features(clips / "okay_nabu")[0]
    for kind, stored in {
        "uint16": raw,
        "float32": (raw / 25.6).astype(np.float32),
        "int8": quantize_features(raw),
    }.items():
        write_feature_folder(tmp_path / kind, [raw[:0].astype(stored.dtype), stored])
        empty, clip = open_folders([tmp_path / kind])
        assert not list(empty.blocks())
        np.testing.assert_array_equal(np.concatenate(list(clip.blocks())), quantize_features(raw))
    (_, clip) = open_folders([tmp_path / "uint16"], lead_in=0.5)
    slices = np.concatenate(list(clip.blocks()))
    assert len(slices) == len(raw) + 50
    assert set(slices[:50].ravel()) == {-128}


def test_a_run_judges_the_testing_part_and_labels_it(trained: Path, models: Path) -> None:
    result = check(models / "okay_nabu.json", [trained], lead_in=1.5)
    assert [Path(clip.name).relative_to(trained).parts[:3] for clip in result.clips] == [
        *[("generated_augmented_features", "testing", "wakeword_mmap")] * 3,
        ("negative_datasets", "dinner_party", "testing_ambient"),
    ]
    assert result.evaluation is not None
    assert result.evaluation.at.recall.hits == result.evaluation.at.recall.trials == 3
    assert result.evaluation.at.false_accepts.count == 0
    assert result.evaluation.at.false_accepts.hours == pytest.approx(
        sum(c.slices for c in result.clips[3:]) / 360_000 - 1.5 / 3600
    )


def test_the_options_take_feature_folders(
    trained: Path, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for suffix in (".json", ".tflite"):
        shutil.copy(models / f"okay_nabu{suffix}", tmp_path)
    manifest = str(tmp_path / "okay_nabu.json")
    for words in (
        ["run", manifest, "--features", str(trained), "--lead-in", "1.5", "--min-recall", "0.9", "--json"],
        ["cutoff", manifest, "--clips", str(trained), "--json"],
    ):
        assert execute(mww, words) == 0
        document = json.loads(capsys.readouterr().out)
        recall = document["evaluation"]["recall"] if words[0] == "run" else document["choice"]["recall"]
        assert recall >= 0.9


def test_near_misses_are_counted_apart(clips: Path, models: Path, tmp_path: Path) -> None:
    shutil.copytree(clips / "okay_nabu" / "positive", tmp_path / "clips" / "positive")
    shutil.copytree(clips / "okay_nabu" / "positive", tmp_path / "clips" / "near-miss")
    shutil.copytree(clips / "negative", tmp_path / "clips" / "negative")
    result = check(models / "okay_nabu.json", tmp_path / "clips", lead_in=1.5)
    assert result.evaluation is not None
    at = result.evaluation.at
    assert (at.near_misses.hits, at.near_misses.trials, at.false_accepts.count) == (3, 3, 0)
    assert all("near-miss" in name for name in result.evaluation.near_misses_woken_by)
    assert not result.evaluation.woken_by


def test_the_innermost_name_decides() -> None:
    names = [
        "near-miss/a.wav",
        "negative_datasets/x/testing/y_mmap/000001",
        "negative_datasets/positive/b",
        "testing/c",
    ]
    kinds = [label.kind for label in labels_from_names(names).values()]
    assert kinds == ["near-miss", "negative", "positive"]


def test_damaged_and_empty_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="has no sound file"):
        open_folders([tmp_path])
    folder = tmp_path / "x_mmap"
    write_feature_folder(folder, [np.zeros((4, 40), np.uint16)])
    (folder / "ends" / "data.ninja").write_bytes(np.array([4000]).tobytes())
    (clip,) = open_folders([folder])
    with pytest.raises(FeatureError, match="4000 of 160"):
        list(clip.blocks())
    (folder / "dtype.ninja").write_text("object")
    with pytest.raises(FeatureError, match="not a readable feature folder"):
        open_folders([tmp_path])


@pytest.mark.parametrize("features", [np.full((2, 40), -1.0), np.full((2, 40), np.nan), np.zeros((2, 40), np.int64)])
def test_features_of_an_unknown_scale_are_refused(features: np.ndarray[Any, Any]) -> None:
    with pytest.raises(FeatureError):
        as_int8(features, "clip")
