"""Which board a test gets: one of those that fit, leased for as long as the test takes, the same again where it can be.

A lease is never kept between tests: with more workers than boards, one that waits for a board would then wait for a
worker that waits for it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from harness.boards import Board
from harness.errors import PortMissingError
from harness.leases import acquire_any
from harness.ports import SerialPort, find_port, scan


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
            raise PortMissingError(f"none of the boards is at a port: {names}", hint="mww boards check tells why")
        with acquire_any(there, purpose=self._purpose, timeout=self._wait) as lease:
            self._boards.remove(lease.board)
            self._boards.insert(0, lease.board)
            yield replace(lease.board, port=find_port(lease.board, scan()))


def _port(board: Board, ports: Sequence[SerialPort]) -> str | None:
    try:
        return find_port(board, ports)
    except PortMissingError:
        return None


def worker_number(name: str | None) -> int:
    """The number in pytest-xdist's name of a worker, such as `gw3`; 0 without xdist."""
    digits = re.search(r"\d+$", name or "")
    return int(digits[0]) if digits else 0
