from __future__ import annotations

from pathlib import Path

import pymicro_wakeword
import pytest

from exporter.errors import ModelFileError
from harness.model import load_model

MODELS = Path(pymicro_wakeword.__file__).parent / "models"


def test_a_bare_model_runs_with_the_published_cutoff_and_window() -> None:
    model = load_model(MODELS / "okay_nabu.tflite")
    assert (model.name, model.stride, model.feature_step_size) == ("okay_nabu", 3, 10)
    assert (model.cutoff_byte, model.sliding_window_size, model.tensor_arena_size) == (247, 5, None)
    assert not model.from_manifest


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"not a model")
    with pytest.raises(ModelFileError, match="not a readable TFLite model"):
        load_model(path)
    with pytest.raises(ModelFileError, match="cannot read"):
        load_model(tmp_path / "absent.tflite")
