"""Transports: how a host reaches the virtual board. Each module serves one kind of port, for one host at a time.

A transport blocks only in `poll`. It never waits for the host: data that a host does not read is dropped when the
buffer is full, as a UART drops it.
"""

from dataclasses import dataclass
from typing import Protocol

MAX_READ = 1 << 16
"""Bytes that one event carries at most."""


@dataclass(frozen=True, slots=True)
class Received:
    """Bytes from the host."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Lines:
    """The host has set its control lines; True is asserted, as pyserial has it."""

    dtr: bool
    rts: bool


@dataclass(frozen=True, slots=True)
class Closed:
    """The host has closed the port."""


Event = Received | Lines | Closed


class Transport(Protocol):
    """A port, as the board sees it."""

    @property
    def url(self) -> str:
        """What pyserial opens to come here."""
        ...

    @property
    def has_lines(self) -> bool:
        """Whether RTS and DTR come through."""
        ...

    @property
    def pending(self) -> int:
        """Bytes sent that the host's side has not taken yet."""
        ...

    def poll(self, timeout: float | None, limit: int) -> list[Event]:
        """Wait for something to happen, at most `timeout` seconds; take at most `limit` bytes, none if it is 0."""
        ...

    def send(self, data: bytes) -> None:
        """Send bytes to the host, or drop them without one."""
        ...

    def close(self) -> None:
        """Close the port; harmless a second time."""
        ...
