"""The ROM bootloader of a chip and esptool's stub: commands in, responses out, flash written and read.

The only side effect is on the flash. The `Action` of a response is the board's next step, such as a reset.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from harness.virtual.chips import SECTOR, Registers, Security, VirtualChip
from harness.virtual.flash import Flash, FlashRangeError
from harness.virtual.protocol import (
    SYNC_BODY,
    Command,
    CommandError,
    Failure,
    Request,
    SlipDecoder,
    parse_request,
    response,
    slip_frame,
)

_MAX_BLOCK: Final = 0x4000
_MAX_IN_FLIGHT: Final = 64

_ROM_SYNC_VALUE: Final = 0x20120707  # anything but the stub's 0
_SLOW_READ: Final = 64
_GREETING: Final = slip_frame(b"OHAI")
_MAX_RAM_IMAGE: Final = 0x80000
_BAUD_RATES: Final = range(300, 5_000_001)
_S3_READ_POINTER: Final = 0x3FCEF688
"""`rom_spiflash_legacy_funcs.read`: with secure boot, esptool starts its stub on an S3 by pointing it there."""

_ROM_ONLY: Final = frozenset({Command.READ_FLASH_SLOW})
_STUB_ONLY: Final = frozenset({Command.ERASE_FLASH, Command.ERASE_REGION, Command.READ_FLASH, Command.RUN_USER_CODE})
_SECURE_DOWNLOAD: Final = frozenset(
    {
        Command.SYNC,
        Command.FLASH_BEGIN,
        Command.FLASH_DATA,
        Command.FLASH_END,
        Command.FLASH_DEFL_BEGIN,
        Command.FLASH_DEFL_DATA,
        Command.FLASH_DEFL_END,
        Command.SPI_ATTACH,
        Command.SPI_SET_PARAMS,
        Command.CHANGE_BAUDRATE,
        Command.GET_SECURITY_INFO,
    }
)
"""The commands that remain in secure download mode."""


class Download:
    """Takes blocks in order. The ROM erases all sectors at the start, the stub each sector when it reaches it."""

    def __init__(self, flash: Flash, offset: int, size: int, blocks: int, *, compressed: bool, erase_now: bool) -> None:
        """Start a write of `size` bytes (uncompressed) in `blocks` blocks.

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
        """Write a block; a block that esptool repeats, because it missed the answer, is not written twice."""
        if sequence == self._sequence - 1:
            return
        if sequence != self._sequence or sequence >= self._blocks:
            raise CommandError(Failure.TOO_MUCH)
        self._program(data if self._inflate is None else self._inflated(data))
        self._sequence += 1

    def finish(self) -> None:
        """End the write.

        Raises:
            CommandError: A compressed stream is incomplete.
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
        """Program at the next address; padding beyond the end of the flash is dropped."""
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


class FlashReader:
    """A READ_FLASH command; the host acknowledges with the number of bytes that it has."""

    def __init__(self, flash: Flash, offset: int, length: int, block_size: int, in_flight: int) -> None:
        """Prepare to send `length` bytes from `offset`.

        Raises:
            CommandError: They are not all in the flash, or the size of blocks makes no sense.
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
            output += slip_frame(self._flash.read(self._offset + self._sent, size))
            self._sent += size
        if acknowledged >= self._length:
            output += slip_frame(self._md5)
            self.done = True
        return bytes(output)


class Action(Enum):
    """The effect of a command on the chip."""

    STAY = auto()
    RESET = auto()
    """Reset; the latched boot mode stays."""
    BOOT = auto()
    """Leave the bootloader and run the application in flash."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a command: the response's value and body, frames after it, and the chip's next step."""

    value: int = 0
    body: bytes = b""
    then: bytes = b""
    action: Action = Action.STAY


@dataclass(frozen=True, slots=True)
class Reaction:
    """The result of bytes from the host: bytes for the host, the chip's next step, and a new baud rate."""

    output: bytes
    action: Action
    baud: int | None


class Bootloader:
    """A chip in download mode, until the next reset."""

    def __init__(self, chip: VirtualChip, flash: Flash, mac: bytes, security: Security) -> None:
        self._chip = chip
        self._flash = flash
        self._security = security
        self._registers = Registers(chip, mac, security)
        self._decoder = SlipDecoder()
        self._in_stub = False
        self._new_baud: int | None = None
        self._ram_left = 0
        self._download: Download | None = None
        self._reader: FlashReader | None = None
        self._handlers: Mapping[int, Callable[[Request], Answer]] = {
            Command.SYNC: self._sync,
            Command.READ_REG: self._read_register,
            Command.WRITE_REG: self._write_register,
            Command.MEM_BEGIN: self._begin_ram,
            Command.MEM_DATA: self._write_ram,
            Command.MEM_END: self._end_ram,
            Command.FLASH_BEGIN: self._begin_flash,
            Command.FLASH_DATA: self._write_flash,
            Command.FLASH_END: self._end_flash,
            Command.FLASH_DEFL_BEGIN: self._begin_deflated,
            Command.FLASH_DEFL_DATA: self._write_flash,
            Command.FLASH_DEFL_END: self._end_flash,
            Command.SPI_ATTACH: _accept,
            Command.SPI_SET_PARAMS: _accept,
            Command.SPI_FLASH_MD5: self._md5,
            Command.CHANGE_BAUDRATE: self._change_baud,
            Command.GET_SECURITY_INFO: self._security_info,
            Command.READ_FLASH_SLOW: self._read_slowly,
            Command.READ_FLASH: self._read_flash,
            Command.ERASE_FLASH: self._erase_flash,
            Command.ERASE_REGION: self._erase_region,
            Command.RUN_USER_CODE: lambda request: Answer(action=Action.BOOT),
        }

    def feed(self, data: bytes) -> Reaction:
        """Take bytes from the host; bytes after a command that leaves the bootloader are dropped."""
        output = bytearray()
        self._new_baud = None
        for packet in self._decoder.feed(data):
            if self._reader is not None:
                output += self._reader.acknowledge(packet)
                self._reader = None if self._reader.done else self._reader
                continue
            request = parse_request(packet)
            if request is None:
                continue
            if self._jumps_to_stub(request):
                self._in_stub = True
                output += _GREETING
                continue
            answer = self._answer(request, output)
            if answer.action is not Action.STAY:
                return Reaction(bytes(output), answer.action, self._new_baud)
        return Reaction(bytes(output), Action.STAY, self._new_baud)

    def _answer(self, request: Request, output: bytearray) -> Answer:
        """Run a command and add the response to `output`."""
        in_stub = self._in_stub  # the response to the command that starts the stub still comes from the ROM
        try:
            answer = self._handler(request)(request)
            body = answer.body + b"\0\0"
        except CommandError as error:
            answer = Answer()
            body = bytes([1, error.failure.value[in_stub]])
        reserved = b"" if in_stub else b"\0\0"
        packet = slip_frame(response(request.opcode, answer.value, body + reserved))
        output += packet * (8 if request.opcode == Command.SYNC else 1) + answer.then
        return answer

    def _jumps_to_stub(self, request: Request) -> bool:
        """Whether this is esptool's way around secure boot of an S3: a read through a pointer to its stub."""
        return (
            not self._in_stub
            and request.opcode == Command.READ_FLASH_SLOW
            and self._chip.name == "esp32s3"
            and self._registers.read(_S3_READ_POINTER) != 0
        )

    def _handler(self, request: Request) -> Callable[[Request], Answer]:
        opcode = request.opcode
        known = opcode in self._handlers and opcode not in (_ROM_ONLY if self._in_stub else _STUB_ONLY)
        if not known or (self._security.secure_download and opcode not in _SECURE_DOWNLOAD):
            raise CommandError(Failure.UNKNOWN)
        return self._handlers[opcode]

    def _sync(self, request: Request) -> Answer:
        if request.body != SYNC_BODY:
            raise CommandError(Failure.MESSAGE)
        return Answer(0 if self._in_stub else _ROM_SYNC_VALUE)

    def _read_register(self, request: Request) -> Answer:
        return Answer(self._registers.read(request.words(1)[0]))

    def _write_register(self, request: Request) -> Answer:
        armed = False
        if not request.body or len(request.body) % 16:
            raise CommandError(Failure.MESSAGE)
        for address, value, mask, _ in struct.iter_unpack("<IIII", request.body):
            armed |= self._registers.write(address, value, mask)
        return Answer(action=Action.BOOT if armed else Action.STAY)

    def _begin_ram(self, request: Request) -> Answer:
        size, blocks, block_size, _ = request.words(4)
        if size > _MAX_RAM_IMAGE or size > blocks * block_size:
            raise CommandError(Failure.ACT)
        self._ram_left = size
        return Answer()

    def _write_ram(self, request: Request) -> Answer:
        _, data = request.block()
        if len(data) > self._ram_left:
            raise CommandError(Failure.TOO_MUCH)
        self._ram_left -= len(data)
        return Answer()

    def _end_ram(self, request: Request) -> Answer:
        """Run the loaded program, which is esptool's stub; without an entry point, only end the download."""
        _, entry = request.words(2)
        if self._ram_left:
            raise CommandError(Failure.NOT_ENOUGH)
        if not entry or self._in_stub:
            return Answer()
        self._in_stub = True
        return Answer(then=_GREETING)

    def _begin_flash(self, request: Request) -> Answer:
        return self._begin(request, compressed=False)

    def _begin_deflated(self, request: Request) -> Answer:
        return self._begin(request, compressed=True)

    def _begin(self, request: Request, *, compressed: bool) -> Answer:
        size, blocks, _, offset = request.words(4)
        if len(request.body) >= 20 and request.words(5)[4]:
            raise CommandError(Failure.ACT)  # encrypted writes
        self._download = Download(self._flash, offset, size, blocks, compressed=compressed, erase_now=not self._in_stub)
        return Answer()

    def _write_flash(self, request: Request) -> Answer:
        if self._download is None:
            raise CommandError(Failure.ACT)
        self._download.take(*request.block())
        return Answer()

    def _end_flash(self, request: Request) -> Answer:
        """The stub stays for 1 and resets for 0; the ROM runs the application in flash for 1 and resets for 0."""
        (flag,) = request.words(1)
        download, self._download = self._download, None
        if download is not None:
            download.finish()
        if not flag:
            return Answer(action=Action.RESET)
        return Answer(action=Action.STAY if self._in_stub else Action.BOOT)

    def _md5(self, request: Request) -> Answer:
        offset, length, _, _ = request.words(4)
        digest = _in_range(self._flash.md5, offset, length)
        return Answer(body=digest if self._in_stub else digest.hex().encode())

    def _change_baud(self, request: Request) -> Answer:
        baud, _ = request.words(2)
        if baud not in _BAUD_RATES:
            raise CommandError(Failure.MESSAGE)
        self._new_baud = baud
        self._registers.set_baud(baud)
        return Answer()

    def _security_info(self, request: Request) -> Answer:
        if not self._chip.security_info:
            raise CommandError(Failure.UNKNOWN)
        purposes = bytes(7)
        info = struct.pack(
            "<IB7sII", self._security.flags, int(self._security.flash_encryption), purposes, self._chip.image_id, 0
        )
        return Answer(body=info)

    def _read_slowly(self, request: Request) -> Answer:
        offset, length = request.words(2)
        if length > _SLOW_READ:
            raise CommandError(Failure.READ_LENGTH)
        return Answer(body=_in_range(self._flash.read, offset, length).ljust(_SLOW_READ, b"\0"))

    def _read_flash(self, request: Request) -> Answer:
        offset, length, block_size, in_flight = request.words(4)
        reader = FlashReader(self._flash, offset, length, block_size, in_flight)
        first = reader.start()
        self._reader = None if reader.done else reader
        return Answer(then=first)

    def _erase_flash(self, request: Request) -> Answer:
        self._flash.erase(0, self._flash.size)
        return Answer()

    def _erase_region(self, request: Request) -> Answer:
        offset, length = request.words(2)
        try:
            self._flash.erase(offset, length)
        except FlashRangeError as error:
            raise CommandError(Failure.WRITE) from error
        return Answer()


def _accept(request: Request) -> Answer:
    return Answer()


def _in_range(read: Callable[[int, int], bytes], offset: int, length: int) -> bytes:
    try:
        return read(offset, length)
    except FlashRangeError as error:
        raise CommandError(Failure.READ) from error
