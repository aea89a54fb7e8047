"""TensorFlow's checkpoint format, a *tensor bundle*: an index that is a sorted table, and data files of raw numbers.

Read from tensorflow 2.19.1, `core/util/tensor_bundle`, `core/lib/io/table_format` and `core/protobuf/tensor_bundle`. It
reads only what a checkpoint of weights has: floats, whole tensors, blocks that are not compressed. Files are not
trusted: every offset is bounded, and what a checksum covers is checked.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Final

import numpy as np

from exporter.network.architecture import FloatArray
from mww.core.readable import open_regular, read_regular

MAX_INDEX_SIZE: Final = 4 * 1024 * 1024

_MAX_KEY: Final = 1024
_MAGIC: Final = 0xDB4775248B80FB57
_FOOTER: Final = 48
_TRAILER: Final = 5  # a byte for the compression, four of a checksum
_HEADER_KEY: Final = b""
_FLOATS: Final = {1: "<f4", 2: "<f8", 19: "<f2"}
"""Numbers of `DataType`."""

_STRING: Final = 7
_GRAPH_KEY: Final = "_CHECKPOINTABLE_OBJECT_GRAPH"

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_CASTAGNOLI: Final = 0x82F63B78


@dataclass(frozen=True, slots=True)
class Entry:
    """The place of a tensor in the data files."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int
    sliced: bool


@dataclass(frozen=True, slots=True)
class Trackable:
    """An object of a checkpoint: its members by name, as indices into the list of objects, and the place of its value.

    Read from tensorflow 2.19.1, `core/protobuf/trackable_object_graph.proto`.
    """

    members: Mapping[str, int]
    key: str | None


@dataclass(frozen=True)
class Bundle:
    """The index of a checkpoint."""

    prefix: Path
    shards: int
    entries: Mapping[str, Entry] = field(repr=False)

    def read(self, key: str) -> FloatArray:
        """Read one tensor.

        Raises:
            OSError: Its file cannot be read.
            ValueError: It is not a whole tensor of floats, or is damaged.
        """
        entry = self.entries[key]
        if entry.dtype not in _FLOATS or entry.sliced:
            raise ValueError(f"{key[:80]} is not a whole tensor of floats")
        kind = np.dtype(_FLOATS[entry.dtype])
        if entry.size != prod(entry.shape) * kind.itemsize:
            raise ValueError(f"{key[:80]} has {entry.size} bytes for shape {list(entry.shape)[:8]}")
        content = self._content(key, entry)
        if masked_crc32c(content) != entry.checksum:
            raise ValueError(f"{key[:80]} is damaged")
        return np.frombuffer(content, kind).reshape(entry.shape).astype(np.float32)

    def objects(self) -> tuple[Trackable, ...]:
        """The saved objects, with the root first; empty where the checkpoint does not contain them.

        Raises:
            OSError: Their file cannot be read.
            ValueError: Their table is damaged.
        """
        entry = self.entries.get(_GRAPH_KEY)
        if entry is None:
            return ()
        if entry.dtype != _STRING or entry.sliced or entry.size > MAX_INDEX_SIZE:
            raise ValueError("its graph of objects is not a text of a bounded size")
        content = self._content(_GRAPH_KEY, entry)
        length, at = _varint(content, 0)
        text = content[at + 4 :]  # after a checksum of the length
        if len(text) != length or masked_crc32c(length.to_bytes(4, "little") + content[at:]) != entry.checksum:
            raise ValueError("its graph of objects is damaged")
        return tuple(_trackable(node) for number, node in _fields(text) if number == 1 and isinstance(node, bytes))

    def _content(self, key: str, entry: Entry) -> bytes:
        path = self.prefix.with_name(f"{self.prefix.name}.data-{entry.shard:05d}-of-{self.shards:05d}")
        if entry.offset + entry.size > path.stat().st_size:
            raise ValueError(f"{key[:80]} ends after its file")
        with open_regular(path) as file:
            file.seek(entry.offset)
            return file.read(entry.size)


def read_bundle(prefix: Path) -> Bundle:
    """Read the index of a checkpoint by its prefix, such as `restore/ckpt-3`.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not an index, or is damaged.
    """
    content = read_regular(prefix.with_name(f"{prefix.name}.index"), MAX_INDEX_SIZE)
    shards = 1
    entries: dict[str, Entry] = {}
    for key, value in _table(content):
        if key == _HEADER_KEY:
            header = dict(_fields(value))
            shards = _number(header, 1)
            if _number(header, 2):
                raise ValueError("its numbers are big-endian")
        else:
            entries[key.decode("utf-8")] = _entry(value)
    return Bundle(prefix, shards, entries)


def masked_crc32c(content: bytes) -> int:
    """TensorFlow's masked checksum: CRC-32C, rotated and shifted so that checksums of checksums stay useful."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc = _CRC_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _crc_entry(byte: int) -> int:
    for _ in range(8):
        byte = (byte >> 1) ^ (_CASTAGNOLI if byte & 1 else 0)
    return byte


_CRC_TABLE: Final = tuple(_crc_entry(byte) for byte in range(256))


def _table(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of a sorted table, whose last block lists the others."""
    footer = content[-_FOOTER:]
    if len(footer) < _FOOTER or int.from_bytes(footer[-8:], "little") != _MAGIC:
        raise ValueError("it is not an index of a checkpoint")
    _, at = _handle(footer, 0)
    blocks, _ = _handle(footer, at)
    left = len(content)
    for _, handle in _block(content, blocks):
        place, _ = _handle(handle, 0)
        left -= place[1]
        if left < 0:
            raise ValueError("the blocks of the index overlap")
        yield from _block(content, place)


def _handle(content: bytes, at: int) -> tuple[tuple[int, int], int]:
    """Offset and size of a block, and the start of the next handle."""
    offset, at = _varint(content, at)
    size, at = _varint(content, at)
    return (offset, size), at


def _block(content: bytes, place: tuple[int, int]) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block; each key is stored as its difference from the key before it."""
    offset, size = place
    block, trailer = content[offset : offset + size], content[offset + size : offset + size + _TRAILER]
    if len(trailer) != _TRAILER or size < 4:
        raise ValueError("a block lies outside the index")
    compression, checksum = struct.unpack("<BI", trailer)
    if compression or masked_crc32c(block + trailer[:1]) != checksum:
        raise ValueError("a block of the index is compressed or damaged")
    (restarts,) = struct.unpack("<I", block[-4:])
    end = size - 4 * (restarts + 1)
    at, key = 0, b""
    former: bytes | None = None
    while at < end:
        shared, at = _varint(block, at)
        fresh, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:shared] + block[at : at + fresh]
        if len(key) > _MAX_KEY:  # each key may repeat all of the key before
            raise ValueError("a name in the index is too long")
        if former is not None and key <= former:
            raise ValueError("the names in the index are not in order")
        former = key
        yield key, block[at + fresh : at + fresh + length]
        at += fresh + length


def _entry(message: bytes) -> Entry:
    results = list(_fields(message))
    fields = dict(results)
    shape = fields.get(2, b"")
    dimensions = [size for number, size in _fields(shape if isinstance(shape, bytes) else b"") if number == 2]
    return Entry(
        dtype=_number(fields, 1),
        shape=tuple(_number(dict(_fields(size)), 1) for size in dimensions if isinstance(size, bytes)),
        shard=_number(fields, 3),
        offset=_number(fields, 4),
        size=_number(fields, 5),
        checksum=_number(fields, 6),
        sliced=any(number == 7 for number, _ in results),
    )


def _trackable(message: bytes) -> Trackable:
    members: dict[str, int] = {}
    keys: dict[str, str] = {}
    for number, content in _fields(message):
        if number in (1, 2) and isinstance(content, bytes):
            fields = dict(_fields(content))
            if number == 1:
                members[_text(fields, 2)] = _number(fields, 1)
            else:
                keys[_text(fields, 1)] = _text(fields, 3)
    return Trackable(members, keys.get("VARIABLE_VALUE"))


def _text(fields: Mapping[int, int | bytes], number: int) -> str:
    value = fields.get(number, b"")
    if not isinstance(value, bytes):
        raise ValueError("a name in the index is a number")
    return value.decode("utf-8")


def _number(fields: Mapping[int, int | bytes], number: int) -> int:
    """A number field of a message; 0 if it is absent."""
    value = fields.get(number, 0)
    if isinstance(value, bytes):
        raise ValueError("a number field in the index is not a number")
    return value


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protocol buffer by number."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield number, value
        elif kind in (_FIXED32, _FIXED64):
            width = 4 if kind == _FIXED32 else 8
            yield number, int.from_bytes(message[at : at + width], "little")
            at += width
        elif kind == _BYTES:
            length, at = _varint(message, at)
            yield number, message[at : at + length]
            at += length
        else:
            raise ValueError("the index holds something that is not a field")


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """A varint, and the position after it."""
    value = 0
    for shift in range(0, 64, 7):
        if at >= len(content):
            break
        value |= (content[at] & 0x7F) << shift
        at += 1
        if content[at - 1] < 0x80:
            return value, at
    raise ValueError("a number in the index has no end")
