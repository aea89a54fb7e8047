"""The boards of an inventory as they are now: where each one is plugged in, who holds it, and why it cannot be used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from harness.boards.claims import BoardBusyError, Holder
from harness.boards.inventory import Board, identity
from harness.boards.labgrid.address import in_lab
from harness.boards.leases import acquire, holder
from harness.boards.location import find_port
from harness.serial.ports import SerialPort, access
from mww.core.errors import MwwError

if TYPE_CHECKING:
    from harness.link.messages import Welcome


class WrongBoardError(MwwError):
    """What answers at a board's port is not what the inventory says."""

    code = "wrong-board"


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
    """See how a board is; `ports` are those that `harness.serial.ports.scan` found."""
    held_by: Holder | None = None
    try:
        held_by = holder(board)
        port = find_port(board, ports)
    except MwwError as error:
        return BoardState(board, None, held_by, error)
    may = access(port)
    problem: MwwError | None = None
    if not may.allowed:
        problem = PortAccessError(may.message, hint=may.hint)
    elif held_by is not None:
        problem = BoardBusyError(f"board {board.id} is in use by {held_by}", hint="wait for it, or end that process")
    return BoardState(board, port, held_by, problem)


def ask(state: BoardState) -> BoardState:
    """Greet a board that could be used, and hold what it says of itself to the inventory."""
    if state.problem is not None or state.port is None:
        return state
    from harness.link.client import LinkClient

    try:
        with acquire(state.board, purpose="mww boards check") as lease:
            port = lease.board.port if in_lab(state.port) else state.port
            with LinkClient.connect(port, baud=state.board.baud) as client:
                _compare(state.board, client.board)
    except MwwError as error:
        return replace(state, problem=error)
    return state


def _compare(board: Board, welcome: Welcome) -> None:
    if welcome.chip != board.chip:
        message = f"board {board.id} is {board.chip} in the inventory, and says that it is {welcome.chip}"
        raise WrongBoardError(message, hint=f"write chip: {welcome.chip}, or look which board is plugged in there")
    mac = welcome.mac.hex(":")
    if board.mac and identity(board.mac) != identity(mac):
        message = f"board {board.id} has MAC {board.mac} in the inventory, and says {mac}"
        raise WrongBoardError(message, hint="another board is plugged in there: correct the inventory, or the cable")
