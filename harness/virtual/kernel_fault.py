"""A wrong kernel, as a change to the model: an addition behind each operator of one kind, so that its results are off.

Works on what TFLM interprets; the reader of models for everything else is `mww.tflite.model_file`.
"""

from __future__ import annotations

from functools import cache
from importlib import util
from pathlib import Path
from typing import Any, Final

import numpy as np

from harness.link.error_codes import LinkCode
from harness.virtual.engine import RefusedError
from mww.core.errors import MissingPackageError
from mww.esphome.contract import REGISTERED_OPS

ALTERABLE: Final = tuple(operator for operator in REGISTERED_OPS if operator != "VAR_HANDLE")
"""Operators that compute or move data. VAR_HANDLE only names a variable; CALL_ONCE stands for the initial state."""

_OFFSET: Final = 8
"""Steps of the output's quantisation by which a result is off."""
_SCHEMA: Final = ("tensorflow", "lite", "micro", "python", "schema_py_generated.py")


def alter_kernel(content: bytes, operator: str, *, only: int | None = None) -> bytes:
    """Return the model with the results of every `operator` in its main subgraph altered, or of the one at `only`.

    A state that is assigned is altered before the assignment; a state that CALL_ONCE initialises, in its constant.

    Raises:
        RefusedError: The model has no such operator, or none whose results are int8 (or QUANTIZE's uint8).
        MissingPackageError: The installed tflite-micro does not carry the schema.
    """
    import flatbuffers

    schema = _schema()
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    operators: list[Any] = []
    present = altered = 0
    for index, entry in enumerate(graph.operators):
        entry.inputs, entry.outputs = list(entry.inputs), list(entry.outputs)
        if _name(schema, model, entry) != operator or only not in (None, index):
            operators.append(entry)
            continue
        present += 1
        before, behind = _additions(schema, model, operator, entry)
        operators += [*before, entry, *behind]
        altered += len(before) + len(behind)
        if operator == "CALL_ONCE":
            altered += _alter_constants(schema, model, model.subgraphs[entry.builtinOptions.initSubgraphIndex])
        elif operator == "QUANTIZE" and not behind:
            altered += _shift_zero_point(schema, graph.tensors[entry.outputs[0]])
    if not altered:
        message = f"the model's {operator} has no int8 result" if present else f"the model has no {operator}"
        raise RefusedError(LinkCode.FAULT, f"kernel={operator}, but {message}")
    graph.operators = operators
    builder = flatbuffers.Builder(len(content) + 4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _name(schema: Any, model: Any, entry: Any) -> str:
    code = model.operatorCodes[entry.opcodeIndex]
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    return next((name for name, value in vars(schema.BuiltinOperator).items() if value == number), "")


def _additions(schema: Any, model: Any, operator: str, entry: Any) -> tuple[list[Any], list[Any]]:
    """What comes before the operator, and what behind it."""
    if operator == "CALL_ONCE":
        return [], []
    if operator == "ASSIGN_VARIABLE":
        if model.subgraphs[0].tensors[entry.inputs[1]].type != schema.TensorType.INT8:
            return [], []
        entry.inputs[1], addition = _addition(schema, model, source=entry.inputs[1], target=None)
        return [addition], []
    return [], _shift_outputs(schema, model, entry)


def _alter_constants(schema: Any, model: Any, graph: Any) -> int:
    """Change the constants that an initialising subgraph assigns; returns how many."""
    altered = 0
    for entry in graph.operators:
        if _name(schema, model, entry) != "ASSIGN_VARIABLE":
            continue
        tensor = graph.tensors[entry.inputs[1]]
        data = model.buffers[tensor.buffer].data
        if data is None or tensor.type != schema.TensorType.INT8:
            continue
        values = np.clip(np.asarray(data, np.uint8).view(np.int8).astype(np.int16) + _OFFSET, -128, 127)
        buffer = schema.BufferT()
        buffer.data = values.astype(np.int8).view(np.uint8)
        model.buffers.append(buffer)
        tensor.buffer = len(model.buffers) - 1
        altered += 1
    return altered


def _shift_zero_point(schema: Any, tensor: Any) -> int:
    """Have QUANTIZE's uint8 result, the model's own output, come out higher."""
    if tensor.type != schema.TensorType.UINT8:
        return 0
    tensor.quantization.zeroPoint = [int(tensor.quantization.zeroPoint[0]) + _OFFSET]
    return 1


def _shift_outputs(schema: Any, model: Any, entry: Any) -> list[Any]:
    """Make additions between an operator and what reads its int8 results."""
    additions = []
    tensors = model.subgraphs[0].tensors
    for position, index in enumerate(entry.outputs):
        tensor = tensors[index]
        if tensor.type == schema.TensorType.INT8:
            entry.outputs[position] = _copy(schema, model, tensor)
            additions.append(_addition(schema, model, source=entry.outputs[position], target=index)[1])
    return additions


def _addition(schema: Any, model: Any, *, source: int, target: int | None) -> tuple[int, Any]:
    """Make `target = source + constant`, with a new tensor without a target."""
    tensors = model.subgraphs[0].tensors
    if target is None:
        target = _copy(schema, model, tensors[source])
    data = schema.BufferT()
    data.data = [_OFFSET]
    model.buffers.append(data)
    constant = schema.TensorT()
    constant.shape, constant.type, constant.buffer = [1], schema.TensorType.INT8, len(model.buffers) - 1
    constant.quantization = schema.QuantizationParametersT()
    constant.quantization.scale = [tensors[source].quantization.scale[0]]
    constant.quantization.zeroPoint = [0]
    tensors.append(constant)
    addition = schema.OperatorT()
    addition.opcodeIndex = _add_opcode(schema, model)
    addition.inputs, addition.outputs = [source, len(tensors) - 1], [target]
    addition.builtinOptionsType, addition.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
    return target, addition


def _copy(schema: Any, model: Any, tensor: Any) -> int:
    """Add a tensor like another, without content."""
    like = schema.TensorT()
    like.shape, like.type, like.buffer = tensor.shape, tensor.type, 0
    like.quantization = tensor.quantization
    model.subgraphs[0].tensors.append(like)
    return len(model.subgraphs[0].tensors) - 1


def _add_opcode(schema: Any, model: Any) -> int:
    add = schema.BuiltinOperator.ADD
    for index, code in enumerate(model.operatorCodes):
        if max(code.builtinCode, code.deprecatedBuiltinCode) == add:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = add
    code.version = 2
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


@cache
def _schema() -> Any:
    """Load the schema that tflite-micro carries, without the interpreter beside it."""
    package = util.find_spec("tflite_micro")
    path = Path(package.origin).parent.joinpath(*_SCHEMA) if package and package.origin else None
    spec = util.spec_from_file_location("mww_tflite_schema", path) if path and path.is_file() else None
    if spec is None or spec.loader is None:
        raise MissingPackageError(
            "fault kernel needs the schema of tflite-micro", hint="pip install 'mww-harness[tflm]'"
        )
    schema = util.module_from_spec(spec)
    spec.loader.exec_module(schema)
    return schema
