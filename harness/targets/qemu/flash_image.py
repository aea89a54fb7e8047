"""The flash that QEMU boots: a factory image and an empty model partition, padded to a size that QEMU takes."""

from __future__ import annotations

from typing import Final

from mww.core.errors import ImageError
from mww.images.factory_image import FactoryImage
from mww.images.partition_table import find_model_partition

SIZES: Final = tuple(megabytes << 20 for megabytes in (2, 4, 8, 16))
"""Bytes; an image of any other size is refused by QEMU (esp-toolchain-docs, qemu/esp32s3/README.md)."""

_SIZE_BYTE: Final = 3  # of an image's header; its upper four bits are log2 of the megabytes


def merge_flash(factory: bytes, image: FactoryImage) -> bytes:
    """The whole flash; `image` is what `read_factory_image` made of `factory`.

    Raises:
        ImageError: The firmware has no model partition, or needs more flash than QEMU has.
    """
    partition = find_model_partition(image.partitions)
    if partition is None:
        raise ImageError(
            "the firmware has no model partition", hint="mww firmware helps make a firmware with this partition"
        )
    stated = 1 << 20 << (factory[image.parts[0].offset + _SIZE_BYTE] >> 4)
    needed = max(stated, len(factory), *(part.offset + part.size for part in image.partitions))
    size = next((size for size in SIZES if size >= needed), None)
    if size is None:
        raise ImageError(
            f"the firmware needs {needed >> 20} MB of flash, and QEMU has up to {SIZES[-1] >> 20} MB",
            hint="build a smaller image: a smaller model partition, or fewer components",
        )
    flash = bytearray(factory.ljust(size, b"\xff"))
    flash[partition.offset : partition.offset + partition.size] = b"\xff" * partition.size
    return bytes(flash)
