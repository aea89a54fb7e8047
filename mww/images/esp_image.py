"""An image that a chip boots: header, segments, checksum, digest, and the application's descriptor.

Format: ESP-IDF's `esp_app_format.h` and `esp_app_desc.h`.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import xor
from typing import Final

from mww.core.errors import ImageError

INCOMPLETE: Final = "the file may be incomplete: build the firmware again"
"""The hint of each damage."""

_HEADER: Final = struct.Struct("<BBBBI B3sHBHH4sB")
HEADER_SIZE: Final = _HEADER.size
_SEGMENT: Final = struct.Struct("<II")
_MAGIC: Final = 0xE9
_CHECKSUM_SEED: Final = 0xEF
_MAX_SEGMENTS: Final = 16
_NO_WP_PIN: Final = 0xEE
_FLASH_MODE_DIO: Final = 2
_ANY_REVISION: Final = 0xFFFF

_DESCRIPTOR: Final = struct.Struct("<II8s32s32s16s16s32s32s80s")
_DESCRIPTOR_MAGIC: Final = 0xABCD5432


@dataclass(frozen=True, slots=True)
class AppDescriptor:
    """The description of an application (`esp_app_desc_t`)."""

    project: str
    version: str
    idf_version: str

    def encode(self, content: bytes) -> bytes:
        """Make the structure; `content` is what its digest of the program is over. No date: images are reproducible."""
        return _DESCRIPTOR.pack(
            _DESCRIPTOR_MAGIC,
            0,
            b"",
            self.version.encode()[:31],
            self.project.encode()[:31],
            b"00:00:00",
            b"Jan  1 1970",
            self.idf_version.encode()[:31],
            hashlib.sha256(content).digest(),
            b"",
        )


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment: bytes that are loaded, or mapped, at an address."""

    address: int
    data: bytes


@dataclass(frozen=True, slots=True)
class EspImage:
    """A complete image."""

    chip_id: int
    entry: int
    segments: tuple[Segment, ...]
    app: AppDescriptor | None


def is_image(data: bytes) -> bool:
    """Whether `data` begins like an image."""
    return data[:1] == bytes([_MAGIC])


def build_image(chip_id: int, entry: int, segments: Sequence[Segment], *, flash_size: int, flash_speed: int) -> bytes:
    """Make an image; `flash_speed` is the nibble of the header that stands for the flash's clock."""
    size_code = flash_size.bit_length() - 21  # 1 MB is 0
    image = _HEADER.pack(
        _MAGIC,
        len(segments),
        _FLASH_MODE_DIO,
        size_code << 4 | flash_speed,
        entry,
        _NO_WP_PIN,
        b"",
        chip_id,
        0,
        0,
        _ANY_REVISION,
        b"",
        1,
    )
    checksum = _CHECKSUM_SEED
    for segment in segments:
        data = segment.data + b"\0" * (-len(segment.data) % 4)
        image += _SEGMENT.pack(segment.address, len(data)) + data
        checksum = reduce(xor, data, checksum)
    image += b"\0" * (15 - len(image) % 16) + bytes([checksum])
    return image + hashlib.sha256(image).digest()


def parse_image(data: bytes, where: int = 0) -> EspImage:
    """Read the image that `data` begins with; `where` is its offset in flash, for messages.

    Raises:
        ImageError: No chip would boot it; the message is what the bootloader prints.
    """
    if not is_image(data) or len(data) < HEADER_SIZE:
        raise ImageError(
            f"image at {where:#x} has invalid magic byte (nothing flashed here?)",
            hint="flash a firmware image: mww flash --firmware FACTORY.bin",
        )
    header = _HEADER.unpack_from(data)
    count, entry, chip_id, digest_follows = header[1], header[4], header[7], header[12]
    if not 1 <= count <= _MAX_SEGMENTS:
        raise ImageError(f"image at {where:#x} segment count {count} exceeds max {_MAX_SEGMENTS}", hint=INCOMPLETE)
    segments, position = _parse_segments(data, count)
    position += 15 - position % 16
    if position >= len(data):
        raise ImageError(f"image at {where:#x} is cut off", hint=INCOMPLETE)
    checksum = reduce(xor, b"".join(segment.data for segment in segments), _CHECKSUM_SEED)
    if checksum != data[position]:
        raise ImageError(f"Checksum failed. Calculated {checksum:#x} read {data[position]:#x}", hint=INCOMPLETE)
    position += 1
    if digest_follows and hashlib.sha256(data[:position]).digest() != data[position : position + 32]:
        raise ImageError("Image hash failed - image is corrupt", hint=INCOMPLETE)
    return EspImage(chip_id, entry, segments, _find_descriptor(segments[0].data))


def _parse_segments(data: bytes, count: int) -> tuple[tuple[Segment, ...], int]:
    segments: list[Segment] = []
    position = HEADER_SIZE
    for number in range(count):
        if position + _SEGMENT.size > len(data):
            raise ImageError(f"segment {number} is cut off", hint=INCOMPLETE)
        address, length = _SEGMENT.unpack_from(data, position)
        position += _SEGMENT.size
        if length % 4 or position + length > len(data):
            raise ImageError(f"invalid segment length {length:#x}", hint=INCOMPLETE)
        segments.append(Segment(address, data[position : position + length]))
        position += length
    return tuple(segments), position


def _find_descriptor(data: bytes) -> AppDescriptor | None:
    if len(data) < _DESCRIPTOR.size or int.from_bytes(data[:4], "little") != _DESCRIPTOR_MAGIC:
        return None
    _, _, _, version, project, _, _, idf, _, _ = _DESCRIPTOR.unpack_from(data)
    return AppDescriptor(_text(project), _text(version), _text(idf))


def _text(field: bytes) -> str:
    return field.split(b"\0")[0].decode("utf-8", "replace")
