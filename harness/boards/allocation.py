"""The board that a test gets: a fitting one, leased for the length of the test, the same again where it can be.

A lease is never kept between tests: with more workers than boards, a worker that waits for a board would wait for a
worker that waits for it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from harness.boards.inventory import Board
from harness.boards.leases import acquire_any, find_port
from harness.serial.ports import SerialPort, scan
from mww.core.errors import PortMissingError

if TYPE_CHECKING:
    from harness.virtual.process import VirtualBoard


class BoardSource(Protocol):
    """Where tests get boards from."""

    def chips(self) -> frozenset[str]:
        """The chips of the boards; an empty name where only the board itself knows."""
        ...

    def lease(self, chips: Collection[str] = ()) -> AbstractContextManager[Board]:
        """Give a board of one of these chips (of any, if none are named), at the port where it is now."""
        ...

    def discard(self, board: Board) -> None:
        """Do without a board that does not answer any more."""
        ...


class BoardPool:
    """The boards that one worker may use; with `worker` each worker begins at another."""

    def __init__(self, boards: Sequence[Board], *, worker: int, wait: float, purpose: str) -> None:
        first = worker % max(1, len(boards))
        self._boards = [*boards[first:], *boards[:first]]
        self._wait, self._purpose = wait, purpose

    def chips(self) -> frozenset[str]:
        """The chips there are."""
        return frozenset(board.chip for board in self._boards)

    @contextmanager
    def lease(self, chips: Collection[str] = ()) -> Iterator[Board]:
        """Lease a board of one of these chips (of any, if none are named), at the port where it is now.

        Raises:
            BoardBusyError: None became free in time.
            PortMissingError: None of them is plugged in.
        """
        fitting = [board for board in self._boards if not chips or board.chip in chips]
        ports = scan()
        there = [board for board in fitting if _port(board, ports) is not None]
        if not there:
            names = ", ".join(board.id for board in fitting) or "no board of that chip"
            raise PortMissingError(f"these boards are not connected: {names}", hint="mww boards check says why")
        with acquire_any(there, purpose=self._purpose, timeout=self._wait) as lease:
            self._boards.sort(key=lambda board: board.id != lease.board.id)
            yield replace(lease.board, port=find_port(lease.board, scan()))

    def discard(self, board: Board) -> None:
        """Leave a board out from now on, as long as there are others: free as it is, it would be taken each time."""
        others = [item for item in self._boards if item.id != board.id]
        self._boards = others or self._boards


class OwnVirtualBoard:
    """A virtual board for one worker alone, started when it is first asked for."""

    def __init__(self, chip: str) -> None:
        self._chip = chip
        self._board: VirtualBoard | None = None

    def chips(self) -> frozenset[str]:
        """The one chip."""
        return frozenset({self._chip})

    @contextmanager
    def lease(self, chips: Collection[str] = ()) -> Iterator[Board]:
        """Give the board, which nobody else knows of.

        Raises:
            VirtualBoardError: It does not start.
        """
        from harness.virtual.process import VirtualBoard

        self._board = self._board or VirtualBoard(self._chip)
        yield Board("virtual", self._chip, serial=f"virtual-{self._board.pid}", port=self._board.port)

    def discard(self, board: Board) -> None:
        """Start another one the next time."""
        self.close()

    def close(self) -> None:
        """Take its power away."""
        board, self._board = self._board, None
        if board is not None:
            board.close()


def _port(board: Board, ports: Sequence[SerialPort]) -> str | None:
    try:
        return find_port(board, ports)
    except PortMissingError:
        return None


def worker_number(name: str | None) -> int:
    """The number in pytest-xdist's name of a worker, such as `gw3`; 0 without xdist."""
    digits = re.search(r"\d+$", name or "")
    return int(digits[0]) if digits else 0
