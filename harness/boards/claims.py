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
    """Lock files, or a lab's coordinator, cannot be used."""

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
    """A claim for a board, from the first request until the board is given back."""

    def poll(self) -> Board | None:
        """The board at its current port, once this process has it; None before that.

        Raises:
            MwwError: This process can never get it.
        """
        ...

    def release(self) -> None:
        """Give the board back, or withdraw the claim; harmless a second time."""
        ...

    def forget(self) -> None:
        """In a forked child: release what would outlive the process that owns the claim."""
        ...


class LeaseProvider(Protocol):
    """Gives boards out, to one user at a time.

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
