"""The firmware's C++ session as a program of the virtual chip; this module provides engine, flash, UART and clock."""

from __future__ import annotations

import ctypes
import secrets
import time
from dataclasses import dataclass
from typing import Final

from harness.link.messages import FLAG_VIRTUAL, MAX_MODELS
from harness.virtual import host_abi as abi
from harness.virtual.boot import Application, ResetCause
from harness.virtual.bridge import Bridge
from harness.virtual.engine import Engine
from harness.virtual.faults import Noise
from harness.virtual.flash import Flash
from harness.virtual.frontend import BoardFrontend, PlayedMicrophone
from harness.virtual.hostlib import host_library, load_library
from harness.virtual.program import Step, Then
from harness.virtual.sabotage import HangFault, RebootFault

_HEARTBEAT_MS: Final = 500
_ACTIVE_POLL: Final = 0.02
_IDLE_POLL: Final = 0.1
"""Seconds between two polls of an idle session, as `mww_session_active` reports it."""
_LOG_ERROR: Final = 1


@dataclass(frozen=True, slots=True)
class Speed:
    """The board's limits (`mww_limits`), and the simulated time of an inference.

    Attributes:
        inference_us: Microseconds of an inference; None for no simulation: then no time is reported.
    """

    max_payload: int
    max_frames: int
    batch: int
    window: int
    receive_buffer: int
    inference_us: int | None = None


FAST: Final = Speed(max_payload=32_768, max_frames=256, batch=256, window=4, receive_buffer=262_144)
"""Limits of a board that simulates neither baud rate nor inference time."""


def like_a_chip(inference_us: int | None) -> Speed:
    """Limits of a board that simulates a chip: the firmware's own, with ESPHome's 4096 bytes of receive buffer."""
    return Speed(max_payload=1024, max_frames=4, batch=1, window=8, receive_buffer=4096, inference_us=inference_us)


@dataclass(frozen=True, slots=True)
class Identity:
    """The facts that the board reports besides its application: chip, MAC, engine and version."""

    chip: str
    mac: bytes
    engine: str
    runtime: str


class Firmware:
    """A boot of the virtual firmware."""

    def __init__(
        self,
        identity: Identity,
        application: Application,
        cause: ResetCause,
        flash: Flash,
        engine: Engine,
        ears: tuple[BoardFrontend, PlayedMicrophone | None],
        speed: Speed,
        noise: tuple[Noise, Noise] | None,
    ) -> None:
        """Start; `noise` damages the bytes from and to the host.

        Raises:
            HostBuildError: The firmware cannot be built for this machine.
        """
        self._library = load_library(host_library())
        self._noise = noise
        self._inference_time = (speed.inference_us or 0) / 1e6
        self._input = b""
        self._output = bytearray()
        self._booted = time.monotonic()
        self._busy_until = 0.0
        self._waiting = False
        self._bridge = Bridge(engine, ears, flash, application.models, self._transmit, speed.inference_us or 0)
        self._config = abi.Config(
            identity=_identity(identity, application, cause),
            limits=_limits(speed),
            engine=self._bridge.engine,
            frontend=self._bridge.frontend,
            microphone=self._bridge.microphone,
            partition=self._bridge.partition,
            platform=self._bridge.platform,
        )
        self._session = self._library.mww_session_create(ctypes.byref(self._config))
        assert self._session is not None

    @property
    def wants_input(self) -> bool:
        """See `Program`."""
        return not self._input

    def receive(self, data: bytes) -> None:
        """See `Program`."""
        self._input += self._noise[0].spoil(data) if self._noise else data

    def work(self, now: float) -> Step:
        """See `Program`; the result of an inference leaves the chip when its simulated time is over."""
        if now < self._busy_until:
            return Step(again_at=self._busy_until)
        output = self._taken_output()
        if self._input:
            taken = self._library.mww_session_feed(self._session, self._input, len(self._input))
            self._input = self._input[taken:]
        uptime = int((now - self._booted) * 1000) & 0xFFFFFFFF
        more = self._library.mww_session_poll(self._session, uptime) or self._input
        if self._bridge.failure is not None:
            return _failed(self._bridge.failure, output)
        for text in self._bridge.taken_messages():
            self._library.mww_session_log(self._session, _LOG_ERROR, text.encode())
        inferred = self._bridge.taken_inferences()
        if inferred and self._inference_time:
            began = self._busy_until if self._waiting else now  # a chip would not have waited for the host's timer
            self._busy_until = began + inferred * self._inference_time
            self._waiting = bool(more)
            return Step(output, self._busy_until)
        self._waiting = False
        output += self._taken_output()
        if more:
            return Step(output, now)
        return Step(output, now + (_ACTIVE_POLL if self._library.mww_session_active(self._session) else _IDLE_POLL))

    def close(self) -> None:
        """See `Program`."""
        session, self._session = self._session, None
        if session is not None:
            self._library.mww_session_destroy(session)

    def _transmit(self, frame: bytes) -> None:
        self._output += self._noise[1].spoil(frame) if self._noise else frame

    def _taken_output(self) -> bytes:
        output = bytes(self._output)
        self._output.clear()
        return output


def _failed(failure: BaseException, output: bytes) -> Step:
    """Handle the exception of a callback, which could not pass through C++."""
    if isinstance(failure, RebootFault):
        return Step(output, then=Then.RESTART)
    if isinstance(failure, HangFault):
        return Step(output, then=Then.HANG)
    raise failure


def _identity(identity: Identity, application: Application, cause: ResetCause) -> abi.Identity:
    app = application.app
    version = app.version if app else ""
    board = f"virtual-{identity.chip}"
    texts = (identity.chip, "virtual", board, version, identity.engine, "", "", identity.runtime, "", cause.value)
    mac = (ctypes.c_uint8 * 6)(*identity.mac)
    return abi.Identity(secrets.randbits(32), 0, FLAG_VIRTUAL, mac, *(text.encode() for text in texts))


def _limits(speed: Speed) -> abi.Limits:
    return abi.Limits(
        speed.max_payload,
        speed.max_frames,
        speed.batch,
        _HEARTBEAT_MS,
        speed.window,
        MAX_MODELS,
        speed.receive_buffer,
    )
