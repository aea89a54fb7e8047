"""Leases of boards, from any provider; a lease does not outlive its process for long.

This module also finds the serial port where a leased board is plugged in now.
"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from harness.boards.claims import BoardBusyError, Claim, Holder, LeaseProvider
from harness.boards.file_locks import FileLocks
from harness.boards.inventory import Board, identity
from harness.boards.labgrid.address import in_lab
from harness.serial.ports import SerialPort, same_device, scan
from mww.core.closing import Closing
from mww.core.errors import PortMissingError
from mww.core.readable import is_there

_POLL_SECONDS: Final = 0.1
_FILE_LOCKS: Final = FileLocks()

_held: weakref.WeakSet[Lease] = weakref.WeakSet()


def find_port(board: Board, ports: Sequence[SerialPort]) -> str:
    """The port where a board is now, as pyserial opens it.

    The serial number decides; the inventory's port is used only where no listed port has that number, or several have
    it. A port with a different serial number is never taken.

    Raises:
        PortMissingError: The board is at no port, or at several possible ports.
    """
    if in_lab(board.port):
        return board.port
    results = [port.device for port in ports if port.serial and identity(port.serial) in board.identities]
    if len(results) == 1 or board.port in results:
        return board.port if board.port in results else results[0]
    if results:
        message = f"board {board.id} may be at any of {', '.join(results)}: they have the same serial number"
        raise PortMissingError(message, hint="name one of them as the board's port in the inventory")
    if "://" in board.port:
        return board.port
    there = next((port for port in ports if same_device(port.device, board.port)), None)
    if there is not None and not _belongs_to_another(board, there):
        return board.port
    if there is None and board.port and is_there(Path(board.port)):
        return board.port
    wanted = board.serial or board.mac
    hint = f"no listed port has {wanted}: is the board plugged in with a data cable? mww boards scan lists the ports"
    raise PortMissingError(f"board {board.id} is at no port", hint=hint)


def _belongs_to_another(board: Board, port: SerialPort) -> bool:
    """Whether the port has a serial number that this board cannot have."""
    named = identity(port.serial) if port.serial else ""
    return bool(named) and (bool(board.serial) or named.startswith("mac:"))


def board_at(port: str, ports: Sequence[SerialPort]) -> Board:
    """The board at a port that no inventory lists, identified by the port's serial number, or by the port itself."""
    there = next((item for item in ports if same_device(item.device, port)), None)
    return Board(id=port, chip="", serial=there.serial if there and there.serial else port, port=port)


class Lease(Closing):
    """A board for exclusive use until `close`, the end of the `with`, or the end of this process."""

    def __init__(self, board: Board, claim: Claim) -> None:
        self.board = board
        self._claim: Claim | None = claim
        _held.add(self)

    @property
    def held(self) -> bool:
        """Whether the lease is still held."""
        return self._claim is not None

    def close(self) -> None:
        """Give the board back; harmless a second time."""
        claim, self._claim = self._claim, None
        if claim is not None:
            claim.release()

    def forget(self) -> None:
        """Close the copy in a forked child; the parent keeps the board."""
        claim, self._claim = self._claim, None
        if claim is not None:
            claim.forget()


def _forget_in_child() -> None:
    """Close the copies in a forked child, which would keep the boards leased after this process ends."""
    for lease in list(_held):
        lease.forget()


os.register_at_fork(after_in_child=_forget_in_child)


def acquire(board: Board, *, purpose: str, timeout: float | None = None) -> Lease:
    """Lease one board; see `acquire_any`."""
    return acquire_any((board,), purpose=purpose, timeout=timeout)


def acquire_any(boards: Sequence[Board], *, purpose: str, timeout: float | None = None) -> Lease:
    """Lease the first of `boards` that is free, in their order, waiting up to `timeout` seconds.

    With None, a board of this machine is not waited for, and a board of a lab as long as its provider's `queue` says.

    Raises:
        BoardBusyError: None became free; the message says who holds them.
        LeaseError: Leases cannot be had at all.
    """
    started = time.monotonic()
    with ExitStack() as stack:
        claims: list[Claim] = []
        while True:
            for index, board in enumerate(boards):
                if index == len(claims):  # in their order: ask for the next board when this board is not free at once
                    claims.append(_provider(board).claim(board, purpose))
                    stack.callback(claims[index].release)
                result = claims[index].poll()
                if result is not None:
                    own = claims.pop(index)
                    stack.pop_all()
                    for other in claims:
                        other.release()
                    return Lease(result, own)
            left = started + _patience(boards, timeout) - time.monotonic()
            if left <= 0:
                raise _busy(boards, timeout)
            time.sleep(min(_POLL_SECONDS, left))


@contextmanager
def hold_port(port: str, *, purpose: str) -> Iterator[Board]:
    """Lease the board at a port that no inventory lists, unless this process already has it.

    Gives the board with its current `port`, and an `id` to call it by.

    Raises:
        BoardBusyError: Somebody else holds it.
        LeaseError: Leases cannot be had at all.
    """
    board = board_at(port, scan())
    results = [lease for lease in _held if lease.held and set(board.locks) & set(lease.board.locks)]
    if results:
        yield results[0].board if in_lab(port) else board
        return
    with acquire(board, purpose=purpose) as lease:
        yield lease.board


def holder(board: Board) -> Holder | None:
    """Who holds a board now; None when it is free."""
    return Holders().of(board)


class Holders:
    """Who holds boards now, for several boards in a row: each lab is asked only once."""

    def __init__(self) -> None:
        self._lab: LeaseProvider | None = None

    def of(self, board: Board) -> Holder | None:
        """Who holds a board; None when it is free.

        Raises:
            MwwError: The provider's error, such as `PortMissingError` where a lab does not have such a board.
        """
        if not in_lab(board.port):
            return _FILE_LOCKS.holder(board)
        self._lab = self._lab or _provider(board)
        return self._lab.holder(board)


def _provider(board: Board) -> LeaseProvider:
    if not in_lab(board.port):
        return _FILE_LOCKS
    from harness.boards.labgrid.leases import Lab

    return Lab()


def _patience(boards: Sequence[Board], timeout: float | None) -> float:
    providers = [_provider(board) for board in boards]
    wait = max(provider.queue for provider in providers) if timeout is None else timeout
    return max(wait, *(provider.patience for provider in providers))


def _busy(boards: Sequence[Board], timeout: float | None) -> BoardBusyError:
    holders = Holders()
    message = "; ".join(f"{board.id}: {holders.of(board) or 'released just now'}" for board in boards)
    waited = f" after {timeout:g} s" if timeout else ""
    count = "the board is" if len(boards) == 1 else f"all {len(boards)} boards are"
    return BoardBusyError(
        f"{count} in use{waited}: {message}", hint="wait for it, or end that process; mww boards list"
    )
