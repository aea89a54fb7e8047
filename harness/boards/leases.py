"""Leases of boards: one at a time, from any provider, and none that outlives its process for long."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

from harness.boards.claims import BoardBusyError, Claim, Holder, LeaseProvider
from harness.boards.file_locks import FileLocks
from harness.boards.inventory import Board
from harness.boards.labgrid.address import in_lab
from harness.boards.location import board_at
from harness.serial.ports import scan
from mww.core.closing import Closing

_POLL_SECONDS: Final = 0.1
_FILE_LOCKS: Final = FileLocks()


class Lease(Closing):
    """A board that nobody else uses, until `close`, the end of the `with`, or the death of this process."""

    def __init__(self, board: Board, claim: Claim) -> None:
        self.board = board
        self._claim: Claim | None = claim
        _held.add(self)

    @property
    def held(self) -> bool:
        """Whether it is not closed yet."""
        return self._claim is not None

    def close(self) -> None:
        """Give the board back; harmless a second time."""
        claim, self._claim = self._claim, None
        if claim is not None:
            claim.release()

    def forget(self) -> None:
        """Let go of a forked child's copy; the board stays the parent's."""
        claim, self._claim = self._claim, None
        if claim is not None:
            claim.forget()


_held: weakref.WeakSet[Lease] = weakref.WeakSet()


def _forget_in_child() -> None:
    """Close a forked child's copies, which would outlive this process and keep its boards taken."""
    for lease in list(_held):
        lease.forget()


os.register_at_fork(after_in_child=_forget_in_child)


def acquire(board: Board, *, purpose: str, timeout: float | None = None) -> Lease:
    """Lease one board; see `acquire_any`."""
    return acquire_any((board,), purpose=purpose, timeout=timeout)


def acquire_any(boards: Sequence[Board], *, purpose: str, timeout: float | None = None) -> Lease:
    """Lease the first of `boards` that is free, in their order, waiting up to `timeout` seconds for one.

    With None a board of this machine is not waited for, and one of a lab as long as its queue is worth.

    Raises:
        BoardBusyError: None became free; the message says who holds them.
        LeaseError: Leases cannot be had at all.
    """
    started = time.monotonic()
    with ExitStack() as stack:
        claims: list[Claim] = []
        while True:
            for index, board in enumerate(boards):
                if index == len(claims):  # in their order: the next is asked for once this one is not free at once
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
    """Lease the board at a port that no inventory named, unless this process already has it.

    Gives the board, whose `port` is where it is and whose `id` is what people may call it by.

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
    return _provider(board).holder(board)


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
    message = "; ".join(f"{board.id}: {holder(board) or 'released just now'}" for board in boards)
    waited = f" after {timeout:g} s" if timeout else ""
    count = "the board is" if len(boards) == 1 else f"all {len(boards)} boards are"
    return BoardBusyError(
        f"{count} in use{waited}: {message}", hint="wait for it, or end that process; mww boards list"
    )
