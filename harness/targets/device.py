"""A board at any port: the link's client as a target. It uploads models over the link, and never writes firmware."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from harness.boards.leases import hold_port
from harness.link.client import LinkClient, StreamedFrames
from harness.link.messages import FLAG_INSTRUCTIONS, FLAG_VIRTUAL, Welcome
from harness.link.model_table import ModelRecord
from harness.link.reader import LogSink
from harness.link.session import DEFAULT_TIMEOUT, Timing
from harness.serial.connection import DEFAULT_BAUD
from harness.targets.base import ArenaUse, Hearing, Inference, OperatorCost, Target, TargetInfo, TargetKind
from harness.targets.board_tensors import BoardTensors
from harness.targets.registry import TargetOptions
from mww.core.errors import (
    BootLoopError,
    DeviceError,
    HungError,
    LinkError,
    ModelMissingError,
    NoReplyError,
    UsageError,
    WireFormatError,
    WrongFirmwareError,
)
from mww.core.progress import Progress, no_progress
from mww.esphome.model import Model

_SLOT: Final = 0
_NO_PROFILE: Final = "no-profile"
_LARGEST_WINDOW: Final = 255
"""The largest window in outputs: a byte of the message `Detect`."""
_RECOVERY: Final = 0.4
"""Part of the usual wait for the first answer, for a board that answered a moment ago."""
_RESTARTS: Final = 2
"""Resets of a board that hangs, before it is given up: each takes ten seconds, and there may be many clips."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Housing:
    """Facts about a board that this program started.

    Attributes:
        kind: The target's kind; None for the kind that the board reports.
        versions: Versions of what runs the firmware, where they could change an output.
        has_clock: Whether the microseconds that the firmware counts are a chip's.
    """

    kind: TargetKind | None = None
    versions: tuple[tuple[str, str], ...] = ()
    has_clock: bool = True


class DeviceTarget(Target):
    """A board; a failure of its link is an error of the clip, and the next clip starts a new session if possible."""

    def __init__(
        self,
        url: str,
        options: TargetOptions,
        *,
        called: str | None = None,
        housing: Housing | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        on_log: LogSink | None = None,
    ) -> None:
        """Open the port and start a session; `called` is the address that the user gave, if it differs.

        A board must answer each request within `options.timeout` seconds, by default within `timeout`.

        Raises:
            UsageError: An option has no meaning for a board, or the board has another chip.
            LinkError: The port does not exist, or no board with our firmware answers at it.
        """
        check_engine(options)
        self._housing = housing or Housing()
        self._owned = ExitStack()
        self._url = url
        self._called = called or url
        self._baud = options.baud or DEFAULT_BAUD
        self._may_upload = options.flash
        self._misalignment = options.misalignment
        self._model: Model | None = None
        self._counted_before = 0
        self._armed = False
        self._broken = False
        self._restarts = 0
        self._lost: LinkError | None = None
        self._on_log = on_log
        self._timing = Timing.within(options.timeout or timeout)
        self._client = self._connect(self._timing)
        chip = self._client.board.chip
        if options.chip not in (None, chip):
            self._client.close()
            raise UsageError(f"the board at {self._called} has an {chip}, not {options.chip}", hint=f"--chip {chip}")

    def own(self, stack: ExitStack) -> None:
        """Close `stack`, which holds the board's lease or its process, after the port."""
        self._owned.push(stack)

    def info(self) -> TargetInfo:
        """The facts that the board reports."""
        board = self._client.board
        versions = (*_versions(board), *self._housing.versions)
        return TargetInfo(self._housing.kind or _kind_of(board), board.chip, board.engine, versions)

    def load(self, model: Model) -> ArenaUse:
        """Open the model on the board, after an upload if the board has a different model.

        Raises:
            ModelMissingError: The board has another model, and may not be given this one.
            DeviceError: The board refuses the model.
            LinkError: The link failed.
        """
        record = ModelRecord(model.content, model.tensor_arena_size or 0)
        if not self._client.holds(_SLOT, record):
            if not self._may_upload:
                raise ModelMissingError(
                    f"the board at {self._called} has a different model than {model.name}",
                    hint=f"mww flash --port {self._called} --model {shlex.quote(str(model.path))}",
                )
            self._client.upload(_SLOT, record)
        opened = self._client.open_model(_SLOT, misalignment=self._misalignment)
        facts = (opened.sha256.hex(), opened.size, opened.stride)
        if facts != (model.sha256, len(model.content), model.stride):
            hint = f"write its firmware anew: {self._flash_line()}"
            raise WireFormatError(f"the board at {self._called} opened another model than {model.name}", hint=hint)
        self._model = model
        self._arm()
        self._counted_before = self._client.stats().inferences
        virtual = _is_virtual(self._client.board)
        return ArenaUse(opened.arena_used, opened.arena_size, "predicted" if virtual else "measured")

    def reset(self) -> None:
        """Reset the streaming state; after a failure of the link, in a new session."""
        self._begin(lambda: self._client.reset(_SLOT))

    def listen(self) -> None:
        """See `Target`; after a failure of the link, in a new session."""
        if not self._client.has_frontend:
            raise WrongFirmwareError(
                f"the firmware at {self._called} is older than --from audio: it has no front-end",
                hint=f"--from features, or {self._flash_line()}",
            )
        assert self._model is not None
        step_ms = self._model.feature_step_size
        self._begin(lambda: self._client.listen((_SLOT,), step_ms=step_ms))

    def _begin(self, request: Callable[[], None]) -> None:
        """Start a clip."""
        if self._lost is not None:
            raise self._lost
        if self._broken:
            self._recover()
        with self._watched():
            request()
            self._counted_before = self._client.stats().inferences

    def infer(self, frames: npt.NDArray[np.int8]) -> Inference:
        """Stream frames `[n, stride, 40]`; times are the chip's own, or simulated by a virtual board."""
        with self._watched():
            streamed = self._client.infer(frames, _SLOT)
        return self._inference(streamed)

    def hear(self, samples: bytes) -> Hearing:
        """See `Target`."""
        with self._watched():
            heard = self._client.hear(samples)
        return Hearing(heard.features, self._inference(heard.models[_SLOT]))

    def _inference(self, streamed: StreamedFrames) -> Inference:
        measured = streamed.microseconds if streamed.microseconds.any() else None
        return Inference(
            streamed.outputs,
            microseconds=measured if self._has_clock else None,
            detections=streamed.detections if self._armed else None,
            instructions=measured if self._counts_instructions else None,
        )

    def inferences(self) -> int | None:
        """The board's count of inferences; None if its link has failed."""
        if self._broken or self._lost is not None:
            return None
        try:
            return (self._client.stats().inferences - self._counted_before) % (1 << 32)
        except LinkError:
            self._broken = True
            return None

    def profile(self, frames: npt.NDArray[np.int8]) -> tuple[OperatorCost, ...] | None:
        """See `Target`; each operator's median over all frames except the first, which also fills the state."""
        if not self._has_clock and not self._counts_instructions:
            return None
        self.reset()
        times = []
        with self._watched():
            self._client.infer(frames[:1], _SLOT)
            for frame in frames[1:]:
                self._client.infer(frame[np.newaxis], _SLOT, profile=True)
                try:
                    times.append(self._client.read_profile(_SLOT))
                except DeviceError as error:
                    if error.code == _NO_PROFILE:
                        return None
                    raise
        if len({tuple(each.name for each in frame) for frame in times}) > 1:
            message = f"the board at {self._called} names other operators from frame to frame"
            raise WireFormatError(message, hint=f"write its firmware anew: {self._flash_line()}")
        medians = np.median([[each.microseconds for each in frame] for frame in times], axis=0)
        return tuple(
            OperatorCost(
                each.name,
                index,
                microseconds=int(median) if self._has_clock else None,
                instructions=int(median) if self._counts_instructions else None,
            )
            for index, (each, median) in enumerate(zip(times[0], medians, strict=True))
        )

    def tensors(self, model: Model, progress: Progress = no_progress) -> BoardTensors:
        """See `Target`; it uploads copies of the model, and restores the model at the end."""
        return BoardTensors(self._client, self.info().kind, model, progress)

    def close(self) -> None:
        """End the session, then close the port and the board."""
        with self._owned:
            self._client.close()

    @property
    def _counts_instructions(self) -> bool:
        """Whether the firmware counts instructions instead of microseconds."""
        return bool(self._client.board.flags & FLAG_INSTRUCTIONS)

    @property
    def _has_clock(self) -> bool:
        return self._housing.has_clock and not self._counts_instructions

    def _flash_line(self) -> str:
        return f"mww flash --port {self._called} --firmware FACTORY.bin"

    def _connect(self, timing: Timing) -> LinkClient:
        line = self._flash_line()
        try:
            return LinkClient.connect(self._url, baud=self._baud, timing=timing, on_log=self._on_log)
        except BootLoopError as error:
            raise BootLoopError(error.message, hint=f"to write its firmware again: {line}; {error.hint}") from error
        except WrongFirmwareError as error:
            raise WrongFirmwareError(
                error.message, hint=f"{line}   (mww firmware BOARD says how to make it)"
            ) from error
        except NoReplyError as error:
            raise NoReplyError(error.message, hint=f"{error.hint} If it has other firmware: {line}") from error

    def _arm(self) -> None:
        """Let the board detect with the model's own cutoff and window, if the link can carry that window."""
        assert self._model is not None
        window = self._model.sliding_window_size
        self._armed = window <= _LARGEST_WINDOW
        if self._armed:
            self._client.arm_detection(_SLOT, cutoff=self._model.cutoff_byte, window=window)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Note an error that ends the session; a board that hangs is reset if its port can, and the error says so."""
        try:
            yield
        except DeviceError:
            raise
        except HungError as error:
            self._broken = True
            raise error.with_hint(self._restarted(error)) from error
        except LinkError:
            self._broken = True
            raise

    def _restarted(self, error: HungError) -> str:
        """Reset a board that hangs, at most `_RESTARTS` times, and return the result as text."""
        if self._restarts == _RESTARTS:
            self._lost = error
            return f"it hung {_RESTARTS + 1} times and is given up: reset it, and read its log"
        self._restarts += 1
        try:
            story = self._client.restart()
        except LinkError as gone:
            self._lost = error
            return f"it was reset with its control lines, and did not answer again: {gone.message}"
        if story is None:
            return f"{error.hint}; its port has no control lines to reset it"
        return f"it was reset with its control lines, and answers again; {story}"

    def _recover(self) -> None:
        """Start a new session with the stored model; a board that is gone is not waited for again."""
        try:
            self._client.reconnect(replace(self._timing, hello=self._timing.hello * _RECOVERY))
            self._client.open_model(_SLOT, misalignment=self._misalignment)
            self._arm()
        except LinkError as error:
            self._lost = error
            raise
        self._broken = False


def check_engine(options: TargetOptions) -> None:
    """Refuse an engine, since a board has its own.

    Raises:
        UsageError: An engine was given.
    """
    if options.engine is not None:
        raise UsageError("a board has its own interpreter", hint="leave --engine out")


def _is_virtual(board: Welcome) -> bool:
    return bool(board.flags & FLAG_VIRTUAL)


def _kind_of(board: Welcome) -> TargetKind:
    return "virtual" if _is_virtual(board) else "device"


def _versions(board: Welcome) -> tuple[tuple[str, str], ...]:
    """All versions that could change an output."""
    runtime = "tflite-micro" if _is_virtual(board) else "esp-tflite-micro"
    esp_nn, _, kernels = board.kernels.partition(" ")
    versions = (
        ("mww_harness firmware", board.firmware),
        ("esphome", board.esphome),
        ("esp-idf", board.idf),
        (runtime, board.runtime),
        ("esp-nn", esp_nn),
        ("kernels", kernels),
        ("processor", board.revision if board.flags & FLAG_INSTRUCTIONS else ""),
    )
    return tuple((name, version) for name, version in versions if version)


def open_target(name: str, options: TargetOptions) -> DeviceTarget:
    """Lease and open the board at a port, for this process alone until it is closed.

    Raises:
        BoardBusyError: Another process uses it.
        LinkError: It cannot be opened.
    """
    with ExitStack() as stack:
        board = stack.enter_context(hold_port(name, purpose=options.purpose))
        target = DeviceTarget(board.port, options, called=board.id)
        target.own(stack.pop_all())
        return target
