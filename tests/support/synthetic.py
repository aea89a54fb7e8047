"""Small `.tflite` files made to measure, through the schema's own flatbuffer objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

_OPTIONS = {
    "ADD": "AddOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "CALL_ONCE": "CallOnceOptions",
    "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "EQUAL": "EqualOptions",
    "FILL": "FillOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "MUL": "MulOptions",
    "PACK": "PackOptions",
    "RESHAPE": "ReshapeOptions",
    "SPLIT_V": "SplitVOptions",
    "STRIDED_SLICE": "StridedSliceOptions",
    "VAR_HANDLE": "VarHandleOptions",
    "WHILE": "WhileOptions",
}
"""Operators with options to their table in the schema."""


class Graph:
    """A subgraph under construction; tensors and operators are numbered in the order of their making."""

    def __init__(self) -> None:
        self.tensors: list[Any] = []
        self.data: list[bytes | None] = []
        self.operators: list[tuple[str, list[int], list[int], dict[str, Any]]] = []
        self.inputs: list[int] = []
        self.outputs: list[int] = []

    def tensor(
        self,
        shape: Sequence[int],
        dtype: str = "INT8",
        *,
        scales: Sequence[float] = (0.1,),
        zero_points: Sequence[int] | None = None,
        dimension: int = 0,
        data: bytes | None = None,
        variable: bool = False,
        signature: Sequence[int] | None = None,
    ) -> int:
        """Add a tensor; without scales it is not quantised."""
        tensor = schema.TensorT()
        tensor.name = f"t{len(self.tensors)}".encode()
        tensor.shape = list(shape)
        tensor.shapeSignature = list(signature) if signature is not None else None
        tensor.type = getattr(schema.TensorType, dtype)
        tensor.isVariable = variable
        if scales:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = [float(scale) for scale in scales]
            tensor.quantization.zeroPoint = list(zero_points) if zero_points is not None else [0] * len(scales)
            tensor.quantization.quantizedDimension = dimension
        self.tensors.append(tensor)
        self.data.append(data)
        return len(self.tensors) - 1

    def constant(self, values: npt.ArrayLike, dtype: str = "INT32", *, scales: Sequence[float] = ()) -> int:
        """Add a tensor with data."""
        array = np.asarray(values, dtype.lower())
        return self.tensor(array.shape, dtype, scales=scales, data=array.tobytes())

    def weights(self, shape: Sequence[int], *, channels: int = 1, dimension: int = 0, dtype: str = "INT8") -> int:
        """Add int8 weights of 1, with `channels` scales along a dimension."""
        size = int(np.prod(shape))
        size = (size + 1) // 2 if dtype == "INT4" else size
        return self.tensor(shape, dtype, scales=[0.01] * channels, dimension=dimension, data=b"\x01" * size)

    def bias(self, channels: int, *, scales: int = 1) -> int:
        """Add an int32 bias of 0 whose scale suits an input of scale 0.1 and weights of scale 0.01."""
        return self.tensor([channels], "INT32", scales=[0.001] * scales, data=bytes(4 * channels))

    def operator(self, name: str, inputs: Sequence[int], outputs: Sequence[int], **options: Any) -> None:
        """Add an operator; options by the schema's names, `custom_options` and `intermediates` of its own."""
        self.operators.append((name, list(inputs), list(outputs), options))


def pack(*graphs: Graph, metadata: dict[str, bytes] | None = None) -> bytes:
    """The `.tflite` of a main graph and others."""
    model = schema.ModelT()
    model.version = 3
    model.description = b"synthetic"
    model.buffers = [_buffer(None)]
    names = sorted({name for graph in graphs for name, *_ in graph.operators})
    model.operatorCodes = [_code(name) for name in names]
    model.subgraphs = []
    for graph in graphs:
        subgraph = schema.SubGraphT()
        subgraph.tensors = graph.tensors
        for tensor, data in zip(graph.tensors, graph.data, strict=True):
            tensor.buffer = len(model.buffers)
            model.buffers.append(_buffer(data))
        subgraph.inputs, subgraph.outputs = graph.inputs, graph.outputs
        subgraph.operators = [
            _operator(names, name, inputs, outputs, dict(options)) for name, inputs, outputs, options in graph.operators
        ]
        model.subgraphs.append(subgraph)
    model.metadata = []
    for name, data in (metadata or {}).items():
        entry = schema.MetadataT()
        entry.name, entry.buffer = name.encode(), len(model.buffers)
        model.buffers.append(_buffer(data))
        model.metadata.append(entry)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _buffer(data: bytes | None) -> Any:
    buffer = schema.BufferT()
    buffer.data = None if data is None else np.frombuffer(data, np.uint8)
    return buffer


def _code(name: str) -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, name)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.version = 1
    return code


def _operator(names: list[str], name: str, inputs: list[int], outputs: list[int], options: dict[str, Any]) -> Any:
    operator = schema.OperatorT()
    operator.opcodeIndex = names.index(name)
    operator.inputs, operator.outputs = inputs, outputs
    operator.customOptions, operator.intermediates = (
        options.pop("custom_options", None),
        options.pop("intermediates", None),
    )
    if name in _OPTIONS:
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, _OPTIONS[name])
        operator.builtinOptions = getattr(schema, f"{_OPTIONS[name]}T")()
        for option, value in options.items():
            assert hasattr(operator.builtinOptions, option), option
            setattr(operator.builtinOptions, option, value)
    return operator
