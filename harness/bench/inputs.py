"""Inputs of benchmarks, of any length, made from the published models and the fixtures."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from harness.bench.programs import mww, run
from harness.clips.npz import write_archive
from mww.core.resources import fixtures_dir, published_models
from mww.esphome.audio import read_samples
from mww.esphome.contract import FEATURE_STEP_MS, FEATURES, SAMPLE_RATE
from mww.esphome.frontend import quantize_features, wav_to_features

WAKE_WORD: Final = "okay_nabu"
_TRAINED_SLICES: Final = 204
SLICES_A_SECOND: Final = 1000 // FEATURE_STEP_MS


def manifest() -> Path:
    """The manifest of the published model that most benchmarks run."""
    return published_models() / f"{WAKE_WORD}.json"


def model_file() -> Path:
    """The `.tflite` of that manifest."""
    return manifest().with_suffix(".tflite")


def spoken() -> npt.NDArray[np.int8]:
    """About half a minute of speech as the model hears it, int8 `[slices, 40]`."""
    return np.concatenate([quantize_features(wav_to_features(path)) for path in _wavs()])


def feature_file(path: Path, *, clips: int, seconds: int) -> Path:
    """Write a feature file with clips of speech, each from a different offset."""
    speech, slices = spoken(), seconds * SLICES_A_SECOND
    length = (slices, FEATURES)
    write_archive(path, ((f"clip {n}", np.resize(np.roll(speech, -37 * n, axis=0), length)) for n in range(clips)))
    return path


def calibration_file(path: Path, *, clips: int) -> Path:
    """Write calibration clips as long as the official trainer's, of the fixtures' speech and noise."""
    features = np.load(fixtures_dir() / "calibration" / "features.npz")["features"]
    write_archive(path, [("features", np.resize(features, (clips, _TRAINED_SLICES, FEATURES)))])
    return path


def golden_file(path: Path, features: Path) -> Path:
    """Record the golden of a feature file."""
    run(mww("record", manifest(), "--features", features, "--output", path))
    return path


def wav_file(path: Path, *, seconds: int) -> Path:
    """Write a WAV that repeats the same speech."""
    samples = b"".join(block for wav in _wavs() for block in read_samples(wav))
    left = seconds * SAMPLE_RATE * 2
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        while left:
            file.writeframesraw(samples[:left])
            left -= min(left, len(samples))
    return path


def _wavs() -> list[Path]:
    return sorted((fixtures_dir() / "clips").rglob("*.wav"))
