"""The packets between esptool and a chip: SLIP frames, commands, responses, and error codes of ROM and stub."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum, IntEnum
from functools import reduce
from operator import xor
from typing import Final

_END: Final = 0xC0
_MAX_PACKET: Final = 0x10000
"""Bytes of a packet. esptool's largest is a stub's flash block of 0x4000 with its headers."""

_HEADER: Final = struct.Struct("<BBHI")
_REQUEST: Final = 0
_RESPONSE: Final = 1
CHECKSUM_SEED: Final = 0xEF
"""The initial value of the XOR over a block's bytes, or over an image's segments."""

SYNC_BODY: Final = b"\x07\x07\x12\x20" + b"\x55" * 32


def slip_frame(packet: bytes) -> bytes:
    """Make the frame of a packet."""
    return b"\xc0" + packet.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc") + b"\xc0"


class SlipDecoder:
    """Splits a stream into packets; like the ROM, it drops bytes outside a frame and frames with invalid escapes."""

    def __init__(self) -> None:
        self._open = False
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the packets that `data` completes."""
        packets: list[bytes] = []
        pieces = data.split(bytes([_END]))
        for number, piece in enumerate(pieces):
            if number:
                if self._open and self._pending:
                    packet = _unescape(bytes(self._pending))
                    if packet is not None:
                        packets.append(packet)
                    self._open = False
                else:
                    self._open = True
                self._pending.clear()
            if self._open:
                self._pending += piece
                if len(self._pending) > _MAX_PACKET:
                    self._open = False
                    self._pending.clear()
        return packets


def _unescape(data: bytes) -> bytes | None:
    first, *rest = data.split(b"\xdb")
    packet = bytearray(first)
    for piece in rest:
        if piece[:1] == b"\xdc":
            packet.append(0xC0)
        elif piece[:1] == b"\xdd":
            packet.append(0xDB)
        else:
            return None
        packet += piece[1:]
    return bytes(packet)


class Command(IntEnum):
    """The commands of esptool 5 (`ESPLoader.ESP_CMDS`), without those for NAND flash and secured certificates."""

    FLASH_BEGIN = 0x02
    FLASH_DATA = 0x03
    FLASH_END = 0x04
    MEM_BEGIN = 0x05
    MEM_END = 0x06
    MEM_DATA = 0x07
    SYNC = 0x08
    WRITE_REG = 0x09
    READ_REG = 0x0A
    SPI_SET_PARAMS = 0x0B
    SPI_ATTACH = 0x0D
    READ_FLASH_SLOW = 0x0E
    CHANGE_BAUDRATE = 0x0F
    FLASH_DEFL_BEGIN = 0x10
    FLASH_DEFL_DATA = 0x11
    FLASH_DEFL_END = 0x12
    SPI_FLASH_MD5 = 0x13
    GET_SECURITY_INFO = 0x14
    ERASE_FLASH = 0xD0
    ERASE_REGION = 0xD1
    READ_FLASH = 0xD2
    RUN_USER_CODE = 0xD3


class Failure(Enum):
    """Why a command failed: the ROM's code, and the stub's."""

    MESSAGE = (0x05, 0xC0)
    ACT = (0x06, 0xC6)
    CHECKSUM = (0x07, 0xC1)
    WRITE = (0x08, 0xC4)
    READ = (0x09, 0xC4)
    READ_LENGTH = (0x0A, 0xC2)
    DEFLATE = (0x0B, 0xC7)
    TOO_MUCH = (0x06, 0xC9)
    NOT_ENOUGH = (0x06, 0xC8)
    UNKNOWN = (0x05, 0xFF)


class CommandError(Exception):
    """A command that the bootloader refuses."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.name)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class Request:
    """A received command: its number, which may be unknown, and its body."""

    opcode: int
    checksum: int
    body: bytes

    def words(self, count: int) -> tuple[int, ...]:
        """Return the first `count` little endian words of the body."""
        if len(self.body) < 4 * count:
            raise CommandError(Failure.MESSAGE)
        return struct.unpack_from(f"<{count}I", self.body)

    def block(self) -> tuple[int, bytes]:
        """Return sequence number and data of a `*_DATA` command, after a check of length and checksum."""
        length, sequence, _, _ = self.words(4)
        data = self.body[16:]
        if length != len(data):
            raise CommandError(Failure.MESSAGE)
        if checksum(data) != self.checksum & 0xFF:
            raise CommandError(Failure.CHECKSUM)
        return sequence, data


SYNC_PACKET: Final = _HEADER.pack(_REQUEST, Command.SYNC, len(SYNC_BODY), 0) + SYNC_BODY
"""The start of a connection to the bootloader."""


def parse_request(packet: bytes) -> Request | None:
    """Read a packet; None where it is not a request."""
    if len(packet) < _HEADER.size:
        return None
    direction, opcode, length, check = _HEADER.unpack_from(packet)
    body = packet[_HEADER.size :]
    if direction != _REQUEST or length != len(body):
        return None
    return Request(opcode, check, body)


def response(opcode: int, value: int, body: bytes) -> bytes:
    """Make a packet that answers `opcode`; `body` ends with the status bytes."""
    return _HEADER.pack(_RESPONSE, opcode, len(body), value) + body


def checksum(data: bytes) -> int:
    """The XOR of all bytes, as in bootloaders and images."""
    return reduce(xor, data, CHECKSUM_SEED)
