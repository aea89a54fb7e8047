"""The rows of the chips agree with esptool, and the docs have a row for each."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from harness.boards.firmware_project import board_names
from mww.esphome.chips import CHIP_NAMES, CHIPS, DEFAULT_CHIP, QEMU_CHIPS, VIRTUAL_CHIPS, Chip, find_chip
from mww.images.partition_table import BOOTLOADER_OFFSETS
from mww.tflm.esp_nn import TABLES

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize("chip", CHIPS, ids=lambda chip: chip.name)
def test_a_row_agrees_with_esptool(chip: Chip) -> None:
    from esptool.targets import CHIP_DEFS

    rom = CHIP_DEFS[chip.name]
    assert (chip.title, chip.image_id) == (rom.CHIP_NAME, rom.IMAGE_CHIP_ID)
    assert chip.bootloader_offset == rom.BOOTLOADER_FLASH_OFFSET
    assert chip.flash_80mhz == rom.FLASH_FREQUENCY["80m"]
    assert chip.eui64 == ("EUI64" in inspect.getsource(rom.read_mac))


def test_names_lead_to_rows() -> None:
    assert [find_chip(name) for name in CHIP_NAMES] == list(CHIPS)
    assert DEFAULT_CHIP in set(VIRTUAL_CHIPS) & set(QEMU_CHIPS)


def test_a_bootloader_is_looked_for_where_a_chip_has_it() -> None:
    assert set(BOOTLOADER_OFFSETS) == {chip.bootloader_offset for chip in CHIPS}


def test_every_firmware_board_that_a_chip_names_exists() -> None:
    assert {chip.board for chip in CHIPS if chip.board} <= set(board_names())


def test_esp_nn_has_kernels_for_every_chip() -> None:
    assert all(set(table) == set(CHIP_NAMES) for table in TABLES.values())


def test_the_docs_have_a_row_for_each_chip_of_qemu_and_each_firmware_board() -> None:
    assert tuple(re.findall(r"^\| `(esp32\w*)` \|", (DOCS / "qemu.md").read_text(), re.M)) == QEMU_CHIPS
    boards = (DOCS / "firmware.md").read_text().split("## Boards")[1].split("##")[0]
    assert set(re.findall(r"^\| `([\w-]+)` \|", boards, re.M)) == set(board_names())
