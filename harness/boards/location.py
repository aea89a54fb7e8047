"""The serial port where a board of the inventory is now."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.boards.inventory import Board, identity
from harness.boards.labgrid.address import in_lab
from harness.serial.ports import SerialPort, same_device
from mww.core.errors import PortMissingError


def find_port(board: Board, ports: Sequence[SerialPort]) -> str:
    """The port a board is at now, as pyserial opens it.

    The serial number decides; the inventory's port only where no listed port has it, or several do. A port whose own
    serial number is another's is never taken.

    Raises:
        PortMissingError: The board is at no port, or it cannot be reported at which.
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
    if there is None and board.port and Path(board.port).exists():
        return board.port
    wanted = board.serial or board.mac
    hint = f"nothing listed has {wanted}: is it plugged in, and by a data cable? mww boards scan lists what is"
    raise PortMissingError(f"board {board.id} is at no port", hint=hint)


def _belongs_to_another(board: Board, port: SerialPort) -> bool:
    """Whether the port names itself, and not by a name that this board could have."""
    named = identity(port.serial) if port.serial else ""
    return bool(named) and (bool(board.serial) or named.startswith("mac:"))


def board_at(port: str, ports: Sequence[SerialPort]) -> Board:
    """The board at a port that no inventory names, known by the port's serial number, or else by the port itself."""
    there = next((item for item in ports if same_device(item.device, port)), None)
    return Board(id=port, chip="", serial=there.serial if there and there.serial else port, port=port)
