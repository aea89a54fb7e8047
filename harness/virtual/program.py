"""The programs of a chip: each takes the bytes at its UART, works when it is due, and returns what comes next."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Protocol

from harness.virtual.bootloader import Action, Bootloader

_BOOT_LOOP: Final = 1.0
"""Seconds until the watchdog starts a chip over that found nothing to boot."""


class Then(Enum):
    """What becomes of the chip."""

    GO_ON = auto()
    RESET = auto()
    """Start anew in the boot mode that was latched."""
    WATCHDOG = auto()
    """Start from flash; the watchdog did it."""
    RESTART = auto()
    """Start from flash; the firmware did it."""
    HANG = auto()
    """Do nothing any more, until a reset."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a piece of work gave.

    Attributes:
        output: Bytes for the host.
        again_at: When to work again at the latest; None if only bytes from the host bring more.
        then: What becomes of the chip.
        baud: The rate that the UART has from now on, where it changed.
    """

    output: bytes = b""
    again_at: float | None = None
    then: Then = Then.GO_ON
    baud: int | None = None


class Program(Protocol):
    """What runs on the chip. Times are seconds of one monotonic clock."""

    @property
    def wants_input(self) -> bool:
        """Whether it takes more bytes now; those that it does not take wait on the wire."""
        ...

    def receive(self, data: bytes) -> None:
        """Take bytes from the host."""
        ...

    def work(self, now: float) -> Step:
        """Do the next piece of work."""
        ...

    def close(self) -> None:
        """Lose power."""
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
    """A chip that found nothing to boot, and waits for its watchdog."""

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
    """A chip that does nothing, and neither answers nor stops the host from writing."""

    wants_input = True

    def receive(self, data: bytes) -> None:
        """See `Program`."""

    def work(self, now: float) -> Step:
        """See `Program`."""
        return Step()

    def close(self) -> None:
        """See `Program`."""
