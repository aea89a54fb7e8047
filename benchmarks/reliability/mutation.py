"""Hostile bytes made of good ones: bits flipped, pieces cut, doubled, exchanged, lengths made absurd."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def mutated(content: bytes, chance: random.Random) -> bytes:
    """Content with one to eight changes."""
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        chance.choice(_CHANGES)(data, chance)
    return bytes(data)


def _flip(data: bytearray, chance: random.Random) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _word(data: bytearray, chance: random.Random) -> None:
    if len(data) >= 4:
        struct.pack_into("<I", data, chance.randrange(len(data) - 3), chance.choice(_EXTREMES))


def _cut(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data) + 1)
    del data[start : start + chance.randrange(1, 64)]


def _shorten(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data) + 1) :]


def _double(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data) + 1)
    data[start:start] = data[start : start + chance.randrange(1, 64)]


def _noise(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data) + 1)
    piece = chance.randbytes(chance.randrange(1, 16))
    data[start : start + len(piece)] = piece


_CHANGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip,
    _flip,
    _word,
    _cut,
    _shorten,
    _double,
    _noise,
)
