"""A virtual board's NOR flash in a file, and its folder with chip and MAC, for one process at a time.

Erasing sets the bits of a sector; programming only clears bits.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import mmap
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from harness.virtual.chips import MAC_PREFIX, SECTOR, VirtualChip
from harness.virtual.factory import factory_parts
from mww.core.closing import Closing
from mww.core.errors import InputError, OutputError
from mww.core.fields import Fields
from mww.core.files import replacing, write_files

_FLASH: Final = "flash.bin"
_BOARD: Final = "board.json"
_LOCK: Final = "lock"
_MAX_BOARD_FILE: Final = 4096
_MAC_BYTES: Final = 6


@contextmanager
def open_state(folder: Path, chip: VirtualChip) -> Iterator[tuple[Flash, bytes]]:
    """Open a board's flash and return its MAC; a new board gets a new MAC and the virtual firmware.

    Raises:
        InputError: The folder holds another chip's state, or other files.
        OutputError: Another process uses it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / _LOCK, timeout=0)
        lock.acquire()
    except Timeout:
        raise OutputError(
            f"{folder} is in use by another virtual board", hint="give each board its own --state"
        ) from None
    except OSError as error:
        raise OutputError(f"cannot use {folder}: {error}", hint="give a folder that you may write to") from error
    try:
        board = folder / _BOARD
        fresh = not board.exists()
        mac = MAC_PREFIX + secrets.token_bytes(2) if fresh else _read_mac(board, chip)
        with Flash(folder / _FLASH, chip.flash_size) as flash:
            if fresh:
                _write_factory(flash, chip)
                content = json.dumps({"chip": chip.name, "mac": mac.hex(":")})
                write_files({board: f"{content}\n".encode()})
            yield flash, mac
    finally:
        lock.release()


def _read_mac(path: Path, chip: VirtualChip) -> bytes:
    hint = "give another --state, or delete the folder"
    board = Fields.read(path, hint=hint, most_bytes=_MAX_BOARD_FILE)
    name, text = board.text("chip"), board.text("mac")
    try:
        mac = bytes.fromhex(text.replace(":", ""))
    except ValueError:
        mac = b""
    if len(mac) != _MAC_BYTES:
        board.refuse("mac", f"{_MAC_BYTES} bytes in hexadecimal")
    if name != chip.name:
        raise InputError(f"{path.parent} holds a board of chip {name}", hint=f"--chip {name}, or another --state")
    return mac


def _write_factory(flash: Flash, chip: VirtualChip) -> None:
    flash.erase(0, flash.size)
    for part in factory_parts(chip):
        flash.program(part.offset, part.data)


_CHUNK: Final = 1 << 20


class FlashRangeError(ValueError):
    """An access beyond the flash, or an erase that is not a whole number of sectors; the bootloader reports it."""


class Flash(Closing):
    """The flash of a board; the file holds its plain bytes, so that any tool can read it."""

    def __init__(self, path: Path, size: int) -> None:
        """Open the flash in `path`, or make an erased flash of `size` bytes.

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
        """Clear the bits that are clear in `data`; bytes that were not erased become old AND new, as on a chip."""
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
        """Return the address in this process' memory where the flash is mapped from `offset` on, until `close`."""
        if self._mapped is None:
            self._mapped = (ctypes.c_char * self.size).from_buffer(self._memory)
        return ctypes.addressof(self._mapped) + offset

    def close(self) -> None:
        """Close the file; harmless a second time."""
        self._mapped = None  # a mapping in use cannot be closed
        self._memory.close()

    def _check(self, offset: int, length: int) -> None:
        if offset < 0 or length < 0 or offset + length > self.size:
            raise FlashRangeError(f"{length:#x} bytes at {offset:#x} are beyond the flash's {self.size:#x}")
