"""ESP-IDF's partition table, and the factory image that it divides.

The table is read as the second stage bootloader reads it, and made as ESP-IDF's tools make it. A factory image, the one
file for offset 0, is taken apart, so that each part can be compared with a board's flash and the settings between the
parts stay.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from mww.core.errors import ImageError
from mww.images.esp_image import INCOMPLETE, AppDescriptor, EspImage, is_image, parse_image

PARTITION_TABLE_OFFSET: Final = 0x8000
"""ESP-IDF's default, and ESPHome's."""

_SECTOR: Final = 0x1000
BOOTLOADER_OFFSETS: Final = (0x0, 0x1000, 0x2000)
"""Where chips have their second stage bootloader; a test compares them with the rows of `mww.esphome.chips`."""

_ANY_SIZE: Final = 1 << 32
_HINT: Final = "give the factory image: firmware.factory.bin of ESPHome, or what `mww firmware` names"

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
class FlashPart:
    """Bytes, a whole number of sectors, and where in flash they belong."""

    name: str
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class FactoryImage:
    """A factory image: for which chip, by its number in image headers; its parts; its partitions; its application."""

    chip_id: int
    parts: tuple[FlashPart, ...]
    partitions: tuple[Partition, ...]
    app: AppDescriptor | None


def read_factory_image(data: bytes) -> FactoryImage:
    """Take a factory image apart.

    Raises:
        ImageError: It is not one, or an image within it is damaged.
    """
    table = data[PARTITION_TABLE_OFFSET : PARTITION_TABLE_OFFSET + TABLE_SIZE]
    try:
        partitions = parse_partition_table(table, _ANY_SIZE)
    except ImageError as error:
        raise ImageError(f"no factory image: {error.message}", hint=_HINT) from error
    bootloader = next((at for at in BOOTLOADER_OFFSETS if is_image(data[at:])), None)
    app = next((part for part in partitions if part.type == APP and is_image(data[part.offset :])), None)
    if bootloader is None or app is None:
        raise ImageError(
            f"no factory image: it has no {'application' if bootloader is not None else 'bootloader'}", hint=_HINT
        )
    first = parse_image(data[bootloader:PARTITION_TABLE_OFFSET], bootloader)
    image: EspImage = parse_image(data[app.offset : app.offset + app.size], app.offset)
    if first.chip_id != image.chip_id:
        raise ImageError("bootloader and application are for different chips", hint=_HINT)
    regions = [("bootloader", bootloader, PARTITION_TABLE_OFFSET), ("partition table", PARTITION_TABLE_OFFSET, 0x9000)]
    regions += [(part.name, part.offset, part.offset + part.size) for part in partitions]
    parts = tuple(_parts(data, regions))
    return FactoryImage(image.chip_id, parts, partitions, image.app)


def whole_sectors(data: bytes) -> bytes:
    """Pad with erased bytes to the end of the sector."""
    return data + b"\xff" * (-len(data) % _SECTOR)


def _parts(data: bytes, regions: list[tuple[str, int, int]]) -> Iterator[FlashPart]:
    for name, start, end in regions:
        content = data[start:end].rstrip(b"\xff")
        if content:
            yield FlashPart(name, start, whole_sectors(content))


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
                raise ImageError("partition table MD5 does not match", hint=INCOMPLETE)
        elif entry == ERASED_ENTRY and partitions:
            return tuple(partitions)
        elif not entry.startswith(_MAGIC):
            raise ImageError(
                f"partition {number} invalid magic number {int.from_bytes(entry[:2], 'little'):#x}", hint=INCOMPLETE
            )
        else:
            partitions.append(_parse_entry(entry, number, flash_size))
    raise ImageError(f"partition table has no end after {len(partitions)} partitions", hint=INCOMPLETE)


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
