"""A virtual board from power-on to power-off, in this process: combines state, transport, engine and firmware."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from harness.virtual.board import Board, BoardSettings
from harness.virtual.boot import Application, ResetCause
from harness.virtual.chips import UNSECURED, Security, VirtualChip
from harness.virtual.engine import Engine, TflmEngine
from harness.virtual.faults import NO_FAULTS, Faults, Noise, alter_kernel
from harness.virtual.firmware import FAST, Firmware, Identity, Speed, like_a_chip
from harness.virtual.flash import Flash, open_state
from harness.virtual.frontend import BoardFrontend, PlayedMicrophone
from harness.virtual.program import Program
from harness.virtual.sabotage import FaultyEngine
from harness.virtual.transports import Transport
from harness.virtual.transports.pty import PtyTransport
from harness.virtual.transports.rfc2217 import Rfc2217Transport
from harness.virtual.transports.stream import SocketTransport
from mww.core.errors import UsageError
from mww.core.scratch import scratch_folder

_TRANSPORTS: Final[dict[str, Callable[[int | None], Transport]]] = {
    "socket": SocketTransport,
    "pty": PtyTransport,
    "rfc2217": Rfc2217Transport,
}
TRANSPORT_NAMES: Final = tuple(_TRANSPORTS)


@dataclass(frozen=True, slots=True)
class VirtualOptions:
    """The options of a virtual board.

    Attributes:
        chip: Its chip.
        transport: One of `TRANSPORT_NAMES`.
        state: The folder that keeps its flash; None for a temporary board.
        baud: The simulated baud rate; None for no limit.
        inference_us: Simulated microseconds of an inference; None for as fast as it goes.
        faults: What goes wrong.
        microphone: The sound file that its microphone plays; None for a board without one.
        security: Which eFuses are burnt.
    """

    chip: VirtualChip
    transport: str = "socket"
    state: Path | None = None
    baud: int | None = None
    inference_us: int | None = None
    faults: Faults = NO_FAULTS
    security: Security = UNSECURED
    microphone: Path | None = None


def serve(options: VirtualOptions, *, ready: Callable[[str], None], watch: int | None = None) -> None:
    """Serve a board until a signal, or the end of the file descriptor `watch`; `ready` gets its port.

    Raises:
        MissingPackageError: A tool that builds the firmware is missing.
        InputError: The state is for another chip.
    """
    with ExitStack() as stack:
        transport = stack.enter_context(closing(_open_transport(options.transport, watch)))
        flash, mac = _open_flash(options, stack)
        operator = options.faults.kernel
        alter = bytes if operator is None else partial(alter_kernel, operator=operator)
        engine = stack.enter_context(closing(TflmEngine(options.chip.name, alter)))
        starter = _Starter(options, flash, mac, engine)
        settings = BoardSettings(options.chip, mac, options.security, options.baud)
        board = stack.enter_context(closing(Board(settings, flash, transport, starter)))
        ready(transport.url)
        try:
            board.run()
        except EOFError:
            return


def _open_flash(options: VirtualOptions, stack: ExitStack) -> tuple[Flash, bytes]:
    """Open the board's state; the files of a temporary board are unlinked once they are open."""
    if options.state is not None:
        return stack.enter_context(open_state(options.state, options.chip))
    with scratch_folder("mww-virtual-") as folder:
        return stack.enter_context(open_state(folder, options.chip))


class _Starter:
    """Makes the firmware's program at each boot; keeps the data that survives a boot."""

    def __init__(self, options: VirtualOptions, flash: Flash, mac: bytes, engine: TflmEngine) -> None:
        self._flash = flash
        self._identity = Identity(options.chip.name, mac, engine.name, engine.version)
        self._engine: Engine = FaultyEngine(engine, options.faults)
        simulated = options.baud is not None or options.inference_us is not None
        faults = options.faults
        speed = like_a_chip(options.inference_us) if simulated else FAST
        if faults.reboot is not None or faults.hang is not None:
            # so that all outputs before the fault reach the host
            speed = replace(speed, max_frames=1, max_payload=1024)
        self._speed: Speed = speed
        self._frontend_error = faults.frontend
        self._microphone = PlayedMicrophone(options.microphone) if options.microphone else None
        self._noise = (Noise(faults, "to board"), Noise(faults, "to host")) if faults.noisy else None

    def __call__(self, application: Application, cause: ResetCause) -> Program:
        for noise in self._noise or ():
            noise.forget()
        ears = BoardFrontend(self._frontend_error), self._microphone
        return Firmware(self._identity, application, cause, self._flash, self._engine, ears, self._speed, self._noise)


def _open_transport(name: str, watch: int | None) -> Transport:
    if name not in _TRANSPORTS:
        raise UsageError(f"no transport {name}", hint=f"one of {', '.join(TRANSPORT_NAMES)}")
    return _TRANSPORTS[name](watch)
