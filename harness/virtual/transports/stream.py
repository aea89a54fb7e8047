"""`socket://`, plain bytes over TCP, and its common part with rfc2217: a socket on loopback, one host at a time."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from typing import Final

from harness.virtual.transports import MAX_READ, Closed, Event, Received


class SocketTransport:
    """A board at the end of a TCP connection."""

    has_lines = False

    def __init__(self, watch: int | None = None, port: int = 0) -> None:
        """Listen on a port; 0: any free port."""
        self._stream = Stream(watch, port)
        self.url = f"socket://127.0.0.1:{self._stream.port}"

    @property
    def pending(self) -> int:
        """Sent bytes that the host's side has not taken yet."""
        return self._stream.pending

    def poll(self, timeout: float | None, limit: int) -> list[Event]:
        """See `Transport`."""
        _, readable = self._stream.wait(timeout, reading=limit > 0)
        if not readable:
            return []
        data = self._stream.read(limit)
        if data:
            return [Received(data)]
        return [] if self._stream.connected else [Closed()]

    def send(self, data: bytes) -> None:
        """See `Transport`."""
        self._stream.send(data)

    def close(self) -> None:
        """See `Transport`."""
        self._stream.close()


_MAX_PENDING: Final = 4 << 20
_TURN: Final = 0.5
"""Seconds that the next host waits until the first closes."""
_IN_USE: Final = b"Port already in use\r\n"


class Stream:
    """Serves one host at a time: the next host is accepted if the first closes within a moment, and refused otherwise.

    The moment is for a host that closes and reopens its port, whose two events may arrive in any order.
    """

    def __init__(self, watch: int | None, port: int = 0) -> None:
        """Listen on a port, where 0 is any free port; the end of the file descriptor `watch` raises `EOFError`."""
        self._listener = socket.create_server(("127.0.0.1", port), backlog=4)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._watch = watch
        self._connection: socket.socket | None = None
        self._next: socket.socket | None = None
        self._refuse_at = 0.0
        self._pending = bytearray()

    @property
    def connected(self) -> bool:
        """Whether a host is connected."""
        return self._connection is not None

    @property
    def pending(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return len(self._pending)

    def wait(self, timeout: float | None, *, reading: bool) -> tuple[bool, bool]:
        """Send waiting bytes, and wait for a host or its bytes.

        Returns whether a host came, and whether there are bytes.

        Raises:
            EOFError: The watched descriptor has ended.
        """
        connection = self._connection
        if connection is None and self._next is not None:
            self._connection, self._next = self._next, None
            return True, False
        readable: list[socket.socket | int] = [] if self._watch is None else [self._watch]
        if self._next is None:
            readable.append(self._listener)
        else:
            left = max(0.0, self._refuse_at - time.monotonic())
            timeout = left if timeout is None else min(left, timeout)
        if connection is not None and reading:
            readable.append(connection)
        writable = [connection] if connection is not None and self._pending else []
        ready, able, _ = select.select(readable, writable, [], timeout)
        if self._watch in ready:
            raise EOFError
        if able:
            self._flush()
        if self._next is not None and time.monotonic() >= self._refuse_at:
            self._refuse()
        if self._listener in ready:
            self._accept()
            if connection is None:
                return self.connected, False
        return False, connection is not None and connection in ready and self._connection is connection

    def read(self, limit: int) -> bytes:
        """Return the available bytes, or none if the host has closed, which ends the connection."""
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
        """Send what the kernel takes now, and keep the rest; without a host, or with too much waiting, drop it."""
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
        if self._next is not None:
            self._next.close()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._listener.accept()
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._connection is None:
                self._connection = connection
            else:
                self._next, self._refuse_at = connection, time.monotonic() + _TURN

    def _refuse(self) -> None:
        """Send the second host the text that the port is in use, with ser2net's words."""
        refused, self._next = self._next, None
        assert refused is not None
        with contextlib.suppress(OSError):
            refused.send(_IN_USE)
            refused.shutdown(socket.SHUT_WR)
            refused.recv(MAX_READ)  # closing with unread bytes would reset the connection and lose the text
        refused.close()

    def _flush(self) -> None:
        assert self._connection is not None
        try:
            sent = self._connection.send(self._pending)
        except BlockingIOError:
            return
        except OSError:
            self._pending.clear()  # the host has gone; reading will show it
            return
        del self._pending[:sent]
