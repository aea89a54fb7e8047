"""The inventory: the boards of this machine, read from YAML.

`harness.serial.ports` knows where each board is plugged in; `harness.boards.leases` decides who may use it.
"""

from __future__ import annotations

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
from mww.core.fields import Fields
from mww.core.yaml_reader import read_yaml
from mww.esphome.chips import CHIP_NAMES

DEFAULT_MAP: Final = Path("boards.yaml")
"""The default of `--map`, if `MWW_BOARDS` is not set in the environment."""

_MAX_BOARDS: Final = 1000
_MAX_TEXT: Final = 1000
_MAX_BAUD: Final = 10_000_000
_POWER_CYCLE_SECONDS: Final = 60.0
_FREE_TEXT: Final = ("product", "psram", "notes")
_HINT: Final = "copy the example of docs/boards.md, and fill it from: mww boards scan"
_QUOTES: Final = "put it in quotes: YAML reads bare digits and colons as a number"
_MAC = re.compile(r"[0-9A-F]{2}([:-]?[0-9A-F]{2}){5}", re.IGNORECASE)


class PowerCycleError(MwwError):
    """A board could not be power-cycled."""

    code = "power-cycle"


class InventoryError(InputError):
    """An inventory that cannot be read, or contradicts itself."""

    code = "inventory"


@dataclass(frozen=True, slots=True)
class Board:
    """One board of the inventory.

    Attributes:
        id: Its name; unique in its inventory.
        chip: As `mww.esphome.chips` spells it.
        product: The product's name, as printed on the board.
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
        """Every name under which another inventory could list this board, always in the same order."""
        return tuple(sorted({identity(name) for name in (self.serial, self.mac) if name}))

    @property
    def locks(self) -> tuple[str, ...]:
        """What a lease locks: the identities, and a port that is an address, which is usable without an inventory."""
        address = {identity(self.port)} if "://" in self.port else set()
        return tuple(sorted({*self.identities, *address}))


def identity(serial: str) -> str:
    """The normal spelling of a serial number or MAC; the separators of a MAC make no difference."""
    if _MAC.fullmatch(serial):
        return "mac:" + re.sub("[:-]", "", serial).upper()
    return "serial:" + serial.upper()


def inventory_path(given: Path | None) -> Path:
    """The inventory to read: the given path, else `MWW_BOARDS`, else `boards.yaml` in the current folder."""
    return given or Path(os.environ.get("MWW_BOARDS") or DEFAULT_MAP)


def load_inventory(path: Path | str) -> tuple[Board, ...]:
    """Read an inventory: under `boards:` one mapping per board, with the attributes of `Board` as keys.

    Raises:
        InventoryError: It cannot be read, has an unknown key or a value out of range, or names one board twice.
    """
    path = Path(path)
    content, _ = read_yaml(path, InventoryError, _HINT)
    document = Fields(path, content, hint=_HINT, error=InventoryError)
    document.only(("boards",), required=("boards",))
    boards = tuple(map(_parse_board, document.items("boards", "board", most=_MAX_BOARDS)))
    if not boards:
        document.fault("lists no board")
    _refuse_doubles(document, boards)
    return boards


def _parse_board(entry: Fields) -> Board:
    entry.only([field.name for field in fields(Board)], required=("id", "chip"))
    texts = {key: _text(entry, key) for key in ("product", "serial", "mac", "port", "psram", "notes")}
    if not _in_lab(entry, texts["port"]) and not texts["serial"] and not texts["mac"]:
        hint = "mww boards scan shows the serial number of every port; a tty name can change at each plug"
        entry.fault("has neither serial nor mac", hint=hint)
    if texts["mac"] and not _MAC.fullmatch(texts["mac"]):
        entry.refuse("mac", "a MAC address", hint="such as F4:12:FA:5B:8C:20, in quotes")
    command_hint = "a list of words, such as [uhubctl, --action, cycle, --ports, '2']; no shell reads it"
    return Board(
        **texts,
        id=entry.text("id", longest=_MAX_TEXT, hint=_QUOTES),
        chip=entry.one_of("chip", CHIP_NAMES),
        baud=entry.whole("baud", 1, _MAX_BAUD) if "baud" in entry else DEFAULT_BAUD,
        power_cycle=entry.words("power_cycle", hint=command_hint) if "power_cycle" in entry else (),
    )


def _in_lab(entry: Fields, port: str) -> bool:
    """Whether a lab provides the board, by tags instead of a serial number."""
    if not in_lab(port):
        return False
    try:
        parse_address(port)
    except UsageError as error:
        entry.fault(f"is not an address of a lab: {error.message}", key="port", hint=error.hint)
    return True


def _text(entry: Fields, key: str) -> str:
    value = entry.value(key)
    if value is None or value is False:
        return ""
    if key in _FREE_TEXT and isinstance(value, bool | int | float):
        return "yes" if value is True else str(value)
    return entry.text(key, longest=_MAX_TEXT, hint=_QUOTES)


def _refuse_doubles(document: Fields, boards: tuple[Board, ...]) -> None:
    seen: dict[str, Board] = {}
    for board in boards:
        for name in (f"id {board.id}", *board.identities):
            if name in seen:
                message = f"names {name.replace(':', ' ', 1)} twice: {seen[name].id} and {board.id}"
                document.fault(message, hint="where bridges share one serial number, give each board's mac and port")
            seen[name] = board


def power_cycle(board: Board, *, timeout: float = _POWER_CYCLE_SECONDS) -> None:
    """Power-cycle a board with the command in its inventory.

    Raises:
        PowerCycleError: It has no command, or the command failed or did not end in `timeout` seconds.
    """
    if not board.power_cycle:
        hint = "add power_cycle to it in the inventory: a command as a list of words"
        raise PowerCycleError(f"board {board.id} has no command for a power cycle", hint=hint)
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
