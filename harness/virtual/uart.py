"""One direction of a simulated UART: bytes come out as late as a wire of its baud rate lets them."""

from __future__ import annotations

from collections import deque
from typing import Final

_BITS: Final = 10  # start, eight, stop
_PIECE: Final = 64  # bytes that come out together


class UartLine:
    """A queue of bytes; without a rate they come out at once. Times are seconds of one monotonic clock."""

    def __init__(self, baud: int | None) -> None:
        self._byte_time = _BITS / baud if baud else 0.0
        self._free_at = 0.0
        self._queue: deque[tuple[float, bytes]] = deque()
        self.size = 0

    def set_baud(self, baud: int) -> None:
        """Change the rate of a wire that has one, from the next byte on."""
        if self._byte_time:
            self._byte_time = _BITS / baud

    def put(self, data: bytes, now: float) -> None:
        """Send bytes."""
        step = _PIECE if self._byte_time else len(data)
        self._free_at = max(self._free_at, now)
        for start in range(0, len(data), step or 1):
            piece = data[start : start + step]
            self._free_at += len(piece) * self._byte_time
            self._queue.append((self._free_at, piece))
        self.size += len(data)

    def take(self, now: float) -> bytes:
        """Return what has arrived."""
        arrived = bytearray()
        while self._queue and self._queue[0][0] <= now:
            arrived += self._queue.popleft()[1]
        self.size -= len(arrived)
        return bytes(arrived)

    @property
    def next_at(self) -> float | None:
        """When more arrives; None if nothing is on the wire."""
        return self._queue[0][0] if self._queue else None

    def clear(self) -> None:
        """Lose what is on the wire."""
        self._queue.clear()
        self.size = 0
        self._free_at = 0.0
