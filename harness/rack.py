"""The boards of an inventory as they are now: where each one is plugged in, who holds it, and why it cannot be used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from exporter.errors import MwwError
from harness.boards import Board
from harness.errors import PortMissingError
from harness.leases import BoardBusyError, Holder, holder
from harness.ports import SerialPort, access, find_port


class PortAccessError(MwwError):
    """The system does not let this user open the port."""

    code = "port-access"


@dataclass(frozen=True, slots=True)
class BoardState:
    """A board now.

    Attributes:
        board: Its entry in the inventory.
        port: Where it is plugged in, as pyserial opens it; None when it is nowhere.
        holder: Who has its lease; None when it is free.
        problem: The first thing that keeps this process from using it; None when it can.
    """

    board: Board
    port: str | None
    holder: Holder | None
    problem: MwwError | None


def look(board: Board, ports: Sequence[SerialPort]) -> BoardState:
    """See how a board is; `ports` are those that `harness.ports.scan` found."""
    held_by = holder(board)
    try:
        port = find_port(board, ports)
    except PortMissingError as error:
        return BoardState(board, None, held_by, error)
    may = access(port)
    problem: MwwError | None = None
    if not may.allowed:
        problem = PortAccessError(may.message, hint=may.hint)
    elif held_by is not None:
        problem = BoardBusyError(f"board {board.id} is in use by {held_by}", hint="wait for it, or end that process")
    return BoardState(board, port, held_by, problem)
