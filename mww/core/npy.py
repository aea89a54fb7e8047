"""A strict reader of `.npy` headers: it accepts only headers of arrays of numbers."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from math import prod
from typing import IO, Any, Final

import numpy as np

_MAGIC: Final = b"\x93NUMPY"
_LENGTH_BYTES: Final = {b"\x01\x00": 2, b"\x02\x00": 4, b"\x03\x00": 4}
_MAX_HEADER: Final = 10_000  # numpy 2.2, lib/format.py: what its own reader takes
_MAX_AXES: Final = 32
_MAX_BYTES: Final = 2**63 - 1
_NUMBERS: Final = re.compile(r"[<>|=]?[biuf][1-9]\d?")
_KEYS: Final = {"descr", "fortran_order", "shape"}


@dataclass(frozen=True, slots=True)
class NpyHeader:
    """The content of a header: the type of the numbers, and the shape of the array."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran_order: bool

    @property
    def size(self) -> int:
        """Bytes of the array."""
        return prod(self.shape) * self.dtype.itemsize


def read_npy_header(stream: IO[bytes]) -> NpyHeader:
    """Read a header; afterwards the stream is at the first number.

    Raises:
        OSError: The stream cannot be read.
        ValueError: It is not the header of an array of numbers that fits into memory.
    """
    start = stream.read(len(_MAGIC) + 2)
    width = _LENGTH_BYTES.get(start[len(_MAGIC) :])
    if width is None or not start.startswith(_MAGIC):
        raise ValueError("it is not a .npy array of version 1 to 3")
    length = int.from_bytes(stream.read(width), "little")
    if length > _MAX_HEADER:
        raise ValueError(f"its header has {length} bytes")
    header = _literal(stream.read(length))
    if not isinstance(header, dict) or header.keys() != _KEYS:
        raise ValueError("its header does not give type and shape")
    result = NpyHeader(_dtype(header["descr"]), _shape(header["shape"]), header["fortran_order"] is True)
    if not isinstance(header["fortran_order"], bool) or result.size > _MAX_BYTES:
        raise ValueError("its header gives an order or size that no array has")
    return result


def _literal(content: bytes) -> object:
    try:
        return ast.literal_eval(content.decode("utf-8").strip())
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError("its header is not readable") from error


def _dtype(message: object) -> np.dtype[Any]:
    try:
        if isinstance(message, str) and _NUMBERS.fullmatch(message):
            return np.dtype(message)
    except TypeError:
        pass  # a width that no number has
    raise ValueError(f"its type is {repr(message)[:40]}, not numbers")


def _shape(message: object) -> tuple[int, ...]:
    if not isinstance(message, tuple) or len(message) > _MAX_AXES:
        raise ValueError("its shape is not a list of lengths")
    if not all(type(length) is int and 0 <= length <= _MAX_BYTES for length in message):
        raise ValueError("its shape has a length that no array has")
    return message
