"""What the socket and rfc2217 transports share: a listening socket on loopback, one connection, bytes both ways."""

from __future__ import annotations

import contextlib
import select
import socket
from typing import Final

from harness.virtual.transports.base import MAX_READ

_MAX_PENDING: Final = 4 << 20


class Stream:
    """One host at a time: the next waits in the listening socket's queue until the first has closed."""

    def __init__(self, watch: int | None) -> None:
        """Listen on a free port; `watch` is a file descriptor whose end ends the waiting with `EOFError`."""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._watch = watch
        self._connection: socket.socket | None = None
        self._pending = bytearray()

    @property
    def connected(self) -> bool:
        """Whether a host is there."""
        return self._connection is not None

    @property
    def pending(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return len(self._pending)

    def wait(self, timeout: float | None, *, reading: bool) -> tuple[bool, bool]:
        """Send what waits, and wait for a host or its bytes; returns whether one came, and whether there are bytes.

        Raises:
            EOFError: The watched descriptor has ended.
        """
        connection = self._connection
        readable: list[socket.socket | int] = [] if self._watch is None else [self._watch]
        if connection is None:
            readable.append(self._listener)
        elif reading:
            readable.append(connection)
        writable = [connection] if connection is not None and self._pending else []
        ready, able, _ = select.select(readable, writable, [], timeout)
        if self._watch in ready:
            raise EOFError
        if able:
            self._flush()
        if self._listener in ready:
            return self._accept(), False
        return False, connection is not None and connection in ready and self._connection is connection

    def read(self, limit: int) -> bytes:
        """Return what is there, or nothing if the host has closed, in which case the connection is over."""
        assert self._connection is not None
        try:
            data = self._connection.recv(min(limit, MAX_READ))
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            self.drop()
        return data

    def send(self, data: bytes) -> None:
        """Send now what the kernel takes, and keep the rest; without a host, or with too much waiting, drop it."""
        if self._connection is not None and len(self._pending) + len(data) <= _MAX_PENDING:
            self._pending += data
            self._flush()

    def drop(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        self._pending.clear()
        if connection is not None:
            connection.close()

    def close(self) -> None:
        """Close everything."""
        self.drop()
        self._listener.close()

    def _accept(self) -> bool:
        with contextlib.suppress(OSError):
            connection, _ = self._listener.accept()
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connection = connection
        return self._connection is not None

    def _flush(self) -> None:
        assert self._connection is not None
        try:
            sent = self._connection.send(self._pending)
        except BlockingIOError:
            return
        except OSError:
            self._pending.clear()  # the host has gone; reading will tell
            return
        del self._pending[:sent]
