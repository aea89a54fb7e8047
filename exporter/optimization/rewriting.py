"""Rewrites a `.tflite` from its own tables, without what no runtime reads, with operators in another order.

A table is copied field by field as the schema describes it, so that nothing else changes. A model with an unknown field
cannot be rewritten.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from mww.tflite.flatbuffer import Buffer, MalformedError, Table

if TYPE_CHECKING:
    from flatbuffers import Builder

_IDENTIFIER: Final = b"TFL3"
_BUFFER_ALIGNMENT: Final = 16  # `force_align: 16` of Buffer.data

_SCALARS: Final = {"byte": 1, "int": 4, "long": 8}
_VECTORS: Final = {"bytes": "u1", "ints": "<i4", "longs": "<i8", "floats": "<f4"}

# A field is a scalar by width, a vector by element, text, a table by its name, `drop` (nothing at run time reads it),
# `zero` (a byte that must be left at its default) or `absent`. Fields stand in the schema's order (tensorflow 2.19.1,
# `schema_v3c.fbs`).
_TABLES: Final[dict[str, tuple[str, ...]]] = {
    "OperatorCode": ("byte", "text", "int", "int"),
    "Tensor": ("ints", "byte", "buffer", "drop", "Quantization", "byte", "absent", "drop", "byte", "absent"),
    "Quantization": ("drop", "drop", "floats", "longs", "zero", "absent", "int"),
    "Operator": (
        *("int", "ints", "ints", "byte", "options", "bytes", "byte", "bytes", "ints"),
        *("absent", "absent", "zero", "absent", "drop"),
    ),
}

_OPTIONS: Final[dict[int, tuple[str, ...]]] = {
    1: ("byte", "int", "int", "byte", "int", "int", "byte"),  # Conv2DOptions
    2: ("byte", "int", "int", "int", "byte", "int", "int"),  # DepthwiseConv2DOptions
    5: ("byte", "int", "int", "int", "int", "byte"),  # Pool2DOptions
    8: ("byte", "byte", "byte", "byte", "byte"),  # FullyConnectedOptions
    10: ("int", "byte"),  # ConcatenationOptions
    11: ("byte", "byte"),  # AddOptions
    17: ("ints",),  # ReshapeOptions
    21: ("byte",),  # MulOptions
    27: ("byte",),  # ReducerOptions
    32: ("int", "int", "int", "int", "int", "byte"),  # StridedSliceOptions
    59: ("int", "int"),  # PackOptions
    79: ("int",),  # SplitVOptions
    103: ("int",),  # CallOnceOptions
    111: ("text", "text"),  # VarHandleOptions
}
"""The fields of each member of BuiltinOptions; all others must be empty, as for the remaining operators."""


class NotRewritableError(ValueError):
    """The file has a part that this module cannot copy."""


def rewrite(content: bytes, order: Sequence[int] | None = None) -> bytes:
    """Write a model again without names, metadata and duplicate buffers.

    Args:
        content: A `.tflite` that `mww.tflite.model_file` has read.
        order: The main graph's operators in their new order, by old indices; None keeps the order.

    Raises:
        NotRewritableError: A part of the file cannot be kept as it is.
    """
    try:
        return _Rewriter(content).model(order)
    except MalformedError as error:
        raise NotRewritableError(str(error)) from error


class _Rewriter:
    def __init__(self, content: bytes) -> None:
        import flatbuffers

        self._builder: Builder = flatbuffers.Builder(len(content))
        self._content = content
        self._root = Buffer(content).root()
        self._old_buffers = list(self._root.tables(4))
        self._new_buffers: list[int] = []
        self._buffer_numbers: dict[bytes, int] = {}
        self._renumbered: dict[int, int] = {}
        self._vectors: dict[tuple[str, bytes], int] = {}

    def model(self, order: Sequence[int] | None) -> bytes:
        self._require_fields(self._root, 8)
        self._add_buffer(b"")  # buffer 0 is the empty one
        codes = [self._table(code, _TABLES["OperatorCode"]) for code in self._root.tables(1)]
        subgraphs = [
            self._subgraph(table, order if index == 0 else None) for index, table in enumerate(self._root.tables(2))
        ]
        fields = {1: self._offsets(codes), 2: self._offsets(subgraphs), 4: self._offsets(self._new_buffers)}
        builder = self._builder
        builder.StartObject(8)
        builder.PrependUint32Slot(0, self._root.uint32(0), 0)
        for slot, offset in fields.items():
            builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
        builder.Finish(builder.EndObject(), _IDENTIFIER)
        return bytes(builder.Output())

    def _subgraph(self, table: Table, order: Sequence[int] | None) -> int:
        self._require_fields(table, 6)
        tensors = self._offsets([self._table(tensor, _TABLES["Tensor"]) for tensor in table.tables(0)])
        operators = list(table.tables(3))
        written = [self._table(operators[index], _TABLES["Operator"]) for index in order or range(len(operators))]
        fields = {0: tensors, 3: self._offsets(written)}
        fields |= {slot: self._vector("ints", table, slot) for slot in (1, 2) if table.has(slot)}
        return self._object(6, {}, fields)

    def _table(self, table: Table, kinds: Sequence[str]) -> int:
        """Copy a table whose fields are of the given kinds."""
        self._require_fields(table, len(kinds))
        scalars: dict[int, tuple[str, int]] = {}
        offsets: dict[int, int] = {}
        for slot, kind in enumerate(kinds):
            if not table.has(slot) or kind == "drop":
                continue
            if kind in _SCALARS:
                scalars[slot] = (kind, _scalar(table, slot, kind))
            elif kind == "buffer":
                scalars[slot] = ("int", self._buffer(table.uint32(slot)))
            elif kind == "absent" or (kind == "zero" and table.uint8(slot)):
                raise NotRewritableError(f"field {slot} of a table is set")
            elif kind == "zero":
                continue
            else:
                offsets[slot] = self._child(table, slot, kind)
        return self._object(len(kinds), scalars, offsets)

    def _child(self, table: Table, slot: int, kind: str) -> int:
        if kind in _VECTORS:
            return self._vector(kind, table, slot)
        if kind == "text":
            return self._text(self._bytes(table, slot))
        child = table.table(slot)
        assert child is not None  # the caller has checked the field
        if kind == "options":
            return self._table(child, _OPTIONS.get(table.uint8(slot - 1), ()))
        return self._table(child, _TABLES[kind])

    def _object(self, slots: int, scalars: dict[int, tuple[str, int]], offsets: dict[int, int]) -> int:
        builder = self._builder
        builder.StartObject(slots)
        for slot, (kind, value) in sorted(scalars.items(), key=lambda item: -_SCALARS[item[1][0]]):
            {"byte": builder.PrependUint8, "int": builder.PrependUint32, "long": builder.PrependUint64}[kind](value)
            builder.Slot(slot)
        for slot, offset in offsets.items():
            builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
        end: int = builder.EndObject()
        return end

    def _vector(self, kind: str, table: Table, slot: int) -> int:
        """Copy a vector; equal vectors are written once."""
        values = table.array(slot, _VECTORS[kind])
        key = (kind, values.tobytes())
        if key not in self._vectors:
            self._vectors[key] = self._builder.CreateNumpyVector(np.ascontiguousarray(values))
        return self._vectors[key]

    def _bytes(self, table: Table, slot: int) -> bytes:
        start, length = table.span(slot)
        return self._content[start : start + length]

    def _text(self, raw: bytes) -> int:
        key = ("text", raw)
        if key not in self._vectors:
            self._vectors[key] = self._builder.CreateString(raw)
        return self._vectors[key]

    def _offsets(self, offsets: Sequence[int]) -> int:
        builder = self._builder
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        end: int = builder.EndVector()
        return end

    def _buffer(self, number: int) -> int:
        """The new number of a buffer; equal buffers share a number."""
        if number not in self._renumbered:
            self._renumbered[number] = self._merge_buffer(number)
        return self._renumbered[number]

    def _merge_buffer(self, number: int) -> int:
        if number >= len(self._old_buffers):
            raise NotRewritableError(f"buffer {number} does not exist")
        table = self._old_buffers[number]
        if table.uint64(1) or table.uint64(2):
            raise NotRewritableError("a buffer lies after the flatbuffer")
        content = self._bytes(table, 0)
        if content not in self._buffer_numbers:
            self._add_buffer(content)
        return self._buffer_numbers[content]

    def _add_buffer(self, content: bytes) -> None:
        builder = self._builder
        fields = {}
        if content:
            builder.StartVector(1, len(content), _BUFFER_ALIGNMENT)
            builder.head -= len(content)
            builder.Bytes[builder.head : builder.head + len(content)] = content
            fields[0] = builder.EndVector()
        self._buffer_numbers[content] = len(self._new_buffers)
        self._new_buffers.append(self._object(3, {}, fields))

    def _require_fields(self, table: Table, known: int) -> None:
        unknown = [slot for slot in range(known, table.slots) if table.has(slot)]
        if unknown:
            raise NotRewritableError(f"field {unknown[0]} of a table is newer than the schema here")


def _scalar(table: Table, slot: int, kind: str) -> int:
    if kind == "byte":
        return table.uint8(slot)
    return table.uint32(slot) if kind == "int" else table.uint64(slot)
