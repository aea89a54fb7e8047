"""SLIP, as the bootloaders frame their packets: C0, the packet with C0 and DB escaped, C0."""

from __future__ import annotations

from typing import Final

_END: Final = 0xC0
_MAX_PACKET: Final = 0x10000
"""Bytes. esptool's largest packet is a stub's flash block of 0x4000 with its headers; more is noise or malice."""


def encode(packet: bytes) -> bytes:
    """Frame one packet."""
    return b"\xc0" + packet.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc") + b"\xc0"


class Decoder:
    """Takes a stream apart; what stands outside a frame, or breaks the escapes, is dropped as the ROM does."""

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
