"""Frames on the wire: COBS with a CRC32, a zero on both sides, and any log text between them.

Pure bytes in and out; `messages` gives the frames a meaning.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Final

from cobs import cobs

_HEAD: Final = struct.Struct("<BH")
_CHECK: Final = struct.Struct("<I")
OVERHEAD: Final = _HEAD.size + _CHECK.size
"""Bytes that a frame adds to its payload before COBS."""
_LONGEST_CHUNK: Final = 1 << 17
"""Bytes without a zero after which a decoder discards them: twice the largest frame."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A complete frame; `type` is the message's type number."""

    type: int
    sequence: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Stray:
    """Bytes between two zeros that are not a frame: log text, or a damaged frame."""

    content: bytes


def encode_frame(kind: int, sequence: int, payload: bytes) -> bytes:
    """The frame's bytes on the wire, with the two zeros."""
    body = _HEAD.pack(kind, sequence) + payload
    return b"\0%b\0" % cobs.encode(body + _CHECK.pack(zlib.crc32(body)))


def wire_size(payload: int) -> int:
    """The most bytes that a frame with `payload` bytes takes on the wire."""
    body = payload + OVERHEAD
    return body + body // 254 + 3


class FrameDecoder:
    """Splits a byte stream into frames and other bytes; the state is only the bytes after the last zero."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Frame | Stray]:
        """Take the next bytes of the stream and return the completed items, in order."""
        *chunks, self._rest = (self._rest + data).split(b"\0")
        results = [_decode(chunk) for chunk in chunks if chunk]
        if len(self._rest) > _LONGEST_CHUNK:
            results.append(Stray(self._rest))
            self._rest = b""
        return results

    def take_rest(self) -> list[Stray]:
        """The bytes after the last zero, at the end of the stream; not a frame, since a frame ends with a zero."""
        rest, self._rest = self._rest, b""
        return [Stray(rest)] if rest else []


def _decode(chunk: bytes) -> Frame | Stray:
    try:
        body = cobs.decode(chunk)
    except cobs.DecodeError:
        return Stray(chunk)
    if len(body) < OVERHEAD or _CHECK.unpack(body[-_CHECK.size :])[0] != zlib.crc32(body[: -_CHECK.size]):
        return Stray(chunk)
    kind, sequence = _HEAD.unpack_from(body)
    return Frame(kind, sequence, body[_HEAD.size : -_CHECK.size])
