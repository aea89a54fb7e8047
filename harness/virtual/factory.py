"""The virtual firmware as files: bootloader, partition table and application, with the same bytes on every machine.

Headers, checksums and descriptors are real; the code is an endless loop. A virtual board that boots the application
runs the firmware's C++ session in its place.
"""

from __future__ import annotations

from typing import Final

from harness.virtual.chips import VirtualChip, find_chip
from mww import __version__
from mww.images import partition_table as table
from mww.images.esp_image import AppDescriptor, Segment, build_image
from mww.images.partition_table import (
    MODEL_PARTITION_NAME,
    PARTITION_TABLE_OFFSET,
    FlashPart,
    Partition,
    make_partition_table,
    whole_sectors,
)

PROJECT: Final = "mww-harness-virtual"
"""The application's project name, from which a virtual board recognises it."""

_NVS: Final = Partition("nvs", table.DATA, table.DATA_NVS, 0x9000, 0x6000)
_APP: Final = Partition("factory", table.APP, table.APP_FACTORY, 0x10000, 0x100000)
_MODELS: Final = Partition(MODEL_PARTITION_NAME, table.DATA, table.DATA_MODEL, 0x110000, 0x200000)
PARTITIONS: Final = (_NVS, _APP, _MODELS)
"""The partitions; the model partition has room for four models and an upload of a fifth."""

_LOOP_XTENSA: Final = bytes.fromhex("06ffff00")  # j .
_LOOP_RISCV: Final = bytes.fromhex("6f000000")  # j .


def factory_parts(chip: VirtualChip) -> tuple[FlashPart, ...]:
    """The virtual firmware for a chip, part by part."""
    return (
        FlashPart("bootloader", chip.bootloader_offset, whole_sectors(_bootloader(chip))),
        FlashPart("partition table", PARTITION_TABLE_OFFSET, whole_sectors(make_partition_table(PARTITIONS))),
        FlashPart(_APP.name, _APP.offset, whole_sectors(_app(chip))),
    )


def factory_image(chip: VirtualChip) -> bytes:
    """The virtual firmware for a chip as one file for offset 0, like those that ESPHome makes."""
    parts = factory_parts(chip)
    image = bytearray(b"\xff" * (parts[-1].offset + len(parts[-1].data)))
    for part in parts:
        image[part.offset : part.offset + len(part.data)] = part.data
    return bytes(image)


def factory_image_for(chip: str) -> bytes:
    """The virtual firmware for a chip by its name.

    Raises:
        UsageError: The chip does not have a virtual board.
    """
    return factory_image(find_chip(chip))


def _bootloader(chip: VirtualChip) -> bytes:
    text = f"mww-harness {__version__} bootloader for a virtual {chip.title}".encode()
    return _image(chip, (Segment(chip.iram, _loop(chip)), Segment(chip.iram + 0x1000, text)))


def _app(chip: VirtualChip) -> bytes:
    text = (
        f"This is the firmware of a virtual {chip.title}, made by mww-harness {__version__}. A virtual board runs the "
        "firmware's session on the host in its place; on a chip it is an endless loop.\n"
    ).encode()
    descriptor = AppDescriptor(PROJECT, __version__, "none").encode(text)
    return _image(chip, (Segment(chip.drom + 0x20, descriptor + text), Segment(chip.iram, _loop(chip))))


def _image(chip: VirtualChip, segments: tuple[Segment, ...]) -> bytes:
    return build_image(chip.image_id, chip.iram, segments, flash_size=chip.flash_size, flash_speed=chip.flash_80mhz)


def _loop(chip: VirtualChip) -> bytes:
    return _LOOP_XTENSA if chip.instruction_set == "xtensa" else _LOOP_RISCV
