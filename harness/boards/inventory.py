"""The inventory: which boards belong to this machine, parsed from YAML once, at the edge.

Where a board is plugged in is `harness.serial.ports`' question, who may use it now `harness.boards.leases`'.
"""

from __future__ import annotations

import difflib
import os
import re
import shlex
import subprocess
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

from harness.boards.labgrid.address import in_lab, parse_address
from harness.serial.connection import DEFAULT_BAUD
from mww.core.errors import InputError, MwwError, UsageError
from mww.core.yaml_reader import read_yaml
from mww.esphome.chips import CHIP_NAMES

DEFAULT_MAP: Final = Path("boards.yaml")
"""Where `mww boards` looks without `--map`, after the environment's `MWW_BOARDS`."""

_MAX_BOARDS: Final = 1000
_MAX_TEXT: Final = 1000
_MAX_BAUD: Final = 10_000_000
_POWER_CYCLE_SECONDS: Final = 60.0
_REQUIRED: Final = ("id", "chip")
_FREE_TEXT: Final = ("product", "psram", "notes")
_MAC = re.compile(r"[0-9A-F]{2}([:-]?[0-9A-F]{2}){5}", re.IGNORECASE)


class PowerCycleError(MwwError):
    """A board's power could not be taken away and given back."""

    code = "power-cycle"


class InventoryError(InputError):
    """An inventory that cannot be read, or contradicts itself."""

    code = "inventory"


@dataclass(frozen=True, slots=True)
class Board:
    """One board of the inventory.

    Attributes:
        id: What people call it; unique in its inventory.
        chip: As `mww.esphome.chips` spells it.
        product: What is printed on it.
        serial: The USB serial number of its port, which finds it under any tty name.
        mac: The chip's own address; on USB-Serial-JTAG it is also the USB serial number.
        port: A hint, used where the serial number does not tell: a device path or any pyserial URL.
        baud: Of its link.
        psram: Such as `quad 8 MB`; empty without one.
        notes: For people.
        power_cycle: A command and its arguments that takes the board's power away and gives it back; run without a
            shell. Empty where nothing can.
    """

    id: str
    chip: str
    product: str = ""
    serial: str = ""
    mac: str = ""
    port: str = ""
    baud: int = DEFAULT_BAUD
    psram: str = ""
    notes: str = ""
    power_cycle: tuple[str, ...] = ()

    @property
    def identities(self) -> tuple[str, ...]:
        """Every name that another inventory could know this board by, in one order for all."""
        return tuple(sorted({identity(name) for name in (self.serial, self.mac) if name}))

    @property
    def locks(self) -> tuple[str, ...]:
        """What a lease locks: its identities, and a port that is an address, since that may be named alone."""
        address = {identity(self.port)} if "://" in self.port else set()
        return tuple(sorted({*self.identities, *address}))


def identity(serial: str) -> str:
    """The one spelling of a serial number or MAC; a MAC is the same board however its bytes are separated."""
    if _MAC.fullmatch(serial):
        return "mac:" + re.sub("[:-]", "", serial).upper()
    return "serial:" + serial.upper()


def inventory_path(given: Path | None) -> Path:
    """The inventory to read: the one given, else `MWW_BOARDS`, else `boards.yaml` in the current folder."""
    return given or Path(os.environ.get("MWW_BOARDS") or DEFAULT_MAP)


def load_inventory(path: Path | str) -> tuple[Board, ...]:
    """Read an inventory: under `boards:` one mapping per board, with the attributes of `Board` as keys.

    Raises:
        InventoryError: It cannot be read, has an unknown key or a value out of range, or names one board twice.
    """
    path = Path(path)
    document, _ = read_yaml(
        path, InventoryError, "copy the example of docs/boards.md, and fill it from: mww boards scan"
    )
    entries = document.get("boards") if isinstance(document, dict) and set(document) == {"boards"} else None
    if not isinstance(entries, list) or not entries:
        raise InventoryError(
            f"{path} is not an inventory", hint="it needs one key, boards, with a list of boards under it"
        )
    if len(entries) > _MAX_BOARDS:
        raise InventoryError(
            f"{path} lists {len(entries)} boards, more than {_MAX_BOARDS}",
            hint="split the inventory into several files",
        )
    boards = tuple(_parse_board(f"{path}, board {number}", entry) for number, entry in enumerate(entries, start=1))
    _refuse_doubles(path, boards)
    return boards


def _parse_board(where: str, entry: object) -> Board:
    if not isinstance(entry, dict):
        raise InventoryError(
            f"{where} is not a mapping of keys to values", hint="write the board as in the example of docs/boards.md"
        )
    known = [field.name for field in fields(Board)]
    for key in entry:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"
            raise InventoryError(f"{where} has an unknown key {str(key)[:60]!r}", hint=hint)
    for key in _REQUIRED:
        if not entry.get(key):
            raise InventoryError(
                f"{where} has no {key}", hint="add it to the board's entry; docs/boards.md lists the keys"
            )
    texts = {key: _text(where, key, entry.get(key)) for key in known if key not in ("baud", "power_cycle")}
    if not _in_lab(where, texts["port"]) and not texts["serial"] and not texts["mac"]:
        hint = "mww boards scan shows the serial number of every port; a tty name can change at each plug"
        raise InventoryError(f"{where} has neither serial nor mac", hint=hint)
    board = Board(
        **texts, baud=_baud(where, entry.get("baud", DEFAULT_BAUD)), power_cycle=_argv(where, entry.get("power_cycle"))
    )
    if board.chip not in CHIP_NAMES:
        raise InventoryError(
            f"{where} has an unknown chip {board.chip!r}", hint=f"known chips: {', '.join(CHIP_NAMES)}"
        )
    if board.mac and not _MAC.fullmatch(board.mac):
        raise InventoryError(
            f"{where} has mac {board.mac!r}, which is not a MAC address", hint="such as F4:12:FA:5B:8C:20, in quotes"
        )
    return board


def _in_lab(where: str, port: str) -> bool:
    """Whether a lab is asked for the board, by tags in place of a serial number."""
    if not in_lab(port):
        return False
    try:
        parse_address(port)
    except UsageError as error:
        raise InventoryError(f"{where}: {error.message}", hint=error.hint) from error
    return True


def _text(where: str, key: str, value: object) -> str:
    if value is None or value is False:
        return ""
    if key in _FREE_TEXT and isinstance(value, bool | int | float):
        return "yes" if value is True else str(value)
    if not isinstance(value, str):
        hint = "put it in quotes: YAML reads bare digits and colons as a number"
        raise InventoryError(f"{where} has a {key} that is not text: {str(value)[:60]}", hint=hint)
    if len(value) > _MAX_TEXT:
        raise InventoryError(f"{where} has a {key} longer than {_MAX_TEXT} characters", hint="shorten it")
    return value


def _baud(where: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MAX_BAUD:
        raise InventoryError(
            f"{where} has baud {str(value)[:60]!r}, not a number from 1 to {_MAX_BAUD}",
            hint="write a number such as 921600",
        )
    return value


def _argv(where: str, value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not value or not all(isinstance(word, str) and word for word in value):
        hint = "a list of words, such as [uhubctl, --action, cycle, --ports, '2']; no shell reads it"
        raise InventoryError(f"{where} has a power_cycle that is not a command", hint=hint)
    return tuple(value)


def _refuse_doubles(path: Path, boards: tuple[Board, ...]) -> None:
    seen: dict[str, Board] = {}
    for board in boards:
        for name in (f"id {board.id}", *board.identities):
            if name in seen:
                message = f"{path} names {name.replace(':', ' ', 1)} twice: {seen[name].id} and {board.id}"
                raise InventoryError(
                    message, hint="where bridges share one serial number, give each board's mac and port"
                )
            seen[name] = board


def power_cycle(board: Board, *, timeout: float = _POWER_CYCLE_SECONDS) -> None:
    """Take a board's power away and give it back, by its inventory's command.

    Raises:
        PowerCycleError: It has no command, or the command failed or did not end in `timeout` seconds.
    """
    if not board.power_cycle:
        hint = "give it a power_cycle in the inventory: a command as a list of words"
        raise PowerCycleError(f"nothing can power-cycle board {board.id}", hint=hint)
    command = shlex.join(board.power_cycle)
    try:
        done = subprocess.run(
            board.power_cycle, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False
        )
    except OSError as error:
        raise PowerCycleError(
            f"cannot run {command}: {error.strerror}",
            hint="check power_cycle in the inventory: the command must be installed and executable",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise PowerCycleError(
            f"{command} did not end in {timeout:g} s", hint="run the command by hand to see what it waits for"
        ) from error
    if done.returncode != 0:
        text = done.stderr.decode(errors="replace").strip().splitlines()
        raise PowerCycleError(
            f"{command} failed with exit code {done.returncode}",
            hint=text[-1] if text else "it printed nothing; run it by hand",
        )
