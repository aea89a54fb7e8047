"""Archives whose members are hundreds of megabytes of one byte, made without compressing those."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

_BLOCK = 1 << 20
_DEFLATED = 8
_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")


@dataclass(frozen=True)
class Repeated:
    """Some bytes, and after them `megabytes` times 2^20 of one byte."""

    byte: bytes
    megabytes: int
    before: bytes = b""


def zip_with(members: Mapping[str, bytes | Repeated]) -> bytes:
    """An archive whose repeated members are deflated once per content, not once per megabyte."""
    stream = io.BytesIO()
    packed = {name: _deflated(content) for name, content in members.items() if isinstance(content, Repeated)}
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(name, packed[name][0] if isinstance(content, Repeated) else content)
        places = {info.filename: info.header_offset for info in archive.infolist()}
        central = archive.start_dir
    result = bytearray(stream.getvalue())
    for name in members:
        entry = _CENTRAL.unpack_from(result, central)
        if name in packed:
            body, crc, length = packed[name]
            local = _LOCAL.unpack_from(result, places[name])
            sizes = (crc, len(body), length)
            _LOCAL.pack_into(result, places[name], *local[:3], _DEFLATED, *local[4:6], *sizes, *local[9:])
            _CENTRAL.pack_into(result, central, *entry[:4], _DEFLATED, *entry[5:7], *sizes, *entry[10:])
        central += _CENTRAL.size + sum(entry[10:13])
    return bytes(result)


def _deflated(content: Repeated) -> tuple[bytes, int, int]:
    """Its deflated bytes, checksum and length: after a full flush, equal blocks have equal bytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    before = packer.compress(content.before) + packer.flush(zlib.Z_FULL_FLUSH)
    block = content.byte * _BLOCK
    middle = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    crc = zlib.crc32(content.before)
    for _ in range(content.megabytes):
        crc = zlib.crc32(block, crc)
    length = len(content.before) + _BLOCK * content.megabytes
    return before + middle * content.megabytes + packer.flush(), crc, length
