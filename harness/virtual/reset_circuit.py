"""The two transistors of every development board, by which RTS and DTR reset the chip and choose its boot mode.

EN is low while RTS is asserted and DTR is not, IO0 while DTR is and RTS is not. The chip reads IO0 a little after EN
has risen, when the capacitor on EN is charged.
"""

from __future__ import annotations

from typing import Final

_LATCH: Final = 0.025
"""Seconds from EN's rise to the reading of IO0."""
_HALF_WAY: Final = 0.5
"""Seconds to wait where EN has risen because both lines are asserted: the host is between two steps, and over a network
the second comes tens of milliseconds later."""


class ResetCircuit:
    """Follows the lines. Times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._dtr = self._rts = False
        self._held = False
        self._boots_at: float | None = None

    @property
    def held(self) -> bool:
        """Whether the chip is in reset, or has not yet read IO0."""
        return self._held or self._boots_at is not None

    @property
    def boots_at(self) -> float | None:
        """When the chip reads IO0 and boots; None if it is held in reset or has long booted."""
        return self._boots_at

    def set(self, dtr: bool, rts: bool, now: float) -> None:
        """Follow the host's lines."""
        was_held = self._held
        self._dtr, self._rts = dtr, rts
        self._held = rts and not dtr
        if self._held:
            self._boots_at = None
        elif was_held or self._boots_at is not None:
            self._boots_at = now + (_HALF_WAY if dtr and rts else _LATCH)

    def latch(self, now: float) -> bool | None:
        """Read IO0 if it is time: True for the bootloader, False for what is in flash, None if it is not time."""
        if self._boots_at is None or now < self._boots_at:
            return None
        self._boots_at = None
        return self._dtr and not self._rts
