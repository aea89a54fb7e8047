"""Writing a `.tflite`: the same dataclasses that `mww.tflite.model_file` reads, as a flatbuffer.

The `flatbuffers` package writes the tables; the caller ensures that the model makes sense.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from mww.tflite.model_file import Operator, Quantization, Subgraph, Tensor
from mww.tflite.schema import OPERATORS, TENSOR_TYPES, options_member, stored_options

if TYPE_CHECKING:
    from flatbuffers import Builder


_IDENTIFIER: Final = b"TFL3"
_SCHEMA_VERSION: Final = 3
_OLD_CODES: Final = 127
"""Operator codes from this one on do not fit the schema's older field."""

_BUFFER_ALIGNMENT: Final = 16  # `force_align: 16` of Buffer.data


def write_model(subgraphs: Sequence[Subgraph], buffers: Sequence[bytes]) -> bytes:
    """Write a model.

    Args:
        subgraphs: The main graph and others, whose tensors name their data by the number of a buffer.
        buffers: The data of constants; of equal ones, one is written.
    """
    return _Writer(buffers).model(subgraphs)


class _Writer:
    def __init__(self, buffers: Sequence[bytes]) -> None:
        import flatbuffers

        self._builder: Builder = flatbuffers.Builder(sum(map(len, buffers)) + 32_768)
        self._buffers = buffers
        distinct = dict.fromkeys((b"", *buffers))  # buffer 0 is the empty one
        self._numbers = {content: number for number, content in enumerate(distinct)}
        self._codes: dict[tuple[str, int], int] = {}

    def model(self, subgraphs: Sequence[Subgraph]) -> bytes:
        buffers = self._vector([self._buffer(content) for content in self._numbers])
        graphs = self._vector([self._subgraph(subgraph) for subgraph in subgraphs])
        codes = self._vector([self._code(*code) for code in self._codes])
        root = self._table({1: codes, 2: graphs, 4: buffers}, ints={0: _SCHEMA_VERSION})
        self._builder.Finish(root, _IDENTIFIER)
        return bytes(self._builder.Output())

    def _code(self, op: str, version: int) -> int:
        number = OPERATORS.index(op)
        return self._table({}, ints={2: version, 3: number}, bytes_={0: min(number, _OLD_CODES)})

    def _subgraph(self, graph: Subgraph) -> int:
        tensors = self._vector([self._tensor(tensor) for tensor in graph.tensors])
        operators = self._vector([self._operator(operator) for operator in graph.operators])
        inputs, outputs = self._numbers_of(graph.inputs), self._numbers_of(graph.outputs)
        return self._table({0: tensors, 1: inputs, 2: outputs, 3: operators, 4: self._text(graph.name)})

    def _tensor(self, tensor: Tensor) -> int:
        children = {0: self._numbers_of(tensor.shape), 3: self._text(tensor.name)}
        if tensor.quantization:
            children[4] = self._quantization(tensor.quantization)
        buffer = self._numbers[self._buffers[tensor.buffer]]
        has_rank = True
        flags = {1: TENSOR_TYPES.index(tensor.dtype), 5: int(tensor.is_variable), 8: int(has_rank)}
        return self._table(children, ints={2: buffer}, bytes_=flags)

    def _quantization(self, quantization: Quantization) -> int:
        scales = self._builder.CreateNumpyVector(np.array(quantization.scales, "<f4"))
        zero_points = self._builder.CreateNumpyVector(np.array(quantization.zero_points, "<i8"))
        return self._table({2: scales, 3: zero_points}, ints={6: quantization.dimension})

    def _operator(self, operator: Operator) -> int:
        code = self._codes.setdefault((operator.op, operator.version), len(self._codes))
        children = {1: self._numbers_of(operator.inputs), 2: self._numbers_of(operator.outputs)}
        member = options_member(operator.op)
        if member:
            children[4] = self._options(operator)
        return self._table(children, ints={0: code}, bytes_={3: member})

    def _options(self, operator: Operator) -> int:
        stored = stored_options(operator.op, operator.options)
        children = {slot: self._text(text) for slot, text in stored.texts.items()}
        children |= {slot: self._numbers_of(numbers) for slot, numbers in stored.vectors.items()}
        return self._table(children, ints=stored.ints, bytes_=stored.bytes)

    def _buffer(self, content: bytes) -> int:
        if not content:
            return self._table({})
        builder = self._builder
        builder.StartVector(1, len(content), _BUFFER_ALIGNMENT)
        builder.head -= len(content)
        builder.Bytes[builder.head : builder.head + len(content)] = content
        return self._table({0: builder.EndVector()})

    def _text(self, text: str) -> int:
        offset: int = self._builder.CreateString(text)
        return offset

    def _numbers_of(self, values: Sequence[int]) -> int:
        offset: int = self._builder.CreateNumpyVector(np.array(values, "<i4"))
        return offset

    def _vector(self, offsets: Sequence[int]) -> int:
        builder = self._builder
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        end: int = builder.EndVector()
        return end

    def _table(
        self,
        children: Mapping[int, int],
        *,
        ints: Mapping[int, int] | None = None,
        bytes_: Mapping[int, int] | None = None,
    ) -> int:
        """A table of other tables, vectors and texts, of 32-bit numbers, and of bytes, each by its slot."""
        ints, bytes_ = ints or {}, bytes_ or {}
        builder = self._builder
        builder.StartObject(max((*children, *ints, *bytes_), default=-1) + 1)
        for slot, offset in children.items():
            builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
        for slot, value in ints.items():
            builder.PrependInt32Slot(slot, value, 0)
        for slot, value in bytes_.items():
            builder.PrependInt8Slot(slot, value, 0)
        end: int = builder.EndObject()
        return end
