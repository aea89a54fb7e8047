"""The board: a chip with its flash, its UART and its reset circuit, at the end of a transport.

One thread, one loop: wait for the host or for time, hand bytes over, let the chip work. What the firmware does is its
`Program`'s business; the board only starts it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from harness.virtual import slip
from harness.virtual.boot import Application, ResetCause, boot, download_log
from harness.virtual.bootloader import Bootloader
from harness.virtual.chips import VirtualChip
from harness.virtual.flash import Flash
from harness.virtual.program import BootLoop, DownloadMode, Halt, Program, Then
from harness.virtual.protocol import SYNC_PACKET
from harness.virtual.registers import Security
from harness.virtual.reset_circuit import ResetCircuit
from harness.virtual.transports.base import MAX_READ, Closed, Event, Lines, Received, Transport
from harness.virtual.uart import UartLine

_SYNC: Final = slip.encode(SYNC_PACKET)
_UART_BUFFER: Final = 4096  # bytes on a simulated wire, ESPHome's `rx_buffer_size` for the link
_MAX_UNREAD: Final = 1 << 20  # bytes that the host has not read, above which the board reads no more either

StartFirmware = Callable[[Application, ResetCause], Program]


@dataclass(frozen=True, slots=True)
class BoardSettings:
    """What a board is: its chip, MAC, burnt eFuses, and the baud rate to simulate, None for as fast as it goes."""

    chip: VirtualChip
    mac: bytes
    security: Security
    baud: int | None


class Board:
    """A powered board; `start_firmware` makes the program of an application that is the virtual firmware."""

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
        """Serve until an exception from the transport or a signal ends it."""
        while True:
            self._step()

    def _step(self) -> None:
        """Send what is due, wait for the next event, and deal with it."""
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
        """Take the power away."""
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
        """Take the first bytes of a connection: where there are no control lines, the bootloader's SYNC finds it.

        It is as if someone had reset the board with BOOT held.
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
        """Start the chip in the latched mode; `quiet` where the host missed what the console said."""
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
        return self._start_firmware(application, cause) if application.is_ours else Halt()

    def _set_baud(self, baud: int) -> None:
        self._to_chip.set_baud(baud)
        self._to_host.set_baud(baud)
