"""The chips: one row each. Every list of chips in the product, the docs and the tests is made from these rows.

A new chip takes its row, its board in `firmware/boards`, and its silicon in `harness.virtual.chips`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from mww.core.errors import UsageError
from mww.core.readable import shown

Kernels = Literal["portable", "esp32s3", "esp32p4"]
"""The kernels that esp-nn runs on a chip: portable C, or the vector instructions of a chip."""


@dataclass(frozen=True, slots=True)
class QemuChip:
    """How Espressif's QEMU emulates a chip (`tools/idf_py_actions/qemu_ext.py` of ESP-IDF).

    Attributes:
        timers: Classes of the timer groups, whose watchdogs must be off: emulated time runs ahead of a busy computer.
            QEMU only warns of a class that it does not have.
        efuse_size: Bytes of the eFuses.
        efuses: The bits that are burnt, as (byte, value): the chip's revision. Without them it is v0.0, which an
            ESP32-C3's firmware refuses.
    """

    timers: tuple[str, ...]
    efuse_size: int
    efuses: tuple[tuple[int, int], ...]

    def efuse_file(self) -> bytes:
        """The file that QEMU reads the eFuses from."""
        content = bytearray(self.efuse_size)
        for at, value in self.efuses:
            content[at] = value
        return bytes(content)


@dataclass(frozen=True, slots=True)
class Chip:
    """The facts about a chip; numbers are from `esptool/targets`.

    Attributes:
        name: As ESPHome and esptool spell it on a command line.
        title: As Espressif spells it.
        image_id: `chip_id` in the extended header of an image.
        instruction_set: Of its main cores.
        kernels: Whose kernels esp-nn runs on it.
        sram: Bytes of on-chip memory by the datasheet, an upper bound: code, ESPHome, Wi-Fi and audio share it.
        bootloader_offset: Where the second stage bootloader is in flash.
        flash_80mhz: The nibble of an image's header that stands for a flash clock of 80 MHz.
        eui64: Whether its eFuses also hold the extension of the MAC to an EUI-64.
        board: The firmware board that stands for the chip, a file in `firmware/boards`. A chip that has one also has a
            virtual board; None where there is neither.
        qemu: How QEMU emulates it; None where QEMU does not.
    """

    name: str
    title: str
    image_id: int
    instruction_set: Literal["xtensa", "riscv"]
    kernels: Kernels
    sram: int
    bootloader_offset: int
    flash_80mhz: int
    eui64: bool
    board: str | None
    qemu: QemuChip | None


_REVISION_03: Final = ((38, 0x0C),)  # WAFER_VERSION_MINOR_LO = 3

CHIPS: Final = (
    Chip(
        name="esp32",
        title="ESP32",
        image_id=0,
        instruction_set="xtensa",
        kernels="portable",
        sram=520 * 1024,
        bootloader_offset=0x1000,
        flash_80mhz=0xF,
        eui64=False,
        board="esp32-devkit",
        qemu=QemuChip(("timer.esp32.timg",), 124, ((13, 0x80), (22, 0x10))),  # CHIP_VER_REV1, CHIP_VER_REV2
    ),
    Chip(
        name="esp32s2",
        title="ESP32-S2",
        image_id=2,
        instruction_set="xtensa",
        kernels="portable",
        sram=320 * 1024,
        bootloader_offset=0x1000,
        flash_80mhz=0xF,
        eui64=False,
        board=None,
        qemu=None,
    ),
    Chip(
        name="esp32s3",
        title="ESP32-S3",
        image_id=9,
        instruction_set="xtensa",
        kernels="esp32s3",
        sram=512 * 1024,
        bootloader_offset=0,
        flash_80mhz=0xF,
        eui64=False,
        board="esp32-s3-devkitc",
        # Before the ESP32-S3 had timer groups of its own in QEMU, it had the ESP32-C3's.
        qemu=QemuChip(("timer.esp32s3.timg", "timer.esp32c3.timg"), 1024, _REVISION_03),
    ),
    Chip(
        name="esp32c3",
        title="ESP32-C3",
        image_id=5,
        instruction_set="riscv",
        kernels="portable",
        sram=400 * 1024,
        bootloader_offset=0,
        flash_80mhz=0xF,
        eui64=False,
        board="esp32-c3",
        qemu=QemuChip(("timer.esp32c3.timg",), 1024, _REVISION_03),
    ),
    Chip(
        name="esp32c5",
        title="ESP32-C5",
        image_id=23,
        instruction_set="riscv",
        kernels="portable",
        sram=384 * 1024,
        bootloader_offset=0x2000,
        flash_80mhz=0xF,
        eui64=True,
        board="esp32-c5",
        qemu=None,
    ),
    Chip(
        name="esp32c6",
        title="ESP32-C6",
        image_id=13,
        instruction_set="riscv",
        kernels="portable",
        sram=512 * 1024,
        bootloader_offset=0,
        flash_80mhz=0x0,  # its ROM has another divider: esptool names the same code for 80 MHz and 40 MHz
        eui64=True,
        board="esp32-c6",
        qemu=None,
    ),
    Chip(
        name="esp32p4",
        title="ESP32-P4",
        image_id=18,
        instruction_set="riscv",
        kernels="esp32p4",
        sram=768 * 1024,
        bootloader_offset=0x2000,
        flash_80mhz=0xF,
        eui64=False,
        board=None,
        qemu=None,
    ),
)

CHIP_NAMES: Final = tuple(chip.name for chip in CHIPS)

VIRTUAL_CHIPS: Final = tuple(chip.name for chip in CHIPS if chip.board)
"""Chips that have a virtual board."""

QEMU_CHIPS: Final = tuple(chip.name for chip in CHIPS if chip.qemu)

DEFAULT_CHIP: Final = "esp32s3"
"""The default chip: the chip of most boards with a microphone."""

INSTRUCTION_SETS: Final = {"rv32imc": "esp32c3", "xtensa": "esp32"}
"""Names of what executes the firmware's machine code without a chip, with a chip that has the same arena: the same
sizes of pointers and structures, and esp-nn's portable kernels."""

_BY_NAME: Final = {chip.name: chip for chip in CHIPS}


def find_chip(name: str) -> Chip:
    """The row of a chip.

    Raises:
        UsageError: The name is not known.
    """
    if name not in _BY_NAME:
        raise UsageError(f"unknown chip {shown(name)}", hint=f"chips: {', '.join(CHIP_NAMES)}")
    return _BY_NAME[name]
