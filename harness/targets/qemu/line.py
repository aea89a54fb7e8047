"""A bad line to a machine in QEMU: a separate port, on which link frames are lost and changed."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Final

from mww.core.closing import Closing
from mww.core.errors import PortMissingError

Spoil = Callable[[bytes], bytes]
"""Takes the bytes from one end, and gives the bytes for the other; it may keep a part for the next call."""

_START_SECONDS: Final = 30.0
_END_SECONDS: Final = 5.0
_CHUNK: Final = 65_536


class BadLine(Closing):
    """A line for one connection at a time, until `close`.

    Attributes:
        port: The line's port, as pyserial opens it.
    """

    def __init__(self, port: str, there: Spoil, back: Spoil) -> None:
        """Connect to `port`, a `socket://` of this computer; `there` and `back` change the bytes of each direction.

        Raises:
            PortMissingError: No server listens there.
        """
        host, _, number = port.removeprefix("socket://").rpartition(":")
        self._board = _connect((host, int(number)))
        self._spoil = {True: there, False: back}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = f"socket://127.0.0.1:{self._listener.getsockname()[1]}"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="mww-bad-line", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Close the line; harmless a second time."""
        self._ended.set()
        self._thread.join(_END_SECONDS)
        self._listener.close()
        self._board.close()

    def _serve(self) -> None:
        while not self._ended.is_set():
            if select.select([self._listener], [], [], 0.1)[0]:
                host, _ = self._listener.accept()
                with host:
                    self._pump(host)

    def _pump(self, host: socket.socket) -> None:
        """Pass bytes on until either end closes."""
        host.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        others = {host: self._board, self._board: host}
        while not self._ended.is_set():
            for end in select.select([*others], [], [], 0.1)[0]:
                try:
                    data = end.recv(_CHUNK)
                    others[end].sendall(self._spoil[end is host](data))
                except OSError:
                    return
                if not data:
                    return


def _connect(address: tuple[str, int]) -> socket.socket:
    """Connect to the machine's port as soon as QEMU listens there."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            board = socket.create_connection(address, timeout=_START_SECONDS)
        except OSError as error:
            if time.monotonic() > deadline:
                raise PortMissingError(f"QEMU does not listen: {error}", hint="run it again") from error
            time.sleep(0.05)
        else:
            board.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return board
