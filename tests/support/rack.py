"""Virtual boards as a rack has them: each at a port that stays, in an inventory, with power that can be taken away."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from harness.virtual.process import VirtualBoard

_POWER_CYCLE = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1]))).recv(1)"


class RackBoard:
    """A virtual board behind a relay, so that its port outlives its power; a connection to `switch` cycles that."""

    def __init__(self, chip: str, state: Path, *, inference_us: int | None = None, faults: Sequence[str] = ()) -> None:
        self._chip, self._state, self._inference_us, self._faults = chip, state, inference_us, faults
        self._board = self._power_on()
        self._listener, self._switch = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
        self._end, self._ended = socket.socketpair()
        self.port = f"socket://127.0.0.1:{self._listener.getsockname()[1]}"
        self.switch = self._switch.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        """Take it off the rack."""
        self._end.close()
        self._thread.join()
        for item in (self._listener, self._switch, self._ended):
            item.close()
        self._board.close()

    def _power_on(self) -> VirtualBoard:
        return VirtualBoard(self._chip, state=self._state, inference_us=self._inference_us, faults=self._faults)

    def _serve(self) -> None:
        sides: dict[socket.socket, socket.socket] = {}
        while True:
            readable, _, _ = select.select([self._ended, self._switch, *(sides or [self._listener])], [], [])
            if self._ended in readable:
                _hang_up(sides)
                return
            if self._switch in readable:
                _hang_up(sides)
                self._cycle()
            elif self._listener in readable:
                host, _ = self._listener.accept()
                address = urlsplit(self._board.port)
                board = socket.create_connection((address.hostname, address.port))
                sides = {host: board, board: host}
                for side in sides:
                    side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            else:
                for side in readable:
                    if sides and not _pass_on(side, sides[side]):
                        _hang_up(sides)

    def _cycle(self) -> None:
        asking, _ = self._switch.accept()
        with asking:
            self._board.close()
            self._board = self._power_on()
            asking.send(b"1")


def _pass_on(source: socket.socket, sink: socket.socket) -> bool:
    try:
        data = source.recv(1 << 16)
        sink.sendall(data)
    except OSError:
        return False
    return bool(data)


def _hang_up(sides: dict[socket.socket, socket.socket]) -> None:
    for side in list(sides):
        with contextlib.suppress(OSError):
            side.shutdown(socket.SHUT_RDWR)
        side.close()
    sides.clear()


@contextmanager
def rack(
    folder: Path, chips: Sequence[str], *, inference_us: int | None = None, faults: Sequence[str] = ()
) -> Iterator[Path]:
    """Start a board for each chip and write their inventory."""
    with ExitStack() as stack:
        entries = []
        for number, chip in enumerate(chips):
            board = RackBoard(chip, folder / f"board-{number}", inference_us=inference_us, faults=faults)
            stack.callback(board.close)
            mac = json.loads((folder / f"board-{number}" / "board.json").read_text())["mac"]
            entries.append(
                {
                    "id": f"virtual-{number}",
                    "chip": chip,
                    "mac": mac,
                    "port": board.port,
                    "power_cycle": [sys.executable, "-c", _POWER_CYCLE, str(board.switch)],
                }
            )
        inventory = folder / "boards.yaml"
        inventory.write_text(yaml.safe_dump({"boards": entries}))
        yield inventory
