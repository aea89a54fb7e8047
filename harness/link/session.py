"""A session with a board: the handshake, the windowed exchange of requests and answers, and the different failures.

`client` gives the requests a meaning.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from harness.link.declaration import FLASH_AGAIN, Message, messages
from harness.link.error_codes import ERROR_CODES, LinkCode
from harness.link.framing import Frame, encode_frame, wire_size
from harness.link.messages import PROTOCOL_VERSION, Bye, Error, Gap, Heartbeat, Hello, Welcome
from harness.link.reader import RESET_REASON, LogSink, Reader, ReaderCounts, looks_like_text, plain
from harness.link.window import Window
from harness.serial.connection import Port
from mww.core.errors import (
    BootLoopError,
    DeviceError,
    HungError,
    LinkError,
    NoisyLinkError,
    NoReplyError,
    ProtocolVersionError,
    RebootedError,
    WireFormatError,
    WrongFirmwareError,
)

_BOOT_LINES: Final = 8
DEFAULT_TIMEOUT: Final = 30.0
"""Seconds, see `Timing.timeout`."""
_LEAST_PAYLOAD: Final = 256
"""Bytes; every board of this project takes at least this much."""


@dataclass(frozen=True, slots=True)
class Timing:
    """The host's waiting times, in seconds.

    Attributes:
        hello: For the first Welcome; a board that resets when its port opens needs a few seconds to boot.
        hello_interval: Between two Hellos.
        silence: Without one frame from the board before it is called hung.
        stall: With frames, but without one answer, before the board is given up.
        timeout: From a request to its answer, even where other answers arrive; so a board whose answers dribble in
            cannot hold the host.
        part: Of the patience that is granted to requests which keep the board busy.
        resend_min: Least wait for an answer before its request is sent again.
        resend_max: Most.
    """

    hello: float = 5.0
    hello_interval: float = 0.25
    silence: float = 4.0
    stall: float = 10.0
    timeout: float = DEFAULT_TIMEOUT
    part: float = 1.0
    resend_min: float = 0.08
    resend_max: float = 1.0

    @classmethod
    def within(cls, timeout: float) -> Timing:
        """The waiting times for a board that must answer within `timeout` seconds; all change in proportion."""
        usual = cls()
        part = timeout / usual.timeout
        return cls(
            hello=usual.hello * part,
            silence=usual.silence * part,
            stall=usual.stall * part,
            timeout=timeout,
            part=part,
        )


class Session:
    """A session on an open port. Not thread-safe; owns the port and its reader until `close`."""

    def __init__(self, port: Port, *, timing: Timing | None = None, on_log: LogSink | None = None) -> None:
        self._port = port
        self._timing = timing or Timing()
        self._reader = Reader(port, on_log)
        self._pace = self._timing.resend_max / 4
        self._closed = False
        self._rebooted: RebootedError | None = None
        try:
            self.board = self._handshake()
        except BaseException:
            self._shut()
            raise

    def exchange(self, requests: Iterable[Message], *, patience: float = 0.0) -> Iterator[Message]:
        """Send requests, as many at once as the board takes, and yield their answers in order.

        The first refusal stops the sending; it is raised when all sent requests are answered. Late answers of an
        abandoned exchange are ignored. `patience` is added to the silence that the board is granted, for requests that
        keep it busy.

        Raises:
            DeviceError: The board refused or failed a request.
            LinkError: The link failed, in the way that the subclass says.
        """
        waiting = ((request, request.encode()) for request in requests)
        following = next(waiting, None)
        refusal: DeviceError | None = None
        abandoned = len(self._window)
        watch = _Watch(self._timing, self._reader, self._pace, patience)
        while following is not None or self._window:
            while following is not None and self._window.has_room(wire_size(len(following[1]))):
                self._port.write(self._window.send(*following))
                watch.sent()
                following = next(waiting, None)
            for asked, frame in self._answers(watch):
                if abandoned:
                    abandoned -= 1
                    continue
                try:
                    yield self._parse(asked, frame)
                except DeviceError as error:
                    refusal, following = refusal or error, None
        self._pace = watch.pace
        if refusal is not None:
            raise refusal

    def close(self) -> None:
        """Send Bye without waiting for an answer, end the reader, close the port."""
        if not self._closed:
            with suppress(LinkError):  # the board or its port is gone, so nobody needs a Bye
                self._port.write(self._window.send(Bye(), b""))
        self._shut()

    def _shut(self) -> None:
        self._closed = True
        self._reader.close()
        self._port.close()

    # --- Handshake ---------------------------------------------------------------------------------------------------

    def _handshake(self) -> Welcome:
        hello = Hello(PROTOCOL_VERSION, PROTOCOL_VERSION, secrets.randbits(32))
        sequence = secrets.randbits(16)
        wire = encode_frame(hello.type, sequence, hello.encode())
        deadline = time.monotonic() + self._timing.hello
        while time.monotonic() < deadline:
            self._port.write(wire)
            until = min(deadline, time.monotonic() + self._timing.hello_interval)
            while time.monotonic() < until and (frames := self._reader.take(until)):
                for frame in frames:
                    welcome = _welcome(frame, hello.nonce, sequence)
                    if welcome is not None:
                        capacity = max(welcome.receive_buffer, wire_size(welcome.max_payload))
                        self._window = Window(sequence + 1, requests=welcome.window, capacity=capacity)
                        return welcome
        raise _no_welcome(self._reader)

    # --- Exchange ----------------------------------------------------------------------------------------------------

    def _answers(self, watch: _Watch) -> list[tuple[Message, Frame]]:
        """The answers that are due, after a single wait; sends again what seems lost."""
        if self._rebooted is not None:
            raise self._rebooted
        done: list[tuple[Message, Frame]] = []
        for frame in self._reader.take(watch.wake):
            again = b""
            if frame.type == Heartbeat.type:
                try:
                    self._check_boot(Heartbeat.decode(frame.payload).boot_id)
                except RebootedError as error:  # reported after the answers that came before it
                    self._rebooted = error
                    break
            elif frame.type == Gap.type:
                again = self._window.go_back(Gap.decode(frame.payload).expected, frame.sequence)
            elif frame.type != Welcome.type:
                answered, again = self._window.accept(frame)
                done += answered
            if again:
                self._port.write(again)
        if done:
            watch.progress(len(done))
        elif self._rebooted is None and watch.check(self._window):
            self._port.write(self._window.resend_oldest())
        return done

    def _parse(self, request: Message, frame: Frame) -> Message:
        kind = messages().get(frame.type)
        if kind is Error:
            raise self._refusal(Error.decode(frame.payload))
        if kind is None or kind.__name__ != request.reply:
            raise WireFormatError(
                f"{type(request).__name__} was answered by a message of type {frame.type:#04x}",
                hint=FLASH_AGAIN,
            )
        return kind.decode(frame.payload)

    def _refusal(self, error: Error) -> DeviceError:
        if error.code == LinkCode.NO_SESSION:
            self._check_boot(error.detail)
        return device_error(error)

    def _check_boot(self, boot_id: int) -> None:
        if boot_id != self.board.boot_id:
            raise rebooted()


class _Watch:
    """When to wake up, when to send again, and when to give up, within an exchange."""

    def __init__(self, timing: Timing, reader: Reader, pace: float, patience: float) -> None:
        self.pace = pace
        self._timing = timing
        self._reader = reader
        patience *= timing.part
        self._silence = timing.silence + patience
        self._stall = timing.stall + patience
        self._timeout = timing.timeout + patience
        self._asked: deque[float] = deque()
        self._started = self._advanced = self._sent = time.monotonic()
        self._backoff = 1.0
        self._noise = reader.counts.noise

    @property
    def wake(self) -> float:
        """The time of the next check, on the monotonic clock."""
        wait = min(max(4 * self.pace, self._timing.resend_min) * self._backoff, self._timing.resend_max)
        return self._sent + wait

    def sent(self) -> None:
        """Note that a request was sent for the first time."""
        self._asked.append(time.monotonic())

    def progress(self, answers: int) -> None:
        """Note answers to the oldest requests.

        Raises:
            HungError: The next request has waited too long.
        """
        now = time.monotonic()
        for _ in range(min(answers, len(self._asked))):  # the first may belong to an abandoned exchange
            self._asked.popleft()
        if self._asked and now - self._asked[0] > self._timeout:
            raise HungError(
                f"the board answers, but too slowly: a request has waited {now - self._asked[0]:.0f} s",
                hint="reset the board, or give a slow board more time with --timeout",
            )
        if self._backoff == 1.0:  # after a repeated request, the time between answers is unknown
            self.pace += (now - self._advanced - self.pace) / 8
        self._advanced = self._sent = now
        self._backoff = 1.0

    def check(self, window: Window) -> bool:
        """Whether it is time to send the oldest request again.

        Raises:
            HungError: The board is silent, or sends frames without answering.
            NoisyLinkError: Too many frames are damaged for any answer to arrive.
        """
        now = time.monotonic()
        heard = max(self._reader.last_frame, self._started)
        if now - heard > self._silence or now - self._advanced > self._stall:
            raise self._give_up(window, now - heard)
        if now < self.wake:
            return False
        self._sent = now
        self._backoff *= 2
        return True

    def _give_up(self, window: Window, silent: float) -> LinkError:
        waiting = type(window.oldest).__name__
        if self._reader.counts.noise - self._noise >= 3:
            return NoisyLinkError(
                f"no answer to {waiting}: what arrives is damaged",
                hint="use a shorter cable or a lower --baud, and keep the logger off this port",
            )
        if silent > self._silence:
            return HungError(
                f"the board stopped answering at {waiting}, {silent:.0f} s ago",
                hint="reset the board; its log says whether an inference or a watchdog hangs",
            )
        return HungError(f"the board is alive, but does not answer {waiting}", hint="reset the board")


def rebooted() -> RebootedError:
    """The error for another boot id than the session's."""
    return RebootedError(
        "the board rebooted in the middle of the work",
        hint="its log says why: a panic, a watchdog, or its power supply",
    )


def device_error(error: Error) -> DeviceError:
    """A board's refusal as an exception, with message and hint of its code."""
    code = ERROR_CODES.get(error.code)
    if code is None:
        return DeviceError(
            f"the board reports error {error.code}: {error.text}",
            slug="device",
            detail=error.detail,
            hint="its firmware is newer than this mww-harness",
        )
    about = f" ({code.detail}: {error.detail})" if code.detail else ""
    message = f": {error.text}" if error.text else ""
    return DeviceError(f"{code.message}{about}{message}", slug=code.slug, detail=error.detail, hint=code.hint)


def _welcome(frame: Frame, nonce: int, sequence: int) -> Welcome | None:
    """The Welcome that answers this session's Hello, or None for any other frame."""
    if frame.sequence != sequence:
        return None
    if frame.type == Error.type:
        error = Error.decode(frame.payload)
        if error.code == LinkCode.VERSION_MISMATCH:
            low, high = divmod(error.detail, 256)
            raise ProtocolVersionError(
                f"the board speaks protocol {low} to {high}, this mww-harness {PROTOCOL_VERSION}",
                hint="flash the firmware of this mww-harness version, or install the version of that firmware",
            )
        raise device_error(error)
    if frame.type != Welcome.type:
        return None
    welcome = Welcome.decode(frame.payload)
    if welcome.max_payload < _LEAST_PAYLOAD:
        raise WireFormatError(
            f"the board takes no more than {welcome.max_payload} bytes at once",
            hint=FLASH_AGAIN,
        )
    return welcome if welcome.nonce == nonce else None


def _no_welcome(reader: Reader) -> LinkError:
    counts = reader.counts
    if not counts.received:
        return NoReplyError(
            "the board sent nothing",
            hint="check its power, the port, and that it is not in its bootloader",
        )
    starts = RESET_REASON.findall(counts.tail.decode(errors="replace"))
    if len(starts) > 1:
        return BootLoopError(f"the board restarts again and again, reset reason {starts[-1]}", hint=_last_start(counts))
    if counts.frames:
        return NoisyLinkError(
            "the board's answer to Hello never arrived complete",
            hint="use a shorter cable or a lower --baud, and keep the logger off this port",
        )
    if b"waiting for download" in counts.tail:
        return WrongFirmwareError("the board is in its bootloader", hint="reset it without holding BOOT")
    if looks_like_text(counts.tail):
        return WrongFirmwareError(
            "something answers, but it is not the mww-harness firmware", hint="mww flash --firmware writes it"
        )
    return NoisyLinkError(
        "the received bytes are neither frames nor text",
        hint="check that --baud is the baud rate of the board's firmware",
    )


def _last_start(counts: ReaderCounts) -> str:
    """The end of a board's log before its last start, in one line."""
    text = plain(counts.tail.decode(errors="replace"))
    *_, before, last = RESET_REASON.finditer(text)
    lines = [line.strip() for line in text[before.end() : last.start()].splitlines()[1:] if line.strip()]
    return f"its log ended: {' | '.join(lines[-_BOOT_LINES:])}"
