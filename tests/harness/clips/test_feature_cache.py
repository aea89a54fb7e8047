from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.clips import feature_cache
from harness.clips.feature_cache import features_of
from harness.clips.sound import Sound, SoundMeter
from mww.core.resources import fixtures_dir
from mww.esphome.audio import read_samples
from mww.esphome.frontend import wav_to_features

CLIPS = sorted((fixtures_dir() / "clips").rglob("*.wav"))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(feature_cache, "SHORTEST", 0)
    return tmp_path / "mww-harness" / "features"


def whole(path: Path, lead_in: float = 0.0) -> np.ndarray:
    return np.concatenate(list(cached(path, lead_in)))


def cached(path: Path, lead_in: float = 0.0, meter: SoundMeter | None = None) -> Iterator[np.ndarray]:
    return features_of(lambda: read_samples(path), lead_in, 10, meter)


def fail(*arguments: object, **options: object) -> Iterator[np.ndarray]:
    raise AssertionError("computed again")


def test_features_are_computed_once_for_each_content_and_lead_in(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy.wav"
    copy.write_bytes(CLIPS[0].read_bytes())
    for lead_in in (0.0, 1.0):
        assert np.array_equal(whole(CLIPS[0], lead_in), wav_to_features(CLIPS[0], lead_in=lead_in))
    assert np.array_equal(whole(CLIPS[1]), wav_to_features(CLIPS[1]))
    assert len(list(folder.iterdir())) == 3
    monkeypatch.setattr(feature_cache, "iterate_features", fail)
    assert np.array_equal(whole(copy, 1.0), wav_to_features(CLIPS[0], lead_in=1.0))
    with pytest.raises(AssertionError, match="computed again"):
        whole(CLIPS[0], 0.5)


def test_sound_that_changes_between_two_readings_is_not_kept(folder: Path) -> None:
    readings = [read_samples(CLIPS[0]), *(read_samples(CLIPS[1]) for _ in range(2))]
    result = np.concatenate(list(features_of(lambda: readings.pop(0), 0.0, 10, SoundMeter())))
    assert np.array_equal(result, wav_to_features(CLIPS[1]))
    assert list(folder.iterdir()) == []
    assert np.array_equal(whole(CLIPS[0]), wav_to_features(CLIPS[0]))


@pytest.mark.parametrize("damage", [b"", b"short", None])
def test_a_damaged_file_is_not_believed(folder: Path, damage: bytes | None) -> None:
    expected = whole(CLIPS[0])
    (place,) = folder.iterdir()
    content = place.read_bytes()
    place.write_bytes(bytes([content[0] ^ 1]) + content[1:] if damage is None else damage)
    assert np.array_equal(whole(CLIPS[0]), expected)
    assert place.read_bytes() == content


def test_a_reading_that_stops_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = cached(CLIPS[0], 30.0)
    next(blocks)
    blocks.close()  # type: ignore[attr-defined]
    assert list(folder.iterdir()) == []


def test_the_oldest_go_when_there_is_no_room(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_cache, "limit", lambda: 40_000)
    monkeypatch.setattr(feature_cache, "SWEEP", 0)
    for index, clip in enumerate(CLIPS):
        whole(clip)
        held = sum(file.stat().st_size for file in folder.iterdir())
        assert 0 < held <= 40_000, index


def test_it_can_be_turned_off_and_a_folder_that_cannot_be_written_does_not_matter(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(feature_cache.SIZE_VARIABLE, "0")
    whole(CLIPS[0])
    assert not folder.exists()
    monkeypatch.delenv(feature_cache.SIZE_VARIABLE)
    (tmp_path / "mww-harness").touch()
    assert np.array_equal(whole(CLIPS[0]), wav_to_features(CLIPS[0]))


def heard(path: Path, lead_in: float = 0.0) -> Sound | None:
    meter = SoundMeter()
    for _ in cached(path, lead_in, meter):
        pass
    return meter.result()


def test_what_a_sound_is_like_is_measured_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole(CLIPS[0])
    assert not list(folder.glob("*.json"))
    first = heard(CLIPS[0])
    (place,) = folder.glob("*.json")
    content = place.read_bytes()
    assert first is not None
    place.write_bytes(content[:-1])
    assert heard(CLIPS[0]) == first
    assert place.read_bytes() == content
    monkeypatch.setattr(SoundMeter, "hear", fail)
    assert heard(CLIPS[0]) == heard(CLIPS[0], 1.0) == first
    with pytest.raises(AssertionError, match="computed again"):
        heard(CLIPS[1])


def _sum(path: str) -> int:
    return int(np.concatenate(list(cached(Path(path)))).sum())


def test_processes_share_it(folder: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        sums = pool.map(_sum, [str(CLIPS[0])] * 12)
    assert set(sums) == {int(wav_to_features(CLIPS[0]).sum())}
    assert len(list(folder.iterdir())) == 1
