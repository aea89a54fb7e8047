"""A wrong kernel, as a change to the model: an addition behind each operator of one kind, so that its results are off.

Works on what TFLM interprets; the reader of models for everything else is `exporter.model_file`.
"""

from __future__ import annotations

from functools import cache
from importlib import util
from pathlib import Path
from typing import Any, Final

from exporter.errors import MissingPackageError

WITHOUT_RESULTS: Final = ("CALL_ONCE", "VAR_HANDLE")
"""Operators that have nothing but handles to give."""

_OFFSET: Final = 8
"""Steps of the output's quantisation by which a result is off."""
_SCHEMA: Final = ("tensorflow", "lite", "micro", "python", "schema_py_generated.py")


def alter_kernel(content: bytes, operator: str) -> bytes:
    """Return the model with the results of every `operator` in its main subgraph altered.

    A state that is assigned is altered before the assignment. A model without the operator stays as it is.

    Raises:
        MissingPackageError: The installed tflite-micro does not carry the schema.
    """
    import flatbuffers

    schema = _schema()
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    wanted = getattr(schema.BuiltinOperator, operator)
    operators: list[Any] = []
    for entry in graph.operators:
        entry.inputs, entry.outputs = list(entry.inputs), list(entry.outputs)
        code = model.operatorCodes[entry.opcodeIndex]
        if max(code.builtinCode, code.deprecatedBuiltinCode) != wanted:
            operators.append(entry)
        elif operator == "ASSIGN_VARIABLE":
            entry.inputs[1], addition = _addition(schema, model, source=entry.inputs[1], target=None)
            operators += [addition, entry]
        else:
            operators += [entry, *_shift_outputs(schema, model, entry)]
    graph.operators = operators
    builder = flatbuffers.Builder(len(content) + 4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _shift_outputs(schema: Any, model: Any, entry: Any) -> list[Any]:
    """Make additions between an operator and what reads its int8 results; a uint8 result is the model's own output."""
    additions = []
    tensors = model.subgraphs[0].tensors
    for position, index in enumerate(entry.outputs):
        tensor = tensors[index]
        if tensor.type == schema.TensorType.INT8:
            entry.outputs[position] = _copy(schema, model, tensor)
            additions.append(_addition(schema, model, source=entry.outputs[position], target=index)[1])
        elif tensor.type == schema.TensorType.UINT8:
            tensor.quantization.zeroPoint = [int(tensor.quantization.zeroPoint[0]) + _OFFSET]
    return additions


def _addition(schema: Any, model: Any, *, source: int, target: int | None) -> tuple[int, Any]:
    """Make `target = source + constant`, with a new tensor where there is no target."""
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
