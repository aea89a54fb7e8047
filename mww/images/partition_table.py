"""ESP-IDF's partition table: read as the second stage bootloader reads it, and made as its tools make it."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from mww.core.errors import ImageError

TABLE_SIZE: Final = 0xC00
"""Bytes; ESP_PARTITION_TABLE_MAX_LEN of ESP-IDF (`esp_flash_partitions.h`)."""

APP: Final = 0x00
DATA: Final = 0x01
APP_FACTORY: Final = 0x00
APP_OTA_0: Final = 0x10
DATA_OTA: Final = 0x00
DATA_NVS: Final = 0x02
DATA_MODEL: Final = 0x40
"""Subtype of the model partition, from the range that ESP-IDF leaves to applications."""

MODEL_PARTITION_NAME: Final = "mww_model"

_ENTRY: Final = struct.Struct("<2sBBII16sI")
_MAGIC: Final = b"\xaa\x50"
_MD5_ENTRY: Final = b"\xeb\xeb" + b"\xff" * 14
ERASED_ENTRY: Final = b"\xff" * _ENTRY.size


@dataclass(frozen=True, slots=True)
class Partition:
    """One entry: offset and size in bytes."""

    name: str
    type: int
    subtype: int
    offset: int
    size: int
    flags: int = 0

    @property
    def is_model(self) -> bool:
        """Whether models go here."""
        return (self.type, self.subtype, self.name) == (DATA, DATA_MODEL, MODEL_PARTITION_NAME)


def parse_partition_table(data: bytes, flash_size: int) -> tuple[Partition, ...]:
    """Read a table, as `esp_partition_table_verify` does.

    Raises:
        ImageError: It is not one, its digest is wrong, or a partition sticks out of the flash.
    """
    partitions: list[Partition] = []
    for start in range(0, min(len(data), TABLE_SIZE) - _ENTRY.size + 1, _ENTRY.size):
        entry = data[start : start + _ENTRY.size]
        number = len(partitions)
        if entry.startswith(_MD5_ENTRY[:2]):
            if entry[16:] != hashlib.md5(data[:start], usedforsecurity=False).digest():
                raise ImageError(
                    "partition table MD5 does not match", hint="was the file copied whole? build the firmware again"
                )
        elif entry == ERASED_ENTRY and partitions:
            return tuple(partitions)
        elif not entry.startswith(_MAGIC):
            raise ImageError(
                f"partition {number} invalid magic number {int.from_bytes(entry[:2], 'little'):#x}",
                hint="was the file copied whole? build the firmware again",
            )
        else:
            partitions.append(_parse_entry(entry, number, flash_size))
    raise ImageError(
        f"partition table has no end after {len(partitions)} partitions",
        hint="was the file copied whole? build the firmware again",
    )


def make_partition_table(partitions: Iterable[Partition]) -> bytes:
    """Make a table with its digest, padded to `TABLE_SIZE`."""
    entries = b"".join(
        _ENTRY.pack(_MAGIC, part.type, part.subtype, part.offset, part.size, part.name.encode(), part.flags)
        for part in partitions
    )
    digest = hashlib.md5(entries, usedforsecurity=False).digest()
    return (entries + _MD5_ENTRY + digest).ljust(TABLE_SIZE, b"\xff")


def find_model_partition(partitions: Iterable[Partition]) -> Partition | None:
    """The partition that models go to, as the firmware looks it up."""
    return next((part for part in partitions if part.is_model), None)


def _parse_entry(entry: bytes, number: int, flash_size: int) -> Partition:
    _, kind, subtype, offset, size, name, flags = _ENTRY.unpack(entry)
    if offset + size > flash_size:
        raise ImageError(
            f"partition {number} invalid - offset {offset:#x} size {size:#x} exceeds flash chip size {flash_size:#x}",
            hint="build the firmware for the flash size of this board",
        )
    return Partition(name.rstrip(b"\0").decode("ascii", "replace"), kind, subtype, offset, size, flags)
