"""`socket://`: plain bytes over TCP, without control lines."""

from __future__ import annotations

from harness.virtual.transports.base import Closed, Event, Received
from harness.virtual.transports.stream import Stream


class SocketTransport:
    """A board at the end of a TCP connection."""

    has_lines = False

    def __init__(self, watch: int | None = None) -> None:
        self._stream = Stream(watch)
        self.url = f"socket://127.0.0.1:{self._stream.port}"

    @property
    def pending(self) -> int:
        """Bytes sent that the host's side has not taken yet."""
        return self._stream.pending

    def poll(self, timeout: float | None, limit: int) -> list[Event]:
        """See `Transport`."""
        _, readable = self._stream.wait(timeout, reading=limit > 0)
        if not readable:
            return []
        data = self._stream.read(limit)
        if data:
            return [Received(data)]
        return [] if self._stream.connected else [Closed()]

    def send(self, data: bytes) -> None:
        """See `Transport`."""
        self._stream.send(data)

    def close(self) -> None:
        """See `Transport`."""
        self._stream.close()
