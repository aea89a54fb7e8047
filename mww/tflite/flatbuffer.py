"""Reads flatbuffer tables of an untrusted file, with every offset checked.

The generated readers of the `flatbuffers` package follow any offset they find. These few accessors bound each one, and
bound the number of elements that a vector may claim, so that garbage ends in one error and never in a long loop.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt


class MalformedError(ValueError):
    """An offset, length or count that points outside the buffer."""


_MAX_TABLES: Final = 100_000
_MAX_ELEMENTS: Final = 1_000_000


class Buffer:
    """The bytes of one flatbuffer, with a budget of tables and of elements.

    Tables, vectors and strings may be shared, so a small file could otherwise make a large tree. What is not shared
    fits the budgets by itself; converters share some names and small vectors, hence the allowance on top. A wake word
    has some 600 tables and 5,000 elements.
    """

    __slots__ = ("_elements_left", "_tables_left", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._tables_left = min(_MAX_TABLES, max(4096, len(data) // 4))
        self._elements_left = min(_MAX_ELEMENTS, 65_536 + 2 * len(data))

    def charge_table(self) -> None:
        """Take one table from the budget."""
        self._tables_left -= 1
        if self._tables_left < 0:
            raise MalformedError("more tables than a file of this size can hold")

    def charge_elements(self, count: int) -> None:
        """Take the elements of a vector or string that becomes Python objects from the budget."""
        self._elements_left -= count
        if self._elements_left < 0:
            raise MalformedError("more elements than a file of this size can hold")

    def scalar(self, kind: struct.Struct, position: int) -> int | float:
        """Unpack one scalar at an absolute position."""
        if position < 0 or position + kind.size > len(self.data):
            raise MalformedError(f"offset {position} is outside the file")
        value: int | float = kind.unpack_from(self.data, position)[0]
        return value

    def unsigned(self, position: int) -> int:
        """Read a uint32: an offset or a length."""
        return int(self.scalar(_U32, position))

    def root(self) -> Table:
        """Return the root table."""
        return Table(self, self.unsigned(0))


_U32 = struct.Struct("<I")
_I32 = struct.Struct("<i")
_U16 = struct.Struct("<H")
_U8 = struct.Struct("<B")
_I8 = struct.Struct("<b")
_U64 = struct.Struct("<Q")


class Table:
    """One table: its fields by number, each absent or inside the buffer."""

    __slots__ = ("_buffer", "_position", "_vtable", "_vtable_size")

    def __init__(self, buffer: Buffer, position: int) -> None:
        buffer.charge_table()
        self._buffer = buffer
        self._position = position
        self._vtable = position - int(buffer.scalar(_I32, position))
        self._vtable_size = int(buffer.scalar(_U16, self._vtable))
        if self._vtable_size < 4 or self._vtable + self._vtable_size > len(buffer.data):
            raise MalformedError(f"the table at {position} has no valid field list")

    def _field(self, number: int) -> int:
        """Absolute position of a field, or 0 when absent."""
        slot = 4 + 2 * number
        if slot + 2 > self._vtable_size:
            return 0
        offset = int(self._buffer.scalar(_U16, self._vtable + slot))
        return self._position + offset if offset else 0

    def _integer(self, kind: struct.Struct, number: int, default: int) -> int:
        position = self._field(number)
        return int(self._buffer.scalar(kind, position)) if position else default

    def int8(self, number: int, default: int = 0) -> int:
        """Read a signed byte field."""
        return self._integer(_I8, number, default)

    def uint8(self, number: int, default: int = 0) -> int:
        """Read an unsigned byte field."""
        return self._integer(_U8, number, default)

    def int32(self, number: int, default: int = 0) -> int:
        """Read an int32 field."""
        return self._integer(_I32, number, default)

    def uint32(self, number: int, default: int = 0) -> int:
        """Read a uint32 field."""
        return self._integer(_U32, number, default)

    def uint64(self, number: int, default: int = 0) -> int:
        """Read a uint64 field."""
        return self._integer(_U64, number, default)

    def boolean(self, number: int, default: bool = False) -> bool:
        """Read a bool field."""
        return bool(self._integer(_U8, number, int(default)))

    def table(self, number: int) -> Table | None:
        """Follow a table field."""
        position = self._field(number)
        return Table(self._buffer, position + self._buffer.unsigned(position)) if position else None

    def _vector(self, number: int, size: int) -> tuple[int, int]:
        """Start and length of a vector of elements of `size` bytes; (0, 0) when absent."""
        position = self._field(number)
        if not position:
            return 0, 0
        start = position + self._buffer.unsigned(position)
        length = self._buffer.unsigned(start)
        if start + 4 + length * size > len(self._buffer.data):
            raise MalformedError(f"the vector at {start} claims {length} elements and leaves the file")
        return start + 4, length

    @property
    def slots(self) -> int:
        """Number of fields that the table's own list has room for; those beyond are absent."""
        return (self._vtable_size - 4) // 2

    def has(self, number: int) -> bool:
        """Whether the field is present."""
        return bool(self._field(number))

    def position(self, number: int) -> int:
        """Absolute position of a field's own bytes, for changing a copy; 0 when absent."""
        return self._field(number)

    def span(self, number: int) -> tuple[int, int]:
        """Start and length of a vector of bytes; (0, 0) when absent."""
        return self._vector(number, 1)

    def array(self, number: int, dtype: str) -> npt.NDArray[np.generic]:
        """Read a vector of scalars; `dtype` is a little-endian numpy name such as `<i4`."""
        size = np.dtype(dtype).itemsize
        start, length = self._vector(number, size)
        self._buffer.charge_elements(length)
        return np.frombuffer(self._buffer.data, dtype, length, start) if length else np.empty(0, dtype)

    def string(self, number: int) -> str:
        """Read a string; bytes that are not UTF-8 are replaced."""
        start, length = self._vector(number, 1)
        self._buffer.charge_elements(length)
        return self._buffer.data[start : start + length].decode("utf-8", "replace")

    def tables(self, number: int) -> Iterator[Table]:
        """Follow a vector of tables."""
        start, length = self._vector(number, 4)
        self._buffer.charge_elements(length)
        for index in range(length):
            position = start + 4 * index
            yield Table(self._buffer, position + self._buffer.unsigned(position))
