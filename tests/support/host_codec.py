"""The firmware's codecs and rules, one by one, through the host library (`firmware/host/include/mww_codec.h`)."""

from __future__ import annotations

import ctypes as c
from functools import cache

from harness.link.framing import Frame
from harness.virtual.hostlib import host_library

_ON_FRAME = c.CFUNCTYPE(None, c.c_void_p, c.c_uint8, c.c_uint16, c.c_void_p, c.c_size_t)
_CAPACITY = 1 << 17


class _Detected(c.Structure):
    _fields_ = [("frame", c.c_uint32), ("slice", c.c_uint8), ("average", c.c_uint8), ("maximum", c.c_uint8)]


@cache
def _library() -> c.CDLL:
    library = c.CDLL(str(host_library()))
    for name in ("mww_encode_frame", "mww_decode_frames", "mww_reencode", "mww_detect"):
        getattr(library, name).restype = c.c_size_t
    library.mww_sha256.restype = None
    return library


def encode_frame(kind: int, sequence: int, payload: bytes, capacity: int = _CAPACITY) -> bytes:
    """The frame; empty if it is larger than `capacity`."""
    frame = c.create_string_buffer(capacity)
    size = _library().mww_encode_frame(
        c.c_uint8(kind), c.c_uint16(sequence), payload, c.c_size_t(len(payload)), frame, c.c_size_t(capacity)
    )
    return frame.raw[:size]


def decode_frames(stream: bytes, capacity: int = _CAPACITY) -> tuple[list[Frame], int]:
    """The frames of a stream, and how many were rejected."""
    frames: list[Frame] = []

    @_ON_FRAME
    def on_frame(_: object, kind: int, sequence: int, payload: int, size: int) -> None:
        frames.append(Frame(kind, sequence, c.string_at(payload, size)))

    rejected = _library().mww_decode_frames(stream, c.c_size_t(len(stream)), c.c_size_t(capacity), on_frame, None)
    return frames, int(rejected)


def reencode(kind: int, payload: bytes) -> bytes:
    """The payload parsed and written again, as a frame; empty if it is no such message."""
    frame = c.create_string_buffer(_CAPACITY)
    size = _library().mww_reencode(c.c_uint8(kind), payload, c.c_size_t(len(payload)), frame, c.c_size_t(_CAPACITY))
    return frame.raw[:size]


def sha256(data: bytes) -> bytes:
    """The digest."""
    digest = c.create_string_buffer(32)
    _library().mww_sha256(data, c.c_size_t(len(data)), digest)
    return digest.raw


def detect(outputs: bytes, *, cutoff: int, window: int, stride: int) -> list[tuple[int, int, int, int]]:
    """Frame, slice within it, average and maximum of each detection."""
    result = (_Detected * max(1, len(outputs)))()
    number = _library().mww_detect(
        c.c_uint8(cutoff),
        c.c_uint8(window),
        c.c_uint8(stride),
        outputs,
        c.c_size_t(len(outputs)),
        result,
        c.c_size_t(len(result)),
    )
    return [(item.frame, item.slice, item.average, item.maximum) for item in result[:number]]
