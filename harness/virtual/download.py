"""One write to the flash, from FLASH_BEGIN or FLASH_DEFL_BEGIN to its end: what is erased when, and what is refused."""

from __future__ import annotations

import zlib

from harness.virtual.chips import SECTOR
from harness.virtual.flash import Flash, FlashRangeError
from harness.virtual.protocol import CommandError, Failure


class Download:
    """Takes blocks in order. The ROM erases all at the beginning, the stub the sectors that it comes to."""

    def __init__(self, flash: Flash, offset: int, size: int, blocks: int, *, compressed: bool, erase_now: bool) -> None:
        """Begin a write of `size` bytes (inflated, where compressed) in `blocks` blocks.

        Raises:
            CommandError: It does not fit into the flash.
        """
        self._flash = flash
        self._inflate = zlib.decompressobj() if compressed else None
        self._next = offset
        self._blocks = blocks
        self._sequence = 0
        self._inflated_left = size
        self._erased_to = offset // SECTOR * SECTOR
        self._erase_end = -(-(offset + size) // SECTOR) * SECTOR if size else self._erased_to
        if self._erase_end > flash.size:
            raise CommandError(Failure.WRITE)
        if erase_now:
            self._erase_to(self._erase_end)

    def take(self, sequence: int, data: bytes) -> None:
        """Write one block; a block that esptool sends again, because it missed the answer, is not written twice."""
        if sequence == self._sequence - 1:
            return
        if sequence != self._sequence or sequence >= self._blocks:
            raise CommandError(Failure.TOO_MUCH)
        self._program(data if self._inflate is None else self._inflated(data))
        self._sequence += 1

    def finish(self) -> None:
        """End the write.

        Raises:
            CommandError: A compressed stream is not whole.
        """
        if self._inflate is not None and self._sequence and not self._inflate.eof:
            raise CommandError(Failure.NOT_ENOUGH)

    def _inflated(self, data: bytes) -> bytes:
        assert self._inflate is not None
        try:
            inflated = self._inflate.decompress(data, self._inflated_left + 1)
        except zlib.error as error:
            raise CommandError(Failure.DEFLATE) from error
        if len(inflated) > self._inflated_left:
            raise CommandError(Failure.TOO_MUCH)
        self._inflated_left -= len(inflated)
        return inflated

    def _program(self, data: bytes) -> None:
        """Program at the next address; padding that would stick out of the flash is not data."""
        data = data[: max(0, self._flash.size - self._next)] + data[max(0, self._flash.size - self._next) :].rstrip(
            b"\xff"
        )
        end = self._next + len(data)
        try:
            self._erase_to(min(-(-end // SECTOR) * SECTOR, self._erase_end))
            self._flash.program(self._next, data)
        except FlashRangeError as error:
            raise CommandError(Failure.WRITE) from error
        self._next = end

    def _erase_to(self, end: int) -> None:
        if end > self._erased_to:
            self._flash.erase(self._erased_to, end - self._erased_to)
            self._erased_to = end
