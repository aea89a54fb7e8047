from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pymicro_wakeword
import pytest

from mww.tflite.model_file import read_model
from mww.tflite.schema import OPERATORS, TENSOR_TYPES
from mww.verification import RULES, Check
from mww.verification.rules import Subject

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
    from tests.support.edited_model import edited_model

    def edited(change: Change, name: str = "okay_nabu") -> Path:
        return edited_model(published[name], change, tmp_path / "edited.tflite")

    return edited


@pytest.fixture
def judge() -> Callable[..., Check]:
    """Build a model of one operator, and judge it by that operator's kernel rule."""
    from ai_edge_litert import schema_py_generated as schema

    def tensor(spec: Any, buffers: list[Any]) -> Any:
        made = schema.TensorT()
        made.shape, made.type, made.buffer, made.name = list(spec.shape), TENSOR_TYPES.index(spec.dtype), 0, b"t"
        if spec.scale is not None and spec.dtype not in ("INT32", "FLOAT32", "RESOURCE"):
            made.quantization = schema.QuantizationParametersT()
            scales = list(spec.scale) if isinstance(spec.scale, Sequence) else [spec.scale]
            made.quantization.scale, made.quantization.zeroPoint = scales, [spec.zero] * len(scales)
            made.quantization.quantizedDimension = spec.dimension
        elif spec.dtype == "INT32" and isinstance(spec.scale, float) and spec.scale != 0.1:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale, made.quantization.zeroPoint = [spec.scale], [0]
        if spec.data is not None:
            buffer = schema.BufferT()
            buffer.data = np.array(spec.data, "<i4" if spec.dtype == "INT32" else "i1").view(np.uint8)
            buffers.append(buffer)
            made.buffer = len(buffers) - 1
        return made

    def judged(op: str, inputs: Sequence[Any], outputs: Sequence[Any], options: str = "", **values: Any) -> Check:
        model, graph, operator = schema.ModelT(), schema.SubGraphT(), schema.OperatorT()
        model.version, model.buffers, model.subgraphs = 3, [schema.BufferT()], [graph]
        code = schema.OperatorCodeT()
        code.builtinCode = OPERATORS.index(op)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        model.operatorCodes = [code]
        graph.tensors, graph.operators = [], [operator]
        graph.inputs, graph.outputs = [], []
        operator.inputs, operator.outputs = [], []
        for spec, indices in [(spec, operator.inputs) for spec in inputs] + [
            (spec, operator.outputs) for spec in outputs
        ]:
            if spec is None:
                indices.append(-1)
                continue
            graph.tensors.append(tensor(spec, model.buffers))
            indices.append(len(graph.tensors) - 1)
        if options:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            operator.builtinOptions = getattr(schema, f"{options}T")()
            for name, value in values.items():
                setattr(operator.builtinOptions, name, value)
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        check = RULES[f"kernel-{op.lower().replace('_', '-')}"].check(Subject(read_model(bytes(builder.Output()))))
        assert check is not None
        return check

    return judged
