"""The interface of a provider of leases: this computer's lock files, or a lab of several hosts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from harness.boards.inventory import Board
from mww.core.errors import MwwError


class BoardBusyError(MwwError):
    """Somebody else holds the board."""

    code = "board-busy"


class LeaseError(MwwError):
    """What keeps leases cannot be used: lock files, or a lab's coordinator."""

    code = "lease"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a board, as the holder says; for people, and not proof of anything.

    Attributes:
        board: The id in the holder's own inventory, or the place in a lab.
        pid: The process; 0 where it is unknown, or on another host.
        user: Its user.
        since: UTC, ISO 8601; of a lab, as its coordinator says it.
        purpose: Such as `mww run` or `pytest gw1`.
    """

    board: str
    pid: int
    user: str
    since: str
    purpose: str

    def __str__(self) -> str:
        who = f"{self.user}'s process {self.pid}" if self.pid else self.user
        return f"{who} ({self.purpose}) since {self.since}"


class Claim(Protocol):
    """A wish for a board, from the first asking to the giving back."""

    def poll(self) -> Board | None:
        """The board at the port where it is now, once this process has it; None before that.

        Raises:
            MwwError: It will never be.
        """
        ...

    def release(self) -> None:
        """Give the board back, or ask for it no longer; harmless a second time."""
        ...

    def forget(self) -> None:
        """In a forked child: let go of what would outlive the process whose claim this is."""
        ...


class LeaseProvider(Protocol):
    """Who gives boards out, one user at a time.

    Attributes:
        patience: Seconds that a claim for a free board may take.
        queue: Seconds to wait for a board that somebody else has, where the user says nothing.
    """

    patience: float
    queue: float

    def claim(self, board: Board, purpose: str) -> Claim:
        """Begin to ask for a board."""
        ...

    def holder(self, board: Board) -> Holder | None:
        """Who holds a board now; None when it is free."""
        ...
