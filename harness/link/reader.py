"""The thread that reads a port, and the board's log: no line is lost, and no caller waits past its deadline."""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from harness.link.framing import Frame, FrameDecoder, Stray
from harness.link.messages import Log
from harness.serial.connection import Port
from mww.core.errors import LinkError
from mww.core.readable import printable

_KEPT: Final = 40
_BEFORE: Final = 4
_AFTER: Final = 2
_LONGEST: Final = 120
RESET_REASON: Final = re.compile(r"rst:(0x[0-9a-f]+ \(\w+\))")
"""The start of the first line that every chip's ROM prints after a reset."""

LogSink = Callable[[str], None]
"""Takes a line that a board printed; called in the reader's thread."""

_CONCEALED: Final = re.compile(r"\x1b\[[58]m.*?(?:\x1b\[(?:0|6|28)m|$)", re.MULTILINE)
"""esphome 2026.6.5, core/log.h; `esphome config` conceals by 5 and 6."""
_ESCAPE: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_PRINTABLE: Final = bytes((*range(0x20, 0x7F), 0x09, 0x0A, 0x0D, 0x1B))
_TEXT_SHARE: Final = 0.9
_JOIN_TIMEOUT: Final = 5.0
_TAIL: Final = 4096  # bytes, enough to recognise a board that restarts again and again
_MAX_WAITING: Final = 4096
"""The most frames that wait to be taken, many windows of them; if a board sends more, the oldest are lost."""


class BootLog:
    """The newest lines of a board's log; one thread adds lines, another reports them."""

    def __init__(self, on_log: LogSink | None = None) -> None:
        """Keep lines, and pass each on to `on_log`."""
        self._lines: deque[str] = deque(maxlen=_KEPT)
        self._on_log = on_log or (lambda line: None)
        self.count = 0

    def add(self, line: str) -> None:
        """Take a line."""
        self.count += 1
        self._lines.append(line.strip()[:_LONGEST])
        self._on_log(line)

    def story(self) -> str | None:
        """Why the board last started, the log before that, and the end of its log; None if it printed nothing."""
        lines = list(self._lines)
        if not lines:
            return None
        starts = [index for index, line in enumerate(lines) if RESET_REASON.search(line)]
        if not starts:
            return f"its log: {' | '.join(lines[-_BEFORE:])}"
        results = [*lines[max(0, starts[-1] - _BEFORE) : starts[-1]], *lines[starts[-1] + 1 :][-_AFTER:]]
        reason = RESET_REASON.findall(lines[starts[-1]])[0]
        return f"reset reason {reason}; its log: {' | '.join(results)}"


@dataclass(slots=True)
class ReaderCounts:
    """What the port has received so far; `tail` holds the newest bytes, to recognise what sends them."""

    received: int = 0
    tail: bytes = b""
    frames: int = 0
    text: int = 0
    noise: int = 0


def plain(text: str) -> str:
    """Log text without colours and control characters.

    Text that ESPHome conceals is removed too: names of networks, keys (`LOG_SECRET`).
    """
    reported = _ESCAPE.sub("", _CONCEALED.sub("[concealed]", text))
    return printable(reported, keep="\r\n\t", longest=None)


def looks_like_text(content: bytes) -> bool:
    """Whether bytes are a logger's text, rather than damaged frames or a wrong baud rate."""
    return len(content.translate(None, _PRINTABLE)) <= (1 - _TEXT_SHARE) * len(content)


class Reader:
    """Reads `port` until closed; frames wait in a queue, log lines go to `on_log` at once."""

    def __init__(self, port: Port, on_log: LogSink | None = None) -> None:
        self._port = port
        self._on_log = on_log or (lambda line: None)
        self._decoder = FrameDecoder()
        self._frames: deque[Frame] = deque(maxlen=_MAX_WAITING)
        self._arrived = threading.Condition()
        self._failure: LinkError | None = None
        self._stop = threading.Event()
        self.counts = ReaderCounts()
        self.last_frame = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="mww-link-reader", daemon=True)
        self._thread.start()

    def take(self, deadline: float) -> list[Frame]:
        """The frames that have arrived; waits for a frame until `deadline` of the monotonic clock, and may be empty.

        Raises:
            LinkError: The port has failed, and every frame before that was taken.
        """
        with self._arrived:
            while not self._frames and self._failure is None:
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    return []
                self._arrived.wait(remaining)
            frames = list(self._frames)
            self._frames.clear()
            if not frames and self._failure is not None:
                raise self._failure
            return frames

    def close(self) -> None:
        """End the thread; the port stays open for its owner to close."""
        self._stop.set()
        self._thread.join(_JOIN_TIMEOUT)
        if not self._thread.is_alive():
            for stray in self._decoder.take_rest():
                self._stray(stray)

    def _run(self) -> None:
        failure: LinkError | None = None
        while not self._stop.is_set() and failure is None:
            try:
                data = self._port.read()
            except LinkError as error:
                failure = error
            else:
                if data:
                    self._receive(data)
        with self._arrived:
            self._failure = failure
            self._arrived.notify_all()

    def _receive(self, data: bytes) -> None:
        self.counts.received += len(data)
        self.counts.tail = (self.counts.tail + data)[-_TAIL:]
        frames: list[Frame] = []
        for item in self._decoder.feed(data):
            if isinstance(item, Stray):
                self._stray(item)
            elif item.type == Log.type:
                self._log(item)
            else:
                frames.append(item)
        if frames:
            with self._arrived:
                self._frames.extend(frames)
                self.counts.frames += len(frames)
                self.last_frame = time.monotonic()
                self._arrived.notify_all()

    def _stray(self, stray: Stray) -> None:
        if not looks_like_text(stray.content):
            self.counts.noise += 1
            return
        self.counts.text += 1
        for line in plain(stray.content.decode(errors="replace")).splitlines():
            if line.strip():
                self._on_log(line)

    def _log(self, frame: Frame) -> None:
        try:
            self._on_log(plain(Log.decode(frame.payload).text))
        except LinkError:
            self.counts.noise += 1
