from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from harness.clips.input import FeatureMeter
from harness.clips.sound import Sound, SoundMeter
from mww.core.resources import fixtures_dir
from mww.esphome.audio import read_samples
from mww.esphome.frontend import quantize_features, wav_to_features

CLIPS = sorted((fixtures_dir() / "clips").rglob("*.wav"))
Samples = npt.NDArray[np.float64]


def samples_of(path: Path) -> Samples:
    return np.frombuffer(b"".join(read_samples(path)), "<i2").astype(np.float64)


def measure(samples: Samples, block: int = 160_000) -> Sound:
    meter = SoundMeter()
    stored = np.clip(np.rint(samples), -32768, 32767).astype("<i2")
    for start in range(0, len(stored), block):
        meter.hear(stored[start : start + block].tobytes())
    sound = meter.result()
    assert sound is not None
    return sound


def halved(samples: Samples) -> Samples:
    """8 kHz, by the mean of neighbours after a brick wall."""
    spectrum = np.fft.rfft(samples)
    spectrum[len(spectrum) // 2 :] = 0
    return np.fft.irfft(spectrum, len(samples))[::2]


def sharp(samples: Samples) -> Samples:
    spectrum = np.fft.rfft(samples)
    spectrum[len(spectrum) // 2 :] = 0
    return np.fft.irfft(spectrum, len(samples))


@pytest.mark.parametrize("path", CLIPS, ids=lambda path: path.stem)
def test_good_sound_has_no_warning(path: Path) -> None:
    assert measure(samples_of(path)).warnings() == ()


@pytest.mark.parametrize("path", CLIPS[::4], ids=lambda path: path.stem)
@pytest.mark.parametrize(
    ("code", "damage"),
    [
        ("silence", lambda samples: samples * 0),
        ("silence", lambda samples: samples * 0 + 900),
        ("quiet", lambda samples: samples / 251),
        ("clipped", lambda samples: samples * 31.6),
        ("band-limited", sharp),
        ("band-limited", lambda samples: np.repeat(halved(samples), 2)),
        (
            "band-limited",
            lambda samples: np.interp(
                np.arange(len(samples)) / 2, np.arange(len(samples) // 2), halved(samples)[: len(samples) // 2]
            ),
        ),
        ("not-speech-like", lambda samples: samples.astype("<i2").byteswap().astype(np.float64)),
        ("not-speech-like", lambda samples: np.random.default_rng(0).normal(0, 3000, len(samples))),
    ],
    ids=["zeros", "constant", "quiet", "clipped", "sharp", "repeated", "interpolated", "swapped", "white"],
)
def test_damaged_sound_is_named(path: Path, code: str, damage: Callable[[Samples], Samples]) -> None:
    assert [warning.code for warning in measure(damage(samples_of(path))).warnings()] == [code]


def test_levels() -> None:
    tone = 0.5 * 32767 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    sound = measure(tone + 327.68)
    assert sound.peak_dbfs == pytest.approx(-5.85, abs=0.05)
    assert sound.rms_dbfs == pytest.approx(-9.03, abs=0.02)
    assert sound.dc == pytest.approx(0.01, abs=1e-4)


def test_blocks_do_not_matter() -> None:
    samples = samples_of(CLIPS[0])
    whole, parts = measure(samples), measure(samples, 7_777)
    assert parts.peak_dbfs == whole.peak_dbfs
    assert parts.rms_dbfs == pytest.approx(whole.rms_dbfs)
    assert parts.clipped == whole.clipped


def feature_warnings(features: npt.NDArray[np.int8]) -> list[str]:
    meter = FeatureMeter()
    meter.see(features[:150])
    meter.see(features[150:])
    return [warning.code for warning in meter.warnings()]


@pytest.mark.parametrize("path", CLIPS, ids=lambda path: path.stem)
def test_features_of_sound_have_no_warning(path: Path) -> None:
    assert feature_warnings(quantize_features(wav_to_features(path, lead_in=1))) == []


def test_features_that_no_front_end_makes() -> None:
    random = np.random.default_rng(0)
    speech = quantize_features(wav_to_features(CLIPS[0], lead_in=1))
    assert feature_warnings(random.integers(-128, 128, (300, 40), np.int8)) == ["not-speech-like"]
    assert feature_warnings(random.permutation(speech)) == ["not-speech-like"]
    assert feature_warnings(np.full((300, 40), -128, np.int8)) == ["silence"]
    assert feature_warnings(np.clip(speech.astype(np.int16) + 128, -127, 127).astype(np.int8)) == ["not-speech-like"]
