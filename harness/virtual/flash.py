"""A NOR flash in a file that survives: erasing sets bits by the sector, programming only clears them."""

from __future__ import annotations

import ctypes
import hashlib
import mmap
from pathlib import Path
from typing import Final

from harness.virtual.chips import SECTOR
from mww.core.closing import Closing
from mww.core.errors import InputError
from mww.core.files import replacing

_CHUNK: Final = 1 << 20


class FlashRangeError(ValueError):
    """An access beyond the flash, or an erase that is not a whole number of sectors; the bootloader's to report."""


class Flash(Closing):
    """The flash of one board; the file holds its bytes as they are, so that it can be read with any tool."""

    def __init__(self, path: Path, size: int) -> None:
        """Open the flash in `path`, or make an erased one of `size` bytes.

        Raises:
            InputError: The file has another size.
            OutputError: It cannot be made.
        """
        if not path.exists():
            with replacing(path) as stream:
                for start in range(0, size, _CHUNK):
                    stream.write(b"\xff" * min(_CHUNK, size - start))
        if path.stat().st_size != size:
            raise InputError(
                f"{path} holds {path.stat().st_size} bytes, and this chip's flash {size}",
                hint="give the chip that the state was made with, or another --state",
            )
        self.size = size
        with path.open("r+b") as stream:
            self._memory = mmap.mmap(stream.fileno(), size)
        self._mapped: ctypes.Array[ctypes.c_char] | None = None

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`."""
        self._check(offset, length)
        return self._memory[offset : offset + length]

    def program(self, offset: int, data: bytes) -> None:
        """Clear the bits that are clear in `data`; what was not erased before becomes old AND new, as on a chip."""
        self._check(offset, len(data))
        old = self._memory[offset : offset + len(data)]
        merged = int.from_bytes(old, "little") & int.from_bytes(data, "little")
        self._memory[offset : offset + len(data)] = merged.to_bytes(len(data), "little")

    def erase(self, offset: int, length: int) -> None:
        """Set all bits of whole sectors."""
        if offset % SECTOR or length % SECTOR:
            raise FlashRangeError(f"erase of {length:#x} bytes at {offset:#x} is not a whole number of sectors")
        self._check(offset, length)
        for start in range(offset, offset + length, _CHUNK):
            end = min(start + _CHUNK, offset + length)
            self._memory[start:end] = b"\xff" * (end - start)

    def md5(self, offset: int, length: int) -> bytes:
        """Return the digest of `length` bytes from `offset`."""
        self._check(offset, length)
        digest = hashlib.md5(usedforsecurity=False)
        for start in range(offset, offset + length, _CHUNK):
            digest.update(self._memory[start : min(start + _CHUNK, offset + length)])
        return digest.digest()

    def address(self, offset: int) -> int:
        """Return where in this process' memory the flash is mapped from `offset` on, until `close`."""
        if self._mapped is None:
            self._mapped = (ctypes.c_char * self.size).from_buffer(self._memory)
        return ctypes.addressof(self._mapped) + offset

    def close(self) -> None:
        """Let go of the file; harmless a second time."""
        self._mapped = None  # a mapping in use cannot be closed
        self._memory.close()

    def _check(self, offset: int, length: int) -> None:
        if offset < 0 or length < 0 or offset + length > self.size:
            raise FlashRangeError(f"{length:#x} bytes at {offset:#x} are beyond the flash's {self.size:#x}")
