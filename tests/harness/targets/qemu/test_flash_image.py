"""The flash that QEMU is given: a size that it takes, the firmware where it was, an empty model partition."""

from __future__ import annotations

import pytest

from harness.targets.qemu.target import SIZES, merge_flash
from harness.virtual.chips import find_chip
from harness.virtual.factory import factory_image
from mww.core.errors import ImageError
from mww.images.partition_table import find_model_partition, read_factory_image


@pytest.mark.parametrize("chip", ["esp32", "esp32s3", "esp32c3"])
def test_it_is_the_flash_that_esptool_would_have_written(chip: str) -> None:
    factory = factory_image(find_chip(chip))
    image = read_factory_image(factory)
    flash = merge_flash(factory, image)
    assert len(flash) in SIZES
    assert read_factory_image(flash).app == image.app
    partition = find_model_partition(image.partitions)
    assert partition is not None
    assert flash[: len(factory)] == factory
    assert set(flash[partition.offset :]) == {0xFF}


@pytest.mark.parametrize(("code", "megabytes"), [(0, 4), (1, 4), (2, 4), (3, 8), (4, 16)])
def test_the_size_is_the_smallest_that_holds_what_the_bootloader_expects(code: int, megabytes: int) -> None:
    factory = bytearray(factory_image(find_chip("esp32s3")))
    image = read_factory_image(bytes(factory))
    factory[3] = factory[3] & 0x0F | code << 4
    assert len(merge_flash(bytes(factory), image)) == megabytes << 20


def test_what_does_not_fit_is_refused() -> None:
    factory = bytearray(factory_image(find_chip("esp32s3")))
    image = read_factory_image(bytes(factory))
    factory[3] = 0x5F
    with pytest.raises(ImageError, match="32 MB of flash, and QEMU has up to 16"):
        merge_flash(bytes(factory), image)
