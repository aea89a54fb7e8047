"""Which other processes have a port open, as far as /proc shows them to this user."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

_ESTABLISHED: Final = "01"
_PROC: Final = Path("/proc")


def port_users(url: str) -> tuple[str, ...]:
    """The processes that have a device open, or are connected to a TCP port of this machine, without ourselves.

    Each is reported as `process PID (name)`; there are none where the port is another machine's.
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
    """Whether a process has one of these open; who holds a terminal's other end is its maker, and no user of it."""
    folder = _PROC / str(pid) / "fd"
    try:
        links = {entry.name: str(entry.readlink()) for entry in folder.iterdir()}
    except OSError:
        return False  # another user's, or gone
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
