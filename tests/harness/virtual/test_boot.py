from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.virtual.boot import ResetCause, boot, download_log
from harness.virtual.chips import VirtualChip, find_chip
from harness.virtual.factory import PARTITIONS, PROJECT, factory_image, factory_parts
from harness.virtual.flash import Flash
from mww.core.errors import ImageError
from mww.esphome.chips import VIRTUAL_CHIPS
from mww.images.esp_image import AppDescriptor, Segment, build_image, parse_image
from mww.images.partition_table import Partition, make_partition_table, parse_partition_table, read_factory_image

CHIPS = tuple(map(find_chip, VIRTUAL_CHIPS))


@pytest.fixture
def chip() -> VirtualChip:
    return find_chip("esp32s3")


@pytest.fixture
def flash(tmp_path: Path, chip: VirtualChip) -> Iterator[Flash]:
    with Flash(tmp_path / "flash.bin", chip.flash_size) as flash:
        for part in factory_parts(chip):
            flash.program(part.offset, part.data)
        yield flash


@pytest.mark.parametrize("chip", CHIPS, ids=lambda chip: chip.name)
def test_the_factory_image_boots_on_its_chip_alone(chip: VirtualChip, tmp_path: Path) -> None:
    with Flash(tmp_path / "flash.bin", chip.flash_size) as flash:
        flash.program(0, factory_image(chip))
        result = boot(chip, flash, ResetCause.POWER_ON)
        assert result.application is not None
        assert result.application.is_virtual_firmware
        assert result.application.models == PARTITIONS[-1]
        wrong = boot(next(c for c in CHIPS if c.image_id != chip.image_id), flash, ResetCause.POWER_ON)
        assert wrong.application is None


@pytest.mark.parametrize("chip", CHIPS, ids=lambda chip: chip.name)
def test_esptool_takes_the_images_for_real_ones(chip: VirtualChip) -> None:
    from esptool.bin_image import LoadFirmwareImage

    for part in factory_parts(chip):
        if part.name != "partition table":
            image = LoadFirmwareImage(chip.name, part.data)
            assert image.chip_id == chip.image_id
            assert image.stored_digest == image.calc_digest
            assert image.checksum == image.calculate_checksum()


def test_the_factory_image_is_the_same_each_time_and_says_virtual(chip: VirtualChip) -> None:
    assert factory_image(chip) == factory_image(chip)
    image = read_factory_image(factory_image(chip))
    assert image.app is not None
    assert image.app.project == PROJECT
    assert "virtual" in image.app.project
    assert [part.offset for part in image.parts] == [part.offset for part in factory_parts(chip)]


def _log(chip: VirtualChip, flash: Flash) -> str:
    result = boot(chip, flash, ResetCause.WATCHDOG)
    assert result.application is None
    return result.log.decode()


def test_an_erased_flash_has_no_header(chip: VirtualChip, flash: Flash) -> None:
    flash.erase(0, 0x1000)
    assert "invalid header: 0xffffffff" in _log(chip, flash)


def test_a_damaged_partition_table_is_not_used(chip: VirtualChip, flash: Flash) -> None:
    flash.program(0x800C, b"\0")
    assert "partition table MD5 does not match" in _log(chip, flash)
    flash.erase(0x8000, 0x1000)
    assert "invalid magic number 0xffff" in _log(chip, flash)


@pytest.mark.parametrize(("offset", "said"), [(0x10000, "magic byte"), (0x10030, "Checksum failed"), (0x10010, "hash")])
def test_a_damaged_application_is_not_started(chip: VirtualChip, flash: Flash, offset: int, said: str) -> None:
    content = bytearray(flash.read(0x10000, 0x1000))
    content[offset - 0x10000] ^= 0x40
    flash.erase(0x10000, 0x1000)
    flash.program(0x10000, bytes(content))
    assert said in _log(chip, flash)


def test_what_is_no_virtual_firmware_is_said_to_be_none(chip: VirtualChip, flash: Flash) -> None:
    descriptor = AppDescriptor("esphome-satellite", "2026.6.5", "v5.5.4").encode(b"code")
    image = build_image(
        chip.image_id, chip.iram, [Segment(chip.drom + 0x20, descriptor)], flash_size=1 << 22, flash_speed=0
    )
    flash.erase(0x10000, 0x1000)
    flash.program(0x10000, image)
    result = boot(chip, flash, ResetCause.POWER_ON)
    assert result.application is not None
    assert not result.application.is_virtual_firmware
    assert b"esphome-satellite" in result.log
    assert b"runs only its own firmware" in result.log


def test_ota_data_chooses_the_slot(chip: VirtualChip, tmp_path: Path) -> None:
    slots = [Partition(f"app{number}", 0, 0x10 + number, 0x10000 * (1 + number), 0x10000) for number in (0, 1)]
    table = make_partition_table([Partition("otadata", 1, 0, 0x9000, 0x2000), *slots])
    parts = {part.name: part for part in factory_parts(chip)}
    with Flash(tmp_path / "flash.bin", chip.flash_size) as flash:
        flash.program(0, parts["bootloader"].data)
        flash.program(0x8000, table)
        for slot in slots:
            flash.program(slot.offset, parts["factory"].data)
        flash.program(0xA000, (2).to_bytes(4, "little"))
        assert b"offset 0x20000" in boot(chip, flash, ResetCause.POWER_ON).log
        flash.program(0x20000, b"\0")  # a chip falls back on the other slot
        assert b"offset 0x10000" in boot(chip, flash, ResetCause.POWER_ON).log


@pytest.mark.parametrize("chip", CHIPS, ids=lambda chip: chip.name)
def test_download_mode_reads_as_esptool_expects(chip: VirtualChip) -> None:

    assert re.search(
        rb"boot:(0x[0-9a-fA-F]+)(.*waiting for download)", download_log(chip, ResetCause.POWER_ON), re.DOTALL
    )


PARTITION = st.builds(
    Partition,
    name=st.text("abcdefghijklmnop_0123456789", min_size=1, max_size=15),
    type=st.integers(0, 0xFE),
    subtype=st.integers(0, 0xFE),
    offset=st.integers(0, 0xFF).map(lambda n: n * 0x1000),
    size=st.integers(0, 0x100).map(lambda n: n * 0x1000),
    flags=st.integers(0, 1),
)


@given(st.lists(PARTITION, min_size=1, max_size=20))
def test_a_partition_table_comes_back(partitions: list[Partition]) -> None:
    assert parse_partition_table(make_partition_table(partitions), 1 << 23) == tuple(partitions)


@given(data=st.binary(max_size=400), at=st.integers(0, 300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_break_the_parsers(chip: VirtualChip, data: bytes, at: int) -> None:
    whole = factory_parts(chip)[0].data
    for content in (data, whole[:at] + data + whole[at + len(data) :]):
        for parse in (parse_image, read_factory_image, lambda bytes_: parse_partition_table(bytes_, 1 << 22)):
            try:
                parse(content)  # type: ignore[operator]
            except ImageError as error:
                assert error.message
