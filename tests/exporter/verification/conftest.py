from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import pymicro_wakeword
import pytest

MODELS = Path(pymicro_wakeword.__file__).parent / "models"

Change = Callable[[Any], None]
Edit = Callable[..., Path]


@pytest.fixture(scope="session")
def published() -> dict[str, Path]:
    """The four models of the pymicro-wakeword package, by name."""
    return {path.stem: path for path in sorted(MODELS.glob("*.tflite"))}


@pytest.fixture
def edit(tmp_path: Path, published: dict[str, Path]) -> Edit:
    """Write a published model again, changed through TensorFlow's own flatbuffer objects."""
    from ai_edge_litert import schema_py_generated as schema

    def edited(change: Change, name: str = "okay_nabu") -> Path:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(published[name].read_bytes()))
        change(model)
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        path = tmp_path / "edited.tflite"
        path.write_bytes(bytes(builder.Output()))
        return path

    return edited
