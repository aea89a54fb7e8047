"""A pseudo terminal: looks like a serial port, without control lines."""

from __future__ import annotations

import errno
import os
import select
import tty
from typing import Final

from harness.virtual.transports.base import MAX_READ, Closed, Event, Received

_MAX_PENDING: Final = 4 << 20


class PtyTransport:
    """A board behind a terminal device.

    While no host has the device open, a handle of ours keeps it from hanging up, so that waiting costs nothing; the
    first bytes tell that a host has come, and from then on the hang-up tells when it goes.
    """

    has_lines = False

    def __init__(self, watch: int | None = None) -> None:
        self._master, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(self._master, False)
        self._keeper: int | None = slave
        self._watch = watch
        self._pending = bytearray()
        self.url = os.ttyname(slave)

    @property
    def pending(self) -> int:
        """Bytes sent that the host's side has not taken yet."""
        return len(self._pending)

    def poll(self, timeout: float | None, limit: int) -> list[Event]:
        """See `Transport`."""
        poller = select.poll()
        poller.register(self._master, (select.POLLIN if limit else 0) | (select.POLLOUT if self._pending else 0))
        if self._watch is not None:
            poller.register(self._watch, select.POLLIN)
        ready = dict(poller.poll(None if timeout is None else max(0, timeout) * 1000))
        if self._watch in ready:
            raise EOFError
        state = ready.get(self._master, 0)
        if state & select.POLLOUT:
            self._flush()
        if not state & (select.POLLIN | select.POLLHUP):
            return []
        return self._read(limit or MAX_READ)

    def send(self, data: bytes) -> None:
        """See `Transport`."""
        if self._keeper is None and len(self._pending) + len(data) <= _MAX_PENDING:
            self._pending += data
            self._flush()

    def close(self) -> None:
        """See `Transport`."""
        for descriptor in (self._keeper, self._master):
            if descriptor is not None and descriptor >= 0:
                os.close(descriptor)
        self._keeper, self._master = None, -1

    def _read(self, limit: int) -> list[Event]:
        try:
            data = os.read(self._master, min(limit, MAX_READ))
        except BlockingIOError:
            return []
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            self._pending.clear()
            self._keeper = os.open(self.url, os.O_RDWR | os.O_NOCTTY)
            return [Closed()]
        if self._keeper is not None:
            os.close(self._keeper)
            self._keeper = None
        return [Received(data)]

    def _flush(self) -> None:
        try:
            sent = os.write(self._master, self._pending)
        except BlockingIOError:
            return
        except OSError:
            self._pending.clear()  # the host has gone; reading will tell
            return
        del self._pending[:sent]
