"""A factory image, the one file for offset 0 that ESPHome and ESP-IDF make, taken apart into what belongs where.

Part by part it can be compared with what a board has, and what lies between the parts (settings above all) stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mww.core.errors import ImageError
from mww.images.esp_image import AppDescriptor, EspImage, is_image, parse_image
from mww.images.partition_table import APP, TABLE_SIZE, Partition, parse_partition_table

PARTITION_TABLE_OFFSET: Final = 0x8000
"""ESP-IDF's default, and ESPHome's."""

_SECTOR: Final = 0x1000
BOOTLOADER_OFFSETS: Final = (0x0, 0x1000, 0x2000)
"""Where chips have their second stage bootloader; a test compares them with the rows of `mww.esphome.chips`."""

_ANY_SIZE: Final = 1 << 32
_HINT: Final = "give the factory image: firmware.factory.bin of ESPHome, or what `mww firmware` names"


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
