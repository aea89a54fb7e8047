"""Gives a test a suitable board, leased for the duration of the test, and the same board again where possible.

A lease is never kept between tests: with more workers than boards, two workers could wait for each other.
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
        """Give a board with one of these chips (with any, if the list is empty), at its current port."""
        ...

    def discard(self, board: Board) -> None:
        """Stop using a board that no longer answers."""
        ...


class BoardPool:
    """The boards that a worker may use; with `worker`, each worker begins at a different board."""

    def __init__(self, boards: Sequence[Board], *, worker: int, wait: float, purpose: str) -> None:
        first = worker % max(1, len(boards))
        self._boards = [*boards[first:], *boards[:first]]
        self._wait, self._purpose = wait, purpose

    def chips(self) -> frozenset[str]:
        """The chips of these boards."""
        return frozenset(board.chip for board in self._boards)

    @contextmanager
    def lease(self, chips: Collection[str] = ()) -> Iterator[Board]:
        """Lease a board with one of these chips (with any, if the list is empty), at its current port.

        A board whose chip nobody knows yet may have any chip.

        Raises:
            BoardBusyError: None became free in time.
            PortMissingError: None of them is plugged in.
        """
        fitting = [board for board in self._boards if not chips or not board.chip or board.chip in chips]
        ports = scan()
        there = [board for board in fitting if _port(board, ports) is not None]
        if not there:
            names = ", ".join(board.id for board in fitting) or "no board of that chip"
            raise PortMissingError(f"these boards are not connected: {names}", hint="mww boards check says why")
        with acquire_any(there, purpose=self._purpose, timeout=self._wait) as lease:
            self._boards.sort(key=lambda board: board.id != lease.board.id)
            yield replace(lease.board, port=find_port(lease.board, scan()))

    def discard(self, board: Board) -> None:
        """Leave a board out from now on while others remain: it is free, so it would be taken each time."""
        others = [item for item in self._boards if item.id != board.id]
        self._boards = others or self._boards


class OwnVirtualBoard:
    """A virtual board for a single worker, started at first use."""

    def __init__(self, chip: str) -> None:
        self._chip = chip
        self._board: VirtualBoard | None = None

    def chips(self) -> frozenset[str]:
        """The chip of the virtual board."""
        return frozenset({self._chip})

    @contextmanager
    def lease(self, chips: Collection[str] = ()) -> Iterator[Board]:
        """Give the board; no other process knows it.

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
        """Switch the board off."""
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
