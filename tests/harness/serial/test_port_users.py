"""Who has a port open is reported by process, and neither ourselves nor the maker of a terminal are taken for users."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from harness.serial.ports import port_users


@contextmanager
def held_by_another(url: str) -> Iterator[int]:
    """The pid of a process that has a port open, and does not lock it."""
    program = f"import serial, sys; port = serial.serial_for_url({url!r}); print(flush=True); sys.stdin.read()"
    words = [sys.executable, "-c", program]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


def test_who_has_a_terminal_open_is_named() -> None:
    maker, terminal = os.openpty()
    try:
        path = os.ttyname(terminal)
        assert port_users(path) == ()
        with held_by_another(path) as pid:
            (reported,) = port_users(path)
            assert reported.startswith(f"process {pid} (python")
        assert port_users(path) == ()
    finally:
        os.close(maker)
        os.close(terminal)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_who_is_connected_to_a_port_of_this_machine_is_named(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"socket://{host}:{server.getsockname()[1]}"
        assert port_users(url) == ()
        with held_by_another(url) as pid:
            assert [reported.split()[1] for reported in port_users(url)] == [str(pid)]


@pytest.mark.parametrize(
    "url", ["socket://nowhere.invalid:1", "socket://", "rfc2217://[", "/dev/nothing", "socket://a:b"]
)
def test_nobody_is_named_at_a_port_that_is_not_here(url: str) -> None:
    assert port_users(url) == ()
