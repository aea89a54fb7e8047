"""`mww boards`: the inventory, the ports, who uses each board, and whether it can be used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from harness.boards.claims import BoardBusyError, Holder
from harness.boards.inventory import Board, identity, inventory_path, load_inventory
from harness.boards.labgrid.address import in_lab
from harness.boards.leases import Holders, acquire, find_port
from harness.cli.output import console, emit_json, json_option, say, say_lines, warn
from harness.serial.ports import SerialPort, access, scan, stable_name
from mww.core.errors import MwwError
from mww.core.readable import is_there, printable

if TYPE_CHECKING:
    from harness.link.messages import Welcome


class WrongBoardError(MwwError):
    """The device at a board's port is not the one in the inventory."""

    code = "wrong-board"


class PortAccessError(MwwError):
    """The operating system does not allow this user to open the port."""

    code = "port-access"


@dataclass(frozen=True, slots=True)
class BoardState:
    """The current state of a board.

    Attributes:
        board: The board's entry in the inventory.
        port: Where it is plugged in, as pyserial opens it; None when it is nowhere.
        holder: Who has its lease; None when it is free.
        problem: The first thing that keeps this process from using it; None when it can.
    """

    board: Board
    port: str | None
    holder: Holder | None
    problem: MwwError | None


def look(board: Board, ports: Sequence[SerialPort], holders: Holders) -> BoardState:
    """Examine a board; `ports` are the result of `harness.serial.ports.scan`."""
    held_by: Holder | None = None
    try:
        held_by = holders.of(board)
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
    """Connect to a board that is free, and compare what it reports with the inventory."""
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
        message = f"board {board.id} is {board.chip} in the inventory, but reports {welcome.chip}"
        raise WrongBoardError(message, hint=f"write chip: {welcome.chip}, or check which board is plugged in there")
    mac = welcome.mac.hex(":")
    if board.mac and identity(board.mac) != identity(mac):
        message = f"board {board.id} has MAC {board.mac} in the inventory, but reports {mac}"
        raise WrongBoardError(
            message, hint="another board is plugged in there: correct the inventory or move the cable"
        )


F = TypeVar("F", bound=Callable[..., Any])


def _map_option(function: F) -> F:
    text = (
        "The inventory. By default the file that MWW_BOARDS names in the environment, else boards.yaml in this folder."
    )
    return click.option("--map", "map_file", type=click.Path(path_type=Path), metavar="FILE.yaml", help=text)(function)


@click.group()
def command() -> None:
    """The boards of this machine: an inventory. Boards are found by serial number, under any port name."""


@command.command("list")
@_map_option
@json_option
def list_boards(map_file: Path | None, as_json: bool) -> None:
    """List the inventory: where each board is, and who uses it."""
    path = inventory_path(map_file)
    states = _look_at(load_inventory(path), scan())
    if as_json:
        emit_json("mww.boards/1", {"map": str(path), "boards": [_entry(state) for state in states]})
        return
    rows = [
        (state.board.id, state.board.chip, state.board.product, state.port or "not found", str(state.holder or ""))
        for state in states
    ]
    _print_table(("board", "chip", "product", "port", "in use by"), rows)
    for state in states:
        if state.port is None and state.problem is not None:
            warn(f"{state.board.id}: {state.problem.message}", state.problem.hint)


@command.command("scan")
@_map_option
@json_option
def scan_ports(map_file: Path | None, as_json: bool) -> None:
    """List the serial ports on USB, and the lines to add to the inventory for them."""
    path = inventory_path(map_file)
    boards = load_inventory(path) if map_file or is_there(path) else ()
    ports = scan()
    at = {state.port: state.board.id for state in _look_at(boards, ports)}
    if as_json:
        rows = [
            {**asdict(port), "board": at.get(port.device), "accessible": access(port.device).allowed} for port in ports
        ]
        emit_json("mww.boards/1", {"map": str(path) if boards else None, "ports": rows})
        return
    if not ports:
        say("no serial port on USB: is the board plugged in with a data cable?")
        return
    _print_table(
        ("port", "serial", "product", "usb", "board"),
        [
            (port.device, port.serial, port.product, f"{port.usb_id} {port.bridge}".strip(), at.get(port.device, ""))
            for port in ports
        ],
    )
    for message, hint in _closed(ports).items():
        warn(message, hint)
    new = [port for port in ports if port.device not in at]
    if new:
        say()
        say(f"to add to {path}:")
        say_lines("\nboards:\n" + "\n".join(map(_inventory_lines, new)))


@command.command()
@_map_option
@json_option
def check(map_file: Path | None, as_json: bool) -> int:
    """Check that every board is plugged in, can be opened, is free, and is the board of the inventory.

    Exits with 1 if a board fails.
    """
    path = inventory_path(map_file)
    states = [ask(state) for state in _look_at(load_inventory(path), scan())]
    usable = all(state.problem is None for state in states)
    if as_json:
        rows = [_entry(state) for state in states]
        emit_json("mww.boards/1", {"map": str(path), "usable": usable, "boards": rows})
        return 0 if usable else 1
    for state in states:
        name = printable(state.board.id)
        if state.problem is None:
            say("ok", fg="green", nl=False)
            say(f"    {name} at {state.port or ''}")
            continue
        say("error", fg="red", nl=False)
        say(f" {name}: {state.problem.message}")
        if state.problem.hint:
            say(f"       hint: {state.problem.hint}")
    return 0 if usable else 1


def _look_at(boards: Sequence[Board], ports: Sequence[SerialPort]) -> list[BoardState]:
    holders = Holders()
    return [look(board, ports, holders) for board in boards]


def _entry(state: BoardState) -> dict[str, object]:
    """A board as JSON: the inventory's entry, with its current port."""
    problem = state.problem
    return {
        **asdict(state.board),
        "port": state.port,
        "holder": asdict(state.holder) if state.holder else None,
        "usable": problem is None,
        "error": problem.facts.to_json() if problem else None,
    }


def _inventory_lines(port: SerialPort) -> str:
    """The lines for a port; where its serial number does not identify it, the MAC and the socket do."""
    head = f"  - id: {Path(port.device).name}\n    chip: esp32s3 # or what it is"
    if port.own_serial:
        return f'{head}\n    serial: "{printable(port.own_serial)}"'
    line = f"esptool --port {port.device} read-mac"
    return f'{head}\n    mac: "" # what {printable(line)} says\n    port: {printable(stable_name(port))}'


def _closed(ports: Sequence[SerialPort]) -> dict[str, str | None]:
    """Why ports cannot be opened, and what to do; the same remedy is printed once."""
    results = [access(port.device) for port in ports]
    closed = [item for item in results if not item.allowed]
    remedies = dict.fromkeys(item.hint for item in closed)
    return {", ".join(item.message for item in closed if item.hint == hint): hint for hint in remedies}


def _print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.table import Table

    table = Table(*heads, box=None, header_style="bold", pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"  # a shortened path cannot be copied
    for row in rows:
        table.add_row(*map(printable, row))
    console().print(table, markup=False)
