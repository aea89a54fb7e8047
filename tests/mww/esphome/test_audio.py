from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mww.core.errors import AudioError, MissingPackageError
from mww.core.resources import fixtures_dir
from mww.esphome.audio import left_out, read_audio, read_samples, sound_files

soundfile = pytest.importorskip("soundfile")
soxr = pytest.importorskip("soxr")

WAV = next((fixtures_dir() / "clips" / "negative").glob("*.wav"))
SAMPLES = np.frombuffer(b"".join(read_samples(WAV)), "<i2")


def read(path: Path) -> tuple[np.ndarray, list[str]]:
    results: list[str] = []
    return np.frombuffer(b"".join(read_audio(path, results.append)), "<i2"), results


def test_the_devices_own_format_is_passed_on_bit_for_bit() -> None:
    samples, reported = read(WAV)
    assert np.array_equal(samples, SAMPLES)
    assert reported == []


@pytest.mark.parametrize(
    ("name", "subtype", "channels"),
    [("a.flac", "PCM_16", 1), ("a.wav", "PCM_24", 1), ("a.wav", "PCM_16", 2), ("a.aiff", "PCM_16", 1)],
)
def test_lossless_formats_at_16_khz_keep_every_sample(tmp_path: Path, name: str, subtype: str, channels: int) -> None:
    frames = np.repeat(SAMPLES[:, None], channels, axis=1)
    soundfile.write(tmp_path / name, frames, 16_000, subtype=subtype)
    samples, reported = read(tmp_path / name)
    assert np.array_equal(samples, SAMPLES)
    assert reported[0].startswith("16000 Hz")


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_another_rate_is_resampled(tmp_path: Path, name: str) -> None:
    soundfile.write(tmp_path / name, soxr.resample(SAMPLES / 32768, 16_000, 44_100), 44_100)
    samples, reported = read(tmp_path / name)
    assert reported[0].startswith("44100 Hz mono")
    assert abs(len(samples) - len(SAMPLES)) <= 2000  # MP3 pads
    delay = max(range(-1500, 1500, 1), key=lambda shift: _likeness(samples, shift)) if name == "a.mp3" else 0
    assert _likeness(samples, delay) > 0.97


def _likeness(samples: np.ndarray, shift: int) -> float:
    size = min(len(samples), len(SAMPLES)) - 3000
    left = samples[1500 + shift : 1500 + shift + size].astype(float)
    return float(np.corrcoef(left, SAMPLES[1500 : 1500 + size])[0, 1])


def test_what_is_not_sound_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(AudioError, match="Git LFS pointer"):
        read(tmp_path / "a.wav")
    (tmp_path / "b.mp3").write_bytes(bytes(range(256)) * 40)
    with pytest.raises(AudioError, match="not a sound file"):
        read(tmp_path / "b.mp3")


def test_a_file_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", SAMPLES, 16_000)
    content = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(content[: len(content) // 2])
    with pytest.raises(AudioError, match=r"cut short|not a sound file"):
        read(tmp_path / "a.flac")


def test_without_the_packages_the_hint_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "a.flac", SAMPLES, 16_000)
    monkeypatch.setitem(__import__("sys").modules, "soxr", None)
    with pytest.raises(MissingPackageError) as error:
        read(tmp_path / "a.flac")
    assert "mww-harness[audio]" in error.value.hint


def test_what_is_left_out_of_a_folder_is_counted(tmp_path: Path) -> None:
    for name in ("a.wav", "b.FLAC", "deep/c.mp3", "d.m4a", "deep/e.m4a", "labels.csv", "._a.wav", "f.wma"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert [file.name for file in sound_files(tmp_path)] == ["a.wav", "b.FLAC", "c.mp3"]
    sentence = left_out(tmp_path)
    assert sentence is not None
    assert "3 files are left out" in sentence
    assert "2 .m4a, 1 .wma" in sentence
