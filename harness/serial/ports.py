"""Serial ports of this computer: which exist, who holds them, and why a port cannot be opened."""

from __future__ import annotations

import grp
import os
import pwd
import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from serial.tools.list_ports_common import ListPortInfo


_ESTABLISHED: Final = "01"
_PROC: Final = Path("/proc")

_VENDORS: Final[Mapping[int, str]] = {
    0x303A: "Espressif",
    0x10C4: "Silicon Labs",
    0x1A86: "WCH",
    0x0403: "FTDI",
    0x067B: "Prolific",
}
"""USB vendors of the ports that ESP32 boards have."""

_PRODUCTS: Final[Mapping[tuple[int, int], str]] = {
    (0x303A, 0x1001): "USB-Serial-JTAG, in the chip",
    (0x303A, 0x1002): "ESP USB Bridge",
    (0x10C4, 0xEA60): "CP2102 or CP2104",
    (0x10C4, 0xEA70): "CP2105",
    (0x10C4, 0xEA71): "CP2108",
    (0x1A86, 0x7523): "CH340",
    (0x1A86, 0x55D3): "CH343",
    (0x1A86, 0x55D4): "CH9102",
    (0x0403, 0x6001): "FT232R",
    (0x0403, 0x6010): "FT2232",
    (0x0403, 0x6014): "FT232H",
    (0x0403, 0x6015): "FT230X or FT231X",
    (0x067B, 0x2303): "PL2303",
    (0x067B, 0x23A3): "PL2303GC",
}

UDEV_RULE: Final = (
    'SUBSYSTEM=="tty", '
    f'ATTRS{{idVendor}}=="{"|".join(f"{vendor:04x}" for vendor in _VENDORS)}", MODE="0660", TAG+="uaccess"'
)
"""The udev rules that give a local user every such port, for /etc/udev/rules.d/60-esp32.rules."""

_BY_PATH: Final = Path("/dev/serial/by-path")
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]+:")
_TELLING: Final = 6
"""The least characters of a unique serial number: bridges from the factory have `0001`."""


def port_users(url: str) -> tuple[str, ...]:
    """The other processes that have a device open, or are connected to a TCP port of this machine.

    Each is given as `process PID (name)`; empty where the port is on another machine.
    """
    wanted = _connections(url) if "://" in url else {os.path.realpath(url)}
    return tuple(_name(pid) for pid in _processes() if wanted and pid != os.getpid() and _has_open(pid, wanted))


def _processes() -> Iterator[int]:
    try:
        names = [entry.name for entry in _PROC.iterdir()]
    except OSError:
        return
    yield from sorted(int(name) for name in names if name.isdecimal())


def _has_open(pid: int, wanted: set[str]) -> bool:
    """Whether a process has one of these open; the holder of a terminal's other end is its maker and does not count."""
    folder = _PROC / str(pid) / "fd"
    try:
        links = {entry.name: str(entry.readlink()) for entry in folder.iterdir()}
    except OSError:
        return False  # of another user, or gone
    if not wanted & set(links.values()):
        return False
    made = {_terminal(pid, name) for name, link in links.items() if link.endswith("/ptmx")}
    return bool((wanted & set(links.values())) - made)


def _terminal(pid: int, descriptor: str) -> str:
    """The terminal at the other end of a `/dev/ptmx`."""
    try:
        lines = (_PROC / str(pid) / "fdinfo" / descriptor).read_text().splitlines()
    except OSError:
        return ""
    return next((f"/dev/pts/{line.split()[1]}" for line in lines if line.startswith("tty-index:")), "")


def _connections(url: str) -> set[str]:
    """The descriptors, as /proc names them, of connections to the TCP port that `url` names on this machine."""
    try:
        address = urlsplit(url)
        if address.port is None or not _is_local(address.hostname or ""):
            return set()
    except ValueError:
        return set()
    result = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = (_PROC / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if fields[3] == _ESTABLISHED and int(fields[2].rsplit(":", 1)[1], 16) == address.port:
                result.add(f"socket:[{fields[9]}]")
    return result


def _is_local(host: str) -> bool:
    try:
        return socket.gethostbyname(host).startswith("127.")
    except OSError:
        return False


def _name(pid: int) -> str:
    try:
        name = (_PROC / str(pid) / "comm").read_text().strip()
    except OSError:
        name = "ended"
    return f"process {pid} ({name})"


def bridge_name(vendor: int, product: int) -> str:
    """The bridge that a port's USB numbers stand for; empty where they do not belong to an ESP32 board."""
    maker, kind = _VENDORS.get(vendor, ""), _PRODUCTS.get((vendor, product), "")
    return f"{maker} {kind}".strip() if kind else maker


def is_url(port: str) -> bool:
    """Whether a port is an address, which only opening it can check, and not a device path."""
    return _SCHEME.match(port) is not None


@dataclass(frozen=True, slots=True)
class SerialPort:
    """A port as the system lists it; unknown values are empty. `bridge` is the kind that its USB numbers stand for."""

    device: str
    serial: str
    product: str
    usb_id: str
    location: str
    bridge: str = ""

    @property
    def own_serial(self) -> str:
        """The serial number, if it is probably unique: many bridges have the same short number."""
        return self.serial if len(self.serial) >= _TELLING else ""


def scan() -> tuple[SerialPort, ...]:
    """List the ports that may have a board: all ports on USB, and no others."""
    from serial.tools.list_ports import comports

    result: Iterable[ListPortInfo] = comports()
    return tuple(sorted((_describe(port) for port in result if port.vid is not None), key=lambda port: port.device))


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


def stable_name(port: SerialPort, folder: Path = _BY_PATH) -> str:
    """The port's name from udev, which stays while the cable is plugged in; its device path without one."""
    links = sorted(folder.iterdir()) if folder.is_dir() else []
    return next((str(link) for link in links if same_device(str(link), port.device)), port.device)


def same_device(device: str, hint: str) -> bool:
    """Whether two paths are the same device, with links resolved."""
    return bool(hint) and os.path.realpath(device) == os.path.realpath(hint)


@dataclass(frozen=True, slots=True)
class PortAccess:
    """Whether this process may open a port; if not, why, and what to do."""

    allowed: bool
    message: str
    hint: str = ""


def access(port: str) -> PortAccess:
    """Whether this process may open a port; a URL is checked when it is opened."""
    if is_url(port):
        return PortAccess(True, f"{port} is a URL")
    path = Path(port)
    if not path.exists():
        return PortAccess(False, f"{port} does not exist", "mww boards scan lists the existing ports")
    if os.access(path, os.R_OK | os.W_OK):
        return PortAccess(True, f"{port} can be opened")
    return PortAccess(False, f"{current_user()} may not open {port}", permission_hint(_group_of(path)))


def _group_of(path: Path) -> str:
    try:
        return grp.getgrgid(path.stat().st_gid).gr_name
    except (KeyError, OSError):
        return "dialout"


def current_user() -> str:
    """The user's name, or its number without a name, as in some containers."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def permission_hint(group: str) -> str:
    """The command that gives the user the ports of `group` (dialout on Debian, uucp on Arch)."""
    return (
        f"sudo usermod -aG {group} {current_user()}, then log in again; or a udev rule in "
        f"/etc/udev/rules.d/60-esp32.rules: {UDEV_RULE}"
    )


def in_serial_group() -> bool:
    """Whether this process' groups allow serial ports: it is root, or in dialout or uucp."""
    if os.geteuid() == 0:
        return True
    results = {*os.getgroups(), os.getegid()}
    return any(group.gr_gid in results for group in grp.getgrall() if group.gr_name in ("dialout", "uucp"))
