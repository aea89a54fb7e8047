"""The virtual board: a chip with its flash, its UART and its reset circuit, behind a transport.

A single thread runs a loop: wait for the host or a time, pass bytes on, let the chip work. The chip runs a `Program`;
the board only starts it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from harness.virtual.boot import Application, ResetCause, boot, download_log
from harness.virtual.bootloader import Bootloader
from harness.virtual.chips import Security, VirtualChip
from harness.virtual.flash import Flash
from harness.virtual.program import BootLoop, DownloadMode, Halt, Program, Then
from harness.virtual.protocol import SYNC_PACKET, slip_frame
from harness.virtual.transports import MAX_READ, Closed, Event, Lines, Received, Transport

_LATCH: Final = 0.025
"""Seconds from the rise of EN to the sampling of IO0."""
_HALF_WAY: Final = 0.5
"""Seconds to wait where EN rose because both lines are asserted: the host is between two steps, and over a network the
second step arrives tens of milliseconds later.
"""

_BITS: Final = 10  # start, eight, stop
_PIECE: Final = 64  # bytes that arrive together

_SYNC: Final = slip_frame(SYNC_PACKET)
_UART_BUFFER: Final = 4096  # bytes on a simulated wire, ESPHome's `rx_buffer_size` for the link
_MAX_UNREAD: Final = 1 << 20  # bytes that the host has not read; with more, the board stops reading too

StartFirmware = Callable[[Application, ResetCause], Program]


class ResetCircuit:
    """Follows the control lines. Times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._dtr = self._rts = False
        self._held = False
        self._boots_at: float | None = None

    @property
    def held(self) -> bool:
        """Whether the chip is in reset, or has not sampled IO0 yet."""
        return self._held or self._boots_at is not None

    @property
    def boots_at(self) -> float | None:
        """When the chip samples IO0 and boots; None if it is held in reset or has booted."""
        return self._boots_at

    def set(self, dtr: bool, rts: bool, now: float) -> None:
        """Take the state of the host's lines."""
        was_held = self._held
        self._dtr, self._rts = dtr, rts
        self._held = rts and not dtr
        if self._held:
            self._boots_at = None
        elif was_held or self._boots_at is not None:
            self._boots_at = now + (_HALF_WAY if dtr and rts else _LATCH)

    def latch(self, now: float) -> bool | None:
        """Sample IO0 if it is time: True for the bootloader, False for the application, None if it is not time."""
        if self._boots_at is None or now < self._boots_at:
            return None
        self._boots_at = None
        return self._dtr and not self._rts


class UartLine:
    """A queue of bytes; without a rate they arrive at once. Times are seconds of a monotonic clock."""

    def __init__(self, baud: int | None) -> None:
        self._byte_time = _BITS / baud if baud else 0.0
        self._free_at = 0.0
        self._queue: deque[tuple[float, bytes]] = deque()
        self.size = 0

    def set_baud(self, baud: int) -> None:
        """Change the rate of a wire with a rate, from the next byte on."""
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
        """Return the bytes that have arrived."""
        arrived = bytearray()
        while self._queue and self._queue[0][0] <= now:
            arrived += self._queue.popleft()[1]
        self.size -= len(arrived)
        return bytes(arrived)

    @property
    def next_at(self) -> float | None:
        """When more bytes arrive; None if the wire is empty."""
        return self._queue[0][0] if self._queue else None

    def clear(self) -> None:
        """Drop the bytes on the wire."""
        self._queue.clear()
        self.size = 0
        self._free_at = 0.0


@dataclass(frozen=True, slots=True)
class BoardSettings:
    """A board's properties: chip, MAC, set eFuses, and the simulated baud rate, None for no limit."""

    chip: VirtualChip
    mac: bytes
    security: Security
    baud: int | None


class Board:
    """A board with power; `start_firmware` makes the program for the virtual firmware's application."""

    def __init__(
        self, settings: BoardSettings, flash: Flash, transport: Transport, start_firmware: StartFirmware
    ) -> None:
        self._settings = settings
        self._flash = flash
        self._transport = transport
        self._start_firmware = start_firmware
        self._circuit = ResetCircuit()
        self._to_chip, self._to_host = UartLine(settings.baud), UartLine(settings.baud)
        self._program: Program = Halt()
        self._again_at: float | None = None
        self._download = False
        self._first_bytes: bytes | None = b""
        self._held_boot = False
        self._start(ResetCause.POWER_ON)

    def run(self) -> None:
        """Run until an exception from the transport or a signal."""
        while True:
            self._step()

    def _step(self) -> None:
        """Send bytes that are due, wait for the next event, and handle it."""
        self._transport.send(self._to_host.take(time.monotonic()))
        for event in self._transport.poll(self._timeout(time.monotonic()), self._limit()):
            self._handle(event, time.monotonic())
        now = time.monotonic()
        mode = self._circuit.latch(now)
        if mode is not None:
            self._download = mode
            self._start(ResetCause.POWER_ON)
        if not self._circuit.held:
            self._work(now)

    def close(self) -> None:
        """Switch the power off."""
        self._program.close()
        self._program = Halt()

    def _timeout(self, now: float) -> float | None:
        wake = (self._again_at, self._circuit.boots_at, self._to_chip.next_at, self._to_host.next_at)
        times = [at for at in wake if at is not None]
        return max(0.0, min(times) - now) if times else None

    def _limit(self) -> int:
        if not self._program.wants_input or self._transport.pending > _MAX_UNREAD:
            return 0
        return max(0, _UART_BUFFER - self._to_chip.size) if self._settings.baud else MAX_READ

    def _handle(self, event: Event, now: float) -> None:
        if isinstance(event, Received):
            data = event.data if self._first_bytes is None else self._open(event.data)
            if data and not self._circuit.held:
                self._to_chip.put(data, now)
        elif isinstance(event, Lines):
            self._circuit.set(event.dtr, event.rts, now)
            if self._circuit.held:
                self._power_off()
        elif isinstance(event, Closed):
            self._hang_up(now)

    def _open(self, data: bytes) -> bytes:
        """Take the first bytes of a connection.

        Without control lines, a SYNC for the bootloader starts it, as if a user had reset the board with BOOT held.
        """
        self._first_bytes = (self._first_bytes or b"") + data
        if not self._transport.has_lines:
            if len(self._first_bytes) < len(_SYNC) and _SYNC.startswith(self._first_bytes):
                return b""
            if self._first_bytes.startswith(_SYNC):
                self._to_host.clear()
                self._download = self._held_boot = True
                self._start(ResetCause.POWER_ON, quiet=True)
        data, self._first_bytes = self._first_bytes, None
        return data

    def _hang_up(self, now: float) -> None:
        self._first_bytes = b""
        self._to_host.clear()
        self._to_chip.clear()
        if self._transport.has_lines:
            self._circuit.set(False, False, now)
        elif self._held_boot:
            self._download = self._held_boot = False
            self._start(ResetCause.POWER_ON)

    def _work(self, now: float) -> None:
        data = self._to_chip.take(now)
        if data:
            self._program.receive(data)
        step = self._program.work(now)
        self._to_host.put(step.output, time.monotonic())
        self._again_at = step.again_at
        if step.baud is not None:
            self._set_baud(step.baud)
        if step.then is Then.RESET:
            self._start(ResetCause.SOFTWARE)
        elif step.then is Then.HANG:
            self.close()
        elif step.then is not Then.GO_ON:
            self._download = False
            self._start(ResetCause.WATCHDOG if step.then is Then.WATCHDOG else ResetCause.SOFTWARE)

    def _power_off(self) -> None:
        self.close()
        self._again_at = None
        self._to_chip.clear()
        self._to_host.clear()

    def _start(self, cause: ResetCause, *, quiet: bool = False) -> None:
        """Start the chip in the latched mode; `quiet` where the host missed the console's output."""
        chip = self._settings.chip
        self._program.close()
        self._again_at = time.monotonic()
        if self._settings.baud is not None:
            self._set_baud(self._settings.baud)
        if self._download:
            log = download_log(chip, cause)
            loader = Bootloader(chip, self._flash, self._settings.mac, self._settings.security)
            self._program = DownloadMode(loader)
        else:
            result = boot(chip, self._flash, cause)
            log = result.log
            self._program = self._program_of(result.application, cause)
        if not quiet:
            self._to_host.put(log, time.monotonic())

    def _program_of(self, application: Application | None, cause: ResetCause) -> Program:
        if application is None:
            return BootLoop()
        return self._start_firmware(application, cause) if application.is_virtual_firmware else Halt()

    def _set_baud(self, baud: int) -> None:
        self._to_chip.set_baud(baud)
        self._to_host.set_baud(baud)
