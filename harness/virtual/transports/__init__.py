"""Transports: how a host reaches the virtual board.

Each module serves a kind of port, for one host at a time. A transport blocks only in `poll`. It never waits for the
host: unread data is dropped when the buffer is full, as a UART does.
"""

from dataclasses import dataclass
from typing import Protocol

MAX_READ = 1 << 16
"""The most bytes of an event."""


@dataclass(frozen=True, slots=True)
class Received:
    """Bytes from the host."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Lines:
    """The host has set its control lines; True means asserted, as in pyserial."""

    dtr: bool
    rts: bool


@dataclass(frozen=True, slots=True)
class Closed:
    """The host has closed the port."""


Event = Received | Lines | Closed


class Transport(Protocol):
    """The board's side of a port."""

    @property
    def url(self) -> str:
        """The address for pyserial."""
        ...

    @property
    def has_lines(self) -> bool:
        """Whether it passes RTS and DTR."""
        ...

    @property
    def pending(self) -> int:
        """Sent bytes that the host's side has not taken yet."""
        ...

    def poll(self, timeout: float | None, limit: int) -> list[Event]:
        """Wait for an event, at most `timeout` seconds; take at most `limit` bytes, none if it is 0."""
        ...

    def send(self, data: bytes) -> None:
        """Send bytes to the host, or drop them without a host."""
        ...

    def close(self) -> None:
        """Close the port; harmless a second time."""
        ...
