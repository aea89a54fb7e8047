from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mww.core.errors import ModelFileError, UnsupportedModelError
from mww.esphome.model import load_model


def test_a_bare_model_runs_with_the_published_cutoff_and_window(models: Path) -> None:
    model = load_model(models / "okay_nabu.tflite")
    assert (model.name, model.stride, model.feature_step_size) == ("okay_nabu", 3, 10)
    assert (model.cutoff_byte, model.sliding_window_size, model.tensor_arena_size) == (247, 5, None)
    assert not model.from_manifest


@pytest.mark.parametrize("name", ["okay_nabu", "alexa", "hey_jarvis", "hey_mycroft"])
def test_a_manifest_says_how_its_model_runs(models: Path, name: str) -> None:
    model = load_model(models / f"{name}.json")
    message = json.loads((models / f"{name}.json").read_text())["micro"]
    assert model.from_manifest
    assert model.sha256 == load_model(models / f"{name}.tflite").sha256
    assert (model.probability_cutoff, model.sliding_window_size, model.feature_step_size, model.tensor_arena_size) == (
        message["probability_cutoff"],
        message["sliding_window_size"],
        message["feature_step_size"],
        message["tensor_arena_size"],
    )


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"not a model")
    with pytest.raises(ModelFileError, match="is not a TFLite model but text"):
        load_model(path)
    with pytest.raises(ModelFileError, match="does not exist"):
        load_model(tmp_path / "absent.tflite")


@pytest.mark.parametrize("stride", [0, 300])
def test_a_stride_that_the_runtime_cannot_hold_is_refused(models: Path, tmp_path: Path, stride: int) -> None:
    shape, other = (np.array([1, length, 40], "<i4").tobytes() for length in (3, stride))
    path = tmp_path / "model.tflite"
    path.write_bytes((models / "okay_nabu.tflite").read_bytes().replace(shape, other))
    with pytest.raises(UnsupportedModelError, match=f"stride {stride}, not 1 to 255"):
        load_model(path)
