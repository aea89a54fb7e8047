"""The host's end of the link: a method for each request to a board.

Callers decide which clips to stream and judge the outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np
import numpy.typing as npt

from harness.link import messages as wire
from harness.link.declaration import FLASH_AGAIN, Message
from harness.link.model_table import ModelRecord
from harness.link.reader import BootLog, LogSink
from harness.link.session import Session, Timing, rebooted
from harness.serial.connection import DEFAULT_BAUD, Port, PortIdentity, identify, open_port, port_busy, reopen_port
from harness.serial.ports import port_users
from mww.core.closing import Closing
from mww.core.errors import (
    HungError,
    LinkError,
    NoisyLinkError,
    NoReplyError,
    PortMissingError,
    RebootedError,
    WireFormatError,
)
from mww.core.progress import Progress, no_progress
from mww.esphome.contract import FEATURE_STEP_BYTES, FEATURE_STEP_MS, FEATURES, SAMPLE_RATE
from mww.esphome.detection import DeviceDetection

if TYPE_CHECKING:
    from typing_extensions import Self

_OPEN_PATIENCE = 20.0  # seconds; a model is hashed, and its arena probed by trial
_FLASH_PATIENCE = 5.0  # seconds; a worn flash takes hundreds of milliseconds a sector
SAMPLE: Final = np.dtype([(name, f"<{kind.letter}") for name, kind in wire.Sample.fixed_fields()])
"""A row of `Outputs.samples`."""
_COUNTS: Final = 1 << 32
"""Counts of samples and slices wrap here."""
_MessageT = TypeVar("_MessageT", bound=Message)


@dataclass(frozen=True, slots=True)
class StreamedFrames:
    """The results of frames: outputs uint8 `[n]`, microseconds uint32 `[n]`, detections.

    `inferences` is the board's own count since the reset.
    """

    outputs: npt.NDArray[np.uint8]
    microseconds: npt.NDArray[np.uint32]
    detections: tuple[DeviceDetection, ...]
    inferences: int


@dataclass(frozen=True, slots=True)
class HeardSound:
    """The results of samples: features int8 `[n, 40]`, and the results of frames for the model of each slot.

    `lost` counts earlier slices that the board dropped before they were read.
    """

    features: npt.NDArray[np.int8]
    models: Mapping[int, StreamedFrames]
    lost: int = 0


@dataclass(frozen=True, slots=True)
class OperatorTime:
    """Microseconds of an operator, in order of execution."""

    name: str
    microseconds: int


class LinkClient(Closing):
    """A session with a board. Not thread-safe. After a LinkError that is not a DeviceError, `reconnect` or `close`."""

    def __init__(
        self,
        port: Port,
        *,
        reopen: Callable[[], Port],
        returns: bool = False,
        timing: Timing | None = None,
        on_log: LogSink | None = None,
    ) -> None:
        """Start a session with the board at `port`.

        `reopen` finds its port again; `returns` says that this is possible, so that a port that disappears may be a
        board that reboots.
        """
        self._reopen = reopen
        self._returns = returns
        self._timing = timing
        self._log = BootLog(on_log)
        self._session = Session(port, timing=timing, on_log=self._log.add)
        self._counted: dict[int, int] = {}
        self._stored: dict[int, bytes] = {}
        self._strides: dict[int, int] = {}
        self._listening: tuple[int, ...] = ()
        self._step_ms = FEATURE_STEP_MS
        self._slices = 0

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        baud: int = DEFAULT_BAUD,
        timing: Timing | None = None,
        on_log: LogSink | None = None,
        return_timeout: float = 10.0,
    ) -> Self:
        """Open a port and start a session with the board.

        A silent board is reset once if its port has control lines: it may hang. `return_timeout` is how many seconds
        `reconnect` waits for a board that re-enumerates: a board that has a USB serial number.

        Raises:
            PortBusyError: Another program has the port open.
            LinkError: The port does not exist, or no board with our firmware answers; the subclass says which.
        """
        identity: PortIdentity = identify(url)

        def reopen() -> Port:
            return reopen_port(identity, baud, timeout=return_timeout)

        returns = bool(identity.serial_number)
        greet = partial(cls, reopen=reopen, returns=returns, timing=timing, on_log=on_log)
        try:
            return greet(open_port(url, baud))
        except (NoReplyError, NoisyLinkError) as error:
            if port_users(url):
                raise port_busy(url) from error
            if isinstance(error, NoisyLinkError):
                raise
            port = reopen()
            if not port.reset_chip():
                port.close()
                raise
            return greet(port)

    @property
    def board(self) -> wire.Welcome:
        """What the board reported about itself."""
        return self._session.board

    def reconnect(self, timing: Timing | None = None) -> wire.Welcome:
        """Find the board's port again and start a new session; this closes every model."""
        self._session.close()
        self._begin(self._reopen(), timing)
        return self.board

    def restart(self) -> str | None:
        """Reset the board by its port's control lines and begin a new session; every model is closed by that.

        Returns:
            Why it started and what its log says; None where the port has no control lines, and nothing was done.

        Raises:
            LinkError: It does not answer again.
        """
        self._session.close()
        port = self._reopen()
        if not port.reset_chip():
            port.close()
            return None
        message = self._log.count
        try:
            self._begin(port, None)
        except PortMissingError:
            if not self._returns:
                raise
            self._begin(self._reopen(), None)  # with the chip's own USB, the port disappears at a reset
        story = self._log.story() if self._log.count > message else None
        return story or "it printed nothing at its start"

    def _begin(self, port: Port, timing: Timing | None) -> None:
        self._session = Session(port, timing=timing or self._timing, on_log=self._log.add)
        self._counted.clear()

    def close(self) -> None:
        """End the session and the reader's thread, and close the port; harmless a second time."""
        self._session.close()

    # --- Models ------------------------------------------------------------------------------------------------------

    def describe(self, slot: int = 0) -> wire.Model:
        """The content of a model slot."""
        return self._ask_model(wire.Describe(slot), slot)

    def holds(self, slot: int, model: ModelRecord) -> bool:
        """Whether a slot has this model, complete and with this arena."""
        stored = self.describe(slot)
        complete = stored.state in (wire.STORED, wire.OPEN)
        return complete and (stored.sha256, stored.manifest_arena) == (model.sha256, model.arena)

    def open_model(self, slot: int = 0, *, any_output: bool = False, misalignment: int = 0) -> wire.Model:
        """Load a stored model in its initial state.

        `any_output` accepts outputs that ESPHome would refuse. With a `misalignment` of 1 to 15, the board loads a copy
        in memory that begins that many bytes after a multiple of 16, as a model that ESPHome downloads at run time may.
        """
        flags = (wire.OPEN_ANY_OUTPUT if any_output else 0) | misalignment << wire.OPEN_MISALIGNMENT_SHIFT
        stored = self._stored.get(slot)
        model = self._ask_model(wire.Open(slot, flags), slot, patience=_OPEN_PATIENCE)
        if model.state != wire.OPEN or stored not in (None, model.sha256):
            raise WireFormatError(f"the board opened another model than that of slot {slot}", hint=FLASH_AGAIN)
        self._counted[slot], self._strides[slot] = 0, model.stride
        return model

    def close_model(self, slot: int = 0) -> None:
        """Free the memory of an open model."""
        self._call(wire.Close(slot), wire.Done)

    def reset(self, slot: int = 0) -> None:
        """Reset the streaming state and the armed rule."""
        self._call(wire.Reset(slot), wire.Done)
        self._counted[slot] = 0

    def arm_detection(self, slot: int, *, cutoff: int, window: int) -> None:
        """Let the board run ESPHome's detection rule, with the cutoff as a byte; a window of 0 disarms it."""
        self._call(wire.Detect(slot, cutoff, window), wire.Done)

    def upload(self, slot: int, model: ModelRecord, *, progress: Progress = no_progress) -> wire.Model:
        """Replace a slot's model while the firmware runs; the old model stays valid until the new model is complete."""
        total = len(model.content)
        self._call(wire.UploadBegin(slot, total, model.arena, model.sha256), wire.Done, patience=_FLASH_PATIENCE)
        piece = self.board.max_payload - wire.UploadPiece.fixed_size()
        pieces = (wire.UploadPiece(at, model.content[at : at + piece]) for at in range(0, total, piece))
        for done, _ in enumerate(self._exchange(pieces, patience=_FLASH_PATIENCE), start=1):
            progress("upload", min(done * piece, total), total)
        self._counted.pop(slot, None)
        stored = self._ask_model(wire.UploadCommit(model.sha256), slot, patience=_FLASH_PATIENCE)
        if stored.state not in (wire.STORED, wire.OPEN) or stored.sha256 != model.sha256:
            raise WireFormatError(f"the board did not store the model of slot {slot}", hint=FLASH_AGAIN)
        return stored

    def _ask_model(self, request: Message, slot: int, *, patience: float = 0.0) -> wire.Model:
        """What the board says of a slot, which must agree with itself."""
        model = self._call(request, wire.Model, patience=patience)
        is_open = model.state == wire.OPEN
        if model.model != slot or (is_open and not (model.stride and 0 < model.arena_used <= model.arena_size)):
            facts = f"slot {model.model}, stride {model.stride}, arena {model.arena_used} of {model.arena_size} bytes"
            raise WireFormatError(f"what the board says of model slot {slot} is impossible: {facts}", hint=FLASH_AGAIN)
        self._stored[slot] = model.sha256
        return model

    # --- Inference ---------------------------------------------------------------------------------------------------

    def infer(self, frames: npt.NDArray[np.int8], slot: int = 0, *, profile: bool = False) -> StreamedFrames:
        """Advance an open model by `frames` `[n, stride, 40]`, each exactly once.

        Raises:
            DeviceError: The interpreter failed, or the model is not open.
            LinkError: The link failed; its `inference` is the first inference without an output. The state is undefined
                until the model is reset.
        """
        first = self._counted.get(slot, 0)
        rows = bytearray()
        try:
            for answer in self._exchange(self._packets(frames, slot, profile)):
                assert isinstance(answer, wire.Outputs)
                expected = first + len(rows) // SAMPLE.itemsize
                if answer.first != expected or answer.model != slot:
                    raise WireFormatError(
                        f"the board has made {answer.first} inferences of model {answer.model} instead of {expected}",
                        hint="another program may use the board, or the firmware is faulty: flash it again",
                    )
                rows += answer.samples
        except LinkError as error:
            raise error.at_inference(first + len(rows) // SAMPLE.itemsize) from error
        samples = np.frombuffer(bytes(rows), SAMPLE)
        if len(samples) != len(frames):
            raise WireFormatError(
                f"{len(frames)} frames gave {len(samples)} outputs",
                hint=FLASH_AGAIN,
            )
        return self._streamed(samples, slot, frames.shape[1])

    def _streamed(self, samples: npt.NDArray[np.void], slot: int, stride: int) -> StreamedFrames:
        first = self._counted.get(slot, 0)
        self._counted[slot] = first + len(samples)
        return StreamedFrames(
            outputs=np.ascontiguousarray(samples["output"]),
            microseconds=np.ascontiguousarray(samples["microseconds"]),
            detections=tuple(_detections(samples, first, stride)),
            inferences=self._counted[slot],
        )

    def frames_per_packet(self, stride: int) -> int:
        """How many frames of this stride the board takes in one request."""
        room = (self.board.max_payload - wire.Infer.fixed_size()) // (stride * FEATURES)
        return max(1, min(self.board.max_frames, room))

    # --- Sound -------------------------------------------------------------------------------------------------------

    @property
    def has_frontend(self) -> bool:
        """Whether the board has an audio front-end."""
        return bool(self.board.flags & wire.FLAG_FRONTEND)

    @property
    def has_microphone(self) -> bool:
        """Whether the board has a microphone."""
        return bool(self.board.flags & wire.FLAG_MICROPHONE)

    def listen(
        self, slots: Collection[int] = (0,), *, step_ms: int = FEATURE_STEP_MS, microphone: bool = False
    ) -> None:
        """Start a stream of sound for open models, with front-end, models and armed rules in their initial states.

        With `microphone` the board uses its own microphone, and `read_sound` and `read_heard` read the results; else
        `hear` sends the sound.
        """
        source = wire.SOUND_OF_MICROPHONE if microphone else wire.SOUND_OF_HOST
        self._call(wire.Listen(sum(1 << slot for slot in slots), step_ms, source), wire.Done)
        self._listening, self._step_ms, self._slices = tuple(sorted(slots)), step_ms, 0
        self._counted.update(dict.fromkeys(slots, 0))

    def hear(self, samples: bytes) -> HeardSound:
        """Send the next little-endian int16 samples, 16 kHz mono; the board takes each exactly once.

        Raises:
            DeviceError: The front-end or an interpreter failed, or no model listens.
            LinkError: The link failed; its `inference` is the first without an output, of the first model.
        """
        features, rows, first = bytearray(), self._no_rows(), self._slices
        try:
            for answer in self._exchange(self._sound(samples)):
                assert isinstance(answer, wire.Heard)
                expected = first + len(features) // FEATURES
                if answer.first != expected:
                    raise WireFormatError(
                        f"the board has made {answer.first} slices instead of {expected}",
                        hint="another program may use the board, or the firmware is faulty: flash it again",
                    )
                _take_slices(answer, features, rows)
        except LinkError as error:
            slot = self._listening[0] if self._listening else 0
            done = len(rows.get(slot, b"")) // SAMPLE.itemsize
            raise error.at_inference(self._counted.get(slot, 0) + done) from error
        return self._heard(features, rows)

    def read_sound(self, first: int) -> wire.Sound:
        """The samples of the board's microphone from sample `first` of the stream on, as many as exist and fit."""
        return self._call(wire.ReadSound(first % _COUNTS), wire.Sound)

    def read_heard(self) -> HeardSound:
        """The results of front-end and models for the microphone's sound since the last call.

        Raises:
            DeviceError: A model failed, or nothing listens to the microphone.
            LinkError: The link failed.
        """
        features, rows = bytearray(), self._no_rows()
        answer = self._call(wire.ReadHeard(self._slices % _COUNTS), wire.Heard)
        lost = (answer.first - self._slices) % _COUNTS
        if lost:
            self._slices += lost
            self._counted.update({slot: self._slices // self._strides[slot] for slot in self._listening})
        _take_slices(answer, features, rows)
        return self._heard(features, rows, lost)

    def _no_rows(self) -> dict[int, bytearray]:
        return {slot: bytearray() for slot in self._listening}

    def _heard(self, features: bytearray, rows: Mapping[int, bytearray], lost: int = 0) -> HeardSound:
        self._slices += len(features) // FEATURES
        return HeardSound(
            np.frombuffer(bytes(features), np.int8).reshape(-1, FEATURES),
            {
                slot: self._streamed(np.frombuffer(bytes(row), SAMPLE), slot, self._strides[slot])
                for slot, row in rows.items()
            },
            lost,
        )

    def _sound(self, samples: bytes) -> Iterator[wire.Hear]:
        """The samples in pieces that the board accepts, in whole steps where these are short enough.

        For each 10 ms of its payload the board takes the samples of one slice, however long a step is.
        """
        step = SAMPLE_RATE * self._step_ms // 1000 * 2
        room = self.board.max_payload // 2 * 2
        most = min(self.board.max_payload // FEATURE_STEP_BYTES * step, room // step * step or room)
        return (wire.Hear(samples[at : at + most]) for at in range(0, len(samples), most))

    # --- Details of an inference -------------------------------------------------------------------------------------

    def read_outputs(self, sizes: Sequence[int], slot: int = 0) -> list[bytes]:
        """Every output tensor after the latest inference, with the sizes from the model."""
        inferences, room = self._counted.get(slot, 0), self.board.max_payload - wire.OutputPiece.fixed_size()
        places = [(output, at) for output, size in enumerate(sizes) for at in range(0, size, room)]
        result = [b""] * len(sizes)
        requests = (wire.ReadOutput(slot, output, inferences, at) for output, at in places)
        for (output, at), piece in zip(places, self._exchange(requests), strict=True):
            assert isinstance(piece, wire.OutputPiece)
            expected = (sizes[output], at, min(room, sizes[output] - at))
            if (piece.total, piece.offset, len(piece.data)) != expected:
                raise WireFormatError(
                    f"output {output} has {piece.total} bytes on the board, not {sizes[output]}",
                    hint="flash the model again: mww flash --model MANIFEST.json",
                )
            result[output] += piece.data
        return result

    def read_profile(self, slot: int = 0) -> tuple[OperatorTime, ...]:
        """Operator times of the last frame that ran with `profile`."""
        width = wire.OpTime.fixed_size()
        times: list[OperatorTime] = []
        while True:
            part = self._call(wire.ReadProfile(slot, len(times)), wire.Profile)
            rows = [wire.OpTime.decode(part.operators[at : at + width]) for at in range(0, len(part.operators), width)]
            if part.first != len(times) or not rows or len(times) + len(rows) > part.total:
                message = f"the board gave the times of {len(times) + len(rows)} operators, of {part.total}"
                raise WireFormatError(message, hint=FLASH_AGAIN)
            times += [OperatorTime(row.name.rstrip(b"\0").decode(errors="replace"), row.microseconds) for row in rows]
            if len(times) == part.total:
                return tuple(times)

    def stats(self) -> wire.Stats:
        """Memory and link counters of the board."""
        return self._call(wire.ReadStats(), wire.Stats)

    def _call(self, request: Message, kind: type[_MessageT], *, patience: float = 0.0) -> _MessageT:
        (answer,) = self._exchange((request,), patience=patience)
        assert isinstance(answer, kind)
        return answer

    def _exchange(self, requests: Iterable[Message], *, patience: float = 0.0) -> Iterator[Message]:
        boot_id = self.board.boot_id
        try:
            yield from self._session.exchange(requests, patience=patience)
        except (RebootedError, HungError) as error:
            raise error.with_hint("; ".join(filter(None, (error.hint, self._log.story())))) from error
        except PortMissingError:
            # With the chip's own USB, the port disappears at a reboot; its return shows which.
            if self._returns and self.reconnect().boot_id != boot_id:
                raise rebooted() from None
            raise

    def _packets(self, frames: npt.NDArray[np.int8], slot: int, profile: bool) -> Iterator[wire.Infer]:
        count, stride, features = frames.shape
        content = np.ascontiguousarray(frames, np.int8).tobytes()
        step = self.frames_per_packet(stride) * stride * features
        flags = wire.INFER_PROFILE if profile else 0
        return (wire.Infer(slot, flags, content[at : at + step]) for at in range(0, count * stride * features, step))


def heard_slices(answer: wire.Heard) -> Iterator[tuple[bytes, dict[int, bytes]]]:
    """The features of each slice, and a row of `SAMPLE` for each slot whose frame the slice completes.

    Raises:
        WireFormatError: The answer is cut short.
    """
    content, at = answer.slices, 0
    while at < len(content):
        features, at = content[at : at + FEATURES], at + FEATURES + 1
        complete = content[at - 1] if at <= len(content) else 0
        slots = [slot for slot in range(8) if complete & 1 << slot]
        results = {slot: content[at + n * SAMPLE.itemsize :][: SAMPLE.itemsize] for n, slot in enumerate(slots)}
        at += len(slots) * SAMPLE.itemsize
        if at > len(content):
            raise WireFormatError("the message Heard ends within a slice", hint=FLASH_AGAIN)
        yield features, results


def _take_slices(answer: wire.Heard, features: bytearray, rows: Mapping[int, bytearray]) -> None:
    """Add an answer's slices, and the rows of models that listen."""
    for slice_, results in heard_slices(answer):
        features += slice_
        for slot in rows.keys() & results.keys():
            rows[slot] += results[slot]


def _detections(samples: npt.NDArray[np.void], first: int, stride: int) -> Iterator[DeviceDetection]:
    for index in np.flatnonzero(samples["detected"]):
        row = samples[index]
        at, frame = int(row["detected"]), first + int(index)
        yield DeviceDetection(
            inference=frame if at >= stride else max(0, frame - 1),  # within a stride: this frame is not complete yet
            slices=frame * stride + at,
            average=int(row["average"]),
            maximum=int(row["maximum"]),
        )
