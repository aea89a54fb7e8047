"""The page for people who call from Python is true: its code runs as it stands there."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pymicro_wakeword
import pytest
import yaml

from exporter.checkpoint import weights_file
from exporter.conversion.tensorflow_quietly import tensorflow_quietly
from exporter.network.settings import trainer_configuration
from exporter.recover import recover
from mww.core.resources import fixtures_dir
from mww.tflite.model_file import read_model
from tests.support.needs import needs_tensorflow, needs_tflm
from tests.support.networks import DEFAULT, random_weights

PAGE = Path(__file__).parents[2] / "docs" / "library.md"


def _blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)


@pytest.fixture
def names(tmp_path: Path) -> dict[str, Any]:
    """What the page takes as given."""
    recovered = recover(read_model(Path(pymicro_wakeword.__file__).parent / "models" / "okay_nabu.tflite"))
    checkpoint = tmp_path / "best_weights.weights.h5"
    checkpoint.write_bytes(weights_file(recovered.architecture, recovered.weights))
    return {
        "checkpoint": checkpoint,
        "config": yaml.safe_load(trainer_configuration(recovered.architecture)),
        "features": np.load(fixtures_dir() / "calibration" / "features.npz")["features"],
        "clips": fixtures_dir() / "clips" / "okay_nabu",
    }


@needs_tflm
def test_a_trainers_script_exports_and_judges(
    names: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(_blocks()[0], names)
    assert names["result"].compatible
    assert names["arena"].minimum <= names["result"].tensor_arena_size
    assert names["run"].verdict == "pass"
    assert any(clip.detections for clip in names["run"].clips)
    assert "okay_nabu.tflite" in capsys.readouterr().out


@needs_tensorflow
@pytest.mark.slow
def test_a_keras_model_in_memory_is_converted(
    names: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with tensorflow_quietly():
        from exporter.conversion.keras_network import build_network

        names |= {"model": build_network(DEFAULT, random_weights(DEFAULT)), "config": None}
    names["features"] = names["features"][:, :30]
    exec(_blocks()[1], names)
    assert read_model(tmp_path / "out" / "model.tflite").main.tensors[0].shape == (1, 3, 40)
    assert names["streaming"].output.shape == (1, 1)
