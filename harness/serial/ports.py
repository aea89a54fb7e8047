"""Serial ports of this machine: which there are, at which one a board is, and why one cannot be opened."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.boards.inventory import Board, identity
from harness.boards.labgrid.address import in_lab
from harness.serial.usb import UDEV_RULE, bridge_name
from mww.core.errors import PortMissingError

if TYPE_CHECKING:
    from serial.tools.list_ports_common import ListPortInfo

_BY_PATH: Final = Path("/dev/serial/by-path")
_TELLING: Final = 6
"""Characters of a serial number that is a port's own: bridges fresh from the factory say `0001`."""


def is_url(port: str) -> bool:
    """Whether a port is an address that only opening it can judge, and no device path."""
    return "://" in port or in_lab(port)


@dataclass(frozen=True, slots=True)
class SerialPort:
    """A port as the system lists it; what it does not tell is empty. `bridge` is what its USB numbers stand for."""

    device: str
    serial: str
    product: str
    usb_id: str
    location: str
    bridge: str = ""

    @property
    def own_serial(self) -> str:
        """The serial number, if it is likely to be this port's alone: many bridges come with the same short one."""
        return self.serial if len(self.serial) >= _TELLING else ""


def scan() -> tuple[SerialPort, ...]:
    """List the ports that a board may be at: all on USB, and no others."""
    from serial.tools.list_ports import comports

    found: Iterable[ListPortInfo] = comports()
    return tuple(sorted((_describe(port) for port in found if port.vid is not None), key=lambda port: port.device))


def _describe(port: ListPortInfo) -> SerialPort:
    vendor, product = int(port.vid or 0), int(port.pid or 0)
    return SerialPort(
        device=port.device,
        serial=port.serial_number or "",
        product=port.product or "",
        usb_id=f"{vendor:04x}:{product:04x}",
        location=port.location or "",
        bridge=bridge_name(vendor, product),
    )


def find_port(board: Board, ports: Sequence[SerialPort]) -> str:
    """The port a board is at now, as pyserial opens it.

    The serial number decides; the inventory's port only where no listed port has it, or several do. A port whose own
    serial number is another's is never taken.

    Raises:
        PortMissingError: The board is at no port, or it cannot be told at which.
    """
    if in_lab(board.port):
        return board.port
    mine = [port.device for port in ports if port.serial and identity(port.serial) in board.identities]
    if len(mine) == 1 or board.port in mine:
        return board.port if board.port in mine else mine[0]
    if mine:
        message = f"board {board.id} may be at any of {', '.join(mine)}: they have the same serial number"
        raise PortMissingError(message, hint="name one of them as the board's port in the inventory")
    if "://" in board.port:
        return board.port
    there = next((port for port in ports if _same_device(port.device, board.port)), None)
    if there is not None and not _belongs_to_another(board, there):
        return board.port
    if there is None and board.port and Path(board.port).exists():
        return board.port
    wanted = board.serial or board.mac
    hint = f"nothing listed has {wanted}: is it plugged in, and by a data cable? mww boards scan lists what is"
    raise PortMissingError(f"board {board.id} is at no port", hint=hint)


def stable_name(port: SerialPort, folder: Path = _BY_PATH) -> str:
    """The port under a name that stays as long as the cable does, as udev makes it; its device where there is none."""
    links = sorted(folder.iterdir()) if folder.is_dir() else []
    return next((str(link) for link in links if _same_device(str(link), port.device)), port.device)


def _same_device(device: str, hint: str) -> bool:
    return bool(hint) and os.path.realpath(device) == os.path.realpath(hint)


def _belongs_to_another(board: Board, port: SerialPort) -> bool:
    """Whether the port names itself, and not by a name that this board could have."""
    named = identity(port.serial) if port.serial else ""
    return bool(named) and (bool(board.serial) or named.startswith("mac:"))


def board_at(port: str, ports: Sequence[SerialPort]) -> Board:
    """The board at a port that no inventory names, known by the port's serial number, or else by the port itself."""
    there = next((one for one in ports if _same_device(one.device, port)), None)
    return Board(id=port, chip="", serial=there.serial if there and there.serial else port, port=port)


@dataclass(frozen=True, slots=True)
class PortAccess:
    """Whether this process may open a port, and if not why, and what to do."""

    allowed: bool
    message: str
    hint: str | None


def access(port: str) -> PortAccess:
    """Whether this process may open a port; a URL is judged when it is opened."""
    if is_url(port):
        return PortAccess(True, f"{port} is a URL", None)
    path = Path(port)
    if not path.exists():
        return PortAccess(False, f"{port} does not exist", "mww boards scan lists the ports there are")
    if os.access(path, os.R_OK | os.W_OK):
        return PortAccess(True, f"{port} can be opened", None)
    return PortAccess(False, f"{current_user()} may not open {port}", permission_hint(_group_of(path)))


def _group_of(path: Path) -> str:
    try:
        return grp.getgrgid(path.stat().st_gid).gr_name
    except (KeyError, OSError):
        return "dialout"


def current_user() -> str:
    """The user's name; its number where it has none, as in some containers."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def permission_hint(group: str) -> str:
    """What gives the user ports of `group` (dialout on Debian, uucp on Arch)."""
    return (
        f"sudo usermod -aG {group} {current_user()}, then log in again; or a udev rule in "
        f"/etc/udev/rules.d/60-esp32.rules: {UDEV_RULE}"
    )


def in_serial_group() -> bool:
    """Whether this process may open serial ports by its groups: it is root, or in dialout or uucp."""
    if os.geteuid() == 0:
        return True
    mine = {*os.getgroups(), os.getegid()}
    return any(group.gr_gid in mine for group in grp.getgrall() if group.gr_name in ("dialout", "uucp"))
