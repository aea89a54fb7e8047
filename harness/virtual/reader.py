"""The stub's fast read: blocks sent ahead of their acknowledgement, then the digest of all."""

from __future__ import annotations

import struct
from typing import Final

from harness.virtual import slip
from harness.virtual.flash import Flash, FlashRangeError
from harness.virtual.protocol import CommandError, Failure

_MAX_BLOCK: Final = 0x4000
_MAX_IN_FLIGHT: Final = 64


class FlashReader:
    """One READ_FLASH; the host acknowledges with the number of bytes that it has."""

    def __init__(self, flash: Flash, offset: int, length: int, block_size: int, in_flight: int) -> None:
        """Prepare to send `length` bytes from `offset`.

        Raises:
            CommandError: They are not all in the flash, or the blocks are of no sensible size.
        """
        if not 1 <= block_size <= _MAX_BLOCK or not 1 <= in_flight <= _MAX_IN_FLIGHT:
            raise CommandError(Failure.READ_LENGTH)
        try:
            self._md5 = flash.md5(offset, length)
        except FlashRangeError as error:
            raise CommandError(Failure.READ) from error
        self._flash = flash
        self._offset = offset
        self._length = length
        self._block_size = block_size
        self._ahead = block_size * in_flight
        self._sent = 0
        self.done = False

    def start(self) -> bytes:
        """Return the first blocks."""
        return self._send(acknowledged=0)

    def acknowledge(self, packet: bytes) -> bytes:
        """Take the host's count, and return what may follow; a packet that is not a count ends the read."""
        if len(packet) != 4:
            self.done = True
            return b""
        return self._send(struct.unpack("<I", packet)[0])

    def _send(self, acknowledged: int) -> bytes:
        output = bytearray()
        while self._sent < self._length and self._sent - acknowledged < self._ahead:
            size = min(self._block_size, self._length - self._sent)
            output += slip.encode(self._flash.read(self._offset + self._sent, size))
            self._sent += size
        if acknowledged >= self._length:
            output += slip.encode(self._md5)
            self.done = True
        return bytes(output)
