"""`rfc2217://`: a serial port over Telnet, with baud rate and control lines. The protocol is pyserial's."""

from __future__ import annotations

import struct
from typing import Final, cast

from serial import rfc2217

from harness.virtual.transports import Closed, Event, Lines, Received
from harness.virtual.transports.stream import Stream

_IAC: Final = b"\xff"
_MAX_OPTION: Final = 256  # bytes of a suboption; a baud rate takes six


class _Port:
    """The serial port for pyserial's PortManager: stores the settings, and which of them changed."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.baudrate = 115200
        self._dtr = self._rts = False
        self.bytesize, self.parity, self.stopbits = 8, "N", 1
        self.xonxoff = self.rtscts = self.break_condition = False
        self.cts = self.dsr = self.cd = True
        self.ri = False
        self.changes: list[Event] = []

    @property
    def dtr(self) -> bool:
        return self._dtr

    @dtr.setter
    def dtr(self, state: bool) -> None:
        self._dtr = state
        self.changes.append(Lines(self._dtr, self._rts))

    @property
    def rts(self) -> bool:
        return self._rts

    @rts.setter
    def rts(self, state: bool) -> None:
        self._rts = state
        self.changes.append(Lines(self._dtr, self._rts))

    def write(self, data: bytes) -> None:
        """Send Telnet's own bytes."""
        self._stream.send(data)

    def reset_input_buffer(self) -> None:
        """Do nothing: the chip's output is already on its way, and the host drops it."""

    def reset_output_buffer(self) -> None:
        """Do nothing: the chip already has the input."""


class Rfc2217Transport:
    """A board at the end of a serial server."""

    has_lines = True

    def __init__(self, watch: int | None = None) -> None:
        self._stream = Stream(watch)
        self.url = f"rfc2217://127.0.0.1:{self._stream.port}"
        self._port = _Port(self._stream)
        self._manager: rfc2217.PortManager | None = None

    @property
    def pending(self) -> int:
        """Sent bytes that the host's side has not taken yet."""
        return self._stream.pending

    def poll(self, timeout: float | None, limit: int) -> list[Event]:
        """See `Transport`."""
        came, readable = self._stream.wait(timeout, reading=limit > 0)
        if came:
            self._port = _Port(self._stream)
            port = cast(rfc2217.Serial, self._port)  # it uses only the attributes of this port class
            self._manager = rfc2217.PortManager(port, port)
        if not readable:
            return []
        data = self._stream.read(limit)
        if data:
            return self._filter(data)
        return [] if self._stream.connected else [Closed()]

    def send(self, data: bytes) -> None:
        """See `Transport`."""
        self._stream.send(data.replace(_IAC, _IAC + _IAC))

    def close(self) -> None:
        """See `Transport`."""
        self._stream.close()

    def _filter(self, data: bytes) -> list[Event]:
        """Take Telnet's commands out of the bytes; a host that breaks the protocol is disconnected."""
        manager = self._manager
        assert manager is not None
        if _IAC not in data and manager.mode == rfc2217.M_NORMAL and manager.suboption is None:
            return [Received(data)]
        events: list[Event] = []
        received = bytearray()

        def settle() -> None:
            if received:
                events.append(Received(bytes(received)))
                received.clear()
            events.extend(self._port.changes)
            self._port.changes.clear()

        try:
            for byte in manager.filter(data):
                if self._port.changes:
                    settle()
                received += byte
        except (struct.error, ValueError, KeyError, TypeError):
            return self._dropped()
        if manager.suboption is not None and len(manager.suboption) > _MAX_OPTION:
            return self._dropped()
        settle()
        return events

    def _dropped(self) -> list[Event]:
        self._stream.drop()
        return [Closed()]
