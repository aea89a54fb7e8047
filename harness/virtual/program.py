"""The programs of a chip: each takes the bytes at its UART, works when it is due, and returns the next step."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Protocol

from harness.virtual.bootloader import Action, Bootloader

_BOOT_LOOP: Final = 1.0
"""Seconds until the watchdog restarts a chip that found no application."""


class Then(Enum):
    """The chip's next step."""

    GO_ON = auto()
    RESET = auto()
    """Restart in the latched boot mode."""
    WATCHDOG = auto()
    """Start from flash, by the watchdog."""
    RESTART = auto()
    """Start from flash, by the firmware."""
    HANG = auto()
    """Stop until a reset."""


@dataclass(frozen=True, slots=True)
class Step:
    """The result of a piece of work.

    Attributes:
        output: Bytes for the host.
        again_at: The latest time to work again; None to wait for bytes from the host.
        then: The chip's next step.
        baud: The UART's new baud rate, where it changed.
    """

    output: bytes = b""
    again_at: float | None = None
    then: Then = Then.GO_ON
    baud: int | None = None


class Program(Protocol):
    """A program on the chip. Times are seconds of a monotonic clock."""

    @property
    def wants_input(self) -> bool:
        """Whether it takes more bytes now; other bytes wait on the wire."""
        ...

    def receive(self, data: bytes) -> None:
        """Take bytes from the host."""
        ...

    def work(self, now: float) -> Step:
        """Do the next piece of work."""
        ...

    def close(self) -> None:
        """Stop, because the board has no power."""
        ...


class DownloadMode:
    """The ROM bootloader, and esptool's stub on it."""

    wants_input = True

    def __init__(self, bootloader: Bootloader) -> None:
        self._bootloader = bootloader
        self._input = bytearray()

    def receive(self, data: bytes) -> None:
        """See `Program`."""
        self._input += data

    def work(self, now: float) -> Step:
        """See `Program`."""
        if not self._input:
            return Step()
        reaction = self._bootloader.feed(bytes(self._input))
        self._input.clear()
        then = {Action.STAY: Then.GO_ON, Action.RESET: Then.RESET, Action.BOOT: Then.WATCHDOG}
        return Step(reaction.output, None, then[reaction.action], reaction.baud)

    def close(self) -> None:
        """See `Program`."""


class BootLoop:
    """A chip without an application, which waits for its watchdog."""

    wants_input = True

    def __init__(self) -> None:
        self._until: float | None = None

    def receive(self, data: bytes) -> None:
        """See `Program`."""

    def work(self, now: float) -> Step:
        """See `Program`."""
        if self._until is None:
            self._until = now + _BOOT_LOOP
        return Step(again_at=self._until) if now < self._until else Step(then=Then.WATCHDOG)

    def close(self) -> None:
        """See `Program`."""


class Halt:
    """A chip that hangs: it does not answer, and the host can still write."""

    wants_input = True

    def receive(self, data: bytes) -> None:
        """See `Program`."""

    def work(self, now: float) -> Step:
        """See `Program`."""
        return Step()

    def close(self) -> None:
        """See `Program`."""
