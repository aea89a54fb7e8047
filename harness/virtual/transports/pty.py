"""A pseudo terminal: looks like a serial port, without control lines."""

from __future__ import annotations

import ctypes
import os
import select
import struct
import termios
import tty
from typing import Final

from harness.virtual.transports import MAX_READ, Closed, Event, Received
from mww.core.errors import MwwError, VirtualBoardError

_MAX_PENDING: Final = 4 << 20

_OPENED: Final = 0x20
_CLOSED: Final = 0x08 | 0x10  # of a writer, of a reader
_NOTICE: Final = struct.Struct("iIII")
"""inotify(7): IN_OPEN, IN_CLOSE_WRITE, IN_CLOSE_NOWRITE and `struct inotify_event` without a name."""


class PtyTransport:
    """A board behind a terminal device.

    A terminal's hang-up is not visible when the next host opens the device at once; inotify reports every opening and
    closing. The board's own handle keeps the terminal and its raw mode between hosts.
    """

    has_lines = False

    def __init__(self, watch: int | None = None) -> None:
        """Make the terminal.

        Raises:
            VirtualBoardError: This system has no inotify.
        """
        self._master, self._keeper = os.openpty()
        tty.setraw(self._keeper)
        os.set_blocking(self._master, False)
        self.url = os.ttyname(self._keeper)
        self._hosts = 0
        self._watch = watch
        self._pending = bytearray()
        try:
            self._notices = _watch_openings(self.url)
        except MwwError:
            os.close(self._master)
            os.close(self._keeper)
            raise

    @property
    def pending(self) -> int:
        """Sent bytes that the host's side has not taken yet."""
        return len(self._pending)

    def poll(self, timeout: float | None, limit: int) -> list[Event]:
        """See `Transport`."""
        poller = select.poll()
        poller.register(self._notices, select.POLLIN)
        poller.register(self._master, (select.POLLIN if limit else 0) | (select.POLLOUT if self._pending else 0))
        if self._watch is not None:
            poller.register(self._watch, select.POLLIN)
        ready = dict(poller.poll(None if timeout is None else max(0, timeout) * 1000))
        if self._watch in ready:
            raise EOFError
        if self._notices in ready and self._heed_notices():
            return [Closed()]
        if ready.get(self._master, 0) & select.POLLOUT:
            self._flush()
        return self._read(limit) if ready.get(self._master, 0) & select.POLLIN else []

    def send(self, data: bytes) -> None:
        """See `Transport`."""
        if self._hosts and len(self._pending) + len(data) <= _MAX_PENDING:
            self._pending += data
            self._flush()

    def close(self) -> None:
        """See `Transport`."""
        for descriptor in (self._notices, self._keeper, self._master):
            if descriptor >= 0:
                os.close(descriptor)
        self._notices = self._keeper = self._master = -1

    def _heed_notices(self) -> bool:
        """Count hosts; True if the last host has gone, even if another has come since."""
        gone = False
        for _, mask, _, _ in _NOTICE.iter_unpack(os.read(self._notices, 256 * _NOTICE.size)):
            if mask & _OPENED:
                self._hosts += 1
            elif mask & _CLOSED and self._hosts:
                self._hosts -= 1
                gone |= self._hosts == 0
        if gone:
            self._pending.clear()
            if not self._hosts:
                termios.tcflush(self._keeper, termios.TCIOFLUSH)
        return gone

    def _read(self, limit: int) -> list[Event]:
        try:
            return [Received(os.read(self._master, min(limit, MAX_READ)))]
        except BlockingIOError:
            return []

    def _flush(self) -> None:
        try:
            sent = os.write(self._master, self._pending)
        except BlockingIOError:
            return
        del self._pending[:sent]


def _watch_openings(path: str) -> int:
    """Return a descriptor that is readable when the file at `path` has been opened or closed."""
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "inotify_init1"):
        raise VirtualBoardError("this system has no inotify, which pty needs", hint="use --transport socket")
    descriptor = int(library.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
    if descriptor < 0 or library.inotify_add_watch(descriptor, path.encode(), _OPENED | _CLOSED) < 0:
        raise VirtualBoardError(
            f"cannot watch {path}: {os.strerror(ctypes.get_errno())}", hint="use --transport socket"
        )
    return descriptor
