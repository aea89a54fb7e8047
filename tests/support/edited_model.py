"""A model that is changed through TensorFlow's own flatbuffer objects, as this project's writer would not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
from ai_edge_litert import schema_py_generated as schema


def edited_model(source: Path, change: Callable[[Any], None], target: Path) -> Path:
    """Read `source`, change it, and write it to `target`."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(source.read_bytes()))
    change(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    target.write_bytes(bytes(builder.Output()))
    return target
