"""Ports: opened for one process alone, each failure by its name, and a board found again where it comes back."""

from __future__ import annotations

import os
import pty
import socket
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from serial.tools import list_ports

from harness.link.client import LinkClient
from harness.link.reader import Reader
from harness.link.session import Timing
from harness.serial.connection import PortIdentity, identify, locate, open_port, reopen_port
from mww.core.errors import NoReplyError, PortBusyError, PortMissingError, RebootedError, WrongFirmwareError
from tests.harness.link.test_client import FAST, flashed, frames
from tests.support.host_board import BoardPort
from tests.support.waiting import PATIENCE


@dataclass
class Terminal:
    """Both ends of a pseudo-terminal."""

    master: int
    path: str


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    master, slave = pty.openpty()
    tty.setraw(slave)
    yield Terminal(master, os.ttyname(slave))
    for end in (master, slave):
        with suppress(OSError):  # the test may have closed it
            os.close(end)


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def url(server: socket.socket) -> str:
    return f"socket://127.0.0.1:{server.getsockname()[1]}"


def read_all(port: object, size: int) -> bytes:
    data, deadline = b"", time.monotonic() + PATIENCE
    while len(data) < size and time.monotonic() < deadline:
        data += port.read()  # type: ignore[attr-defined]
    return data


def test_bytes_go_both_ways_over_a_terminal(terminal: Terminal) -> None:
    port = open_port(terminal.path)
    port.write(b"to the board")
    assert os.read(terminal.master, 100) == b"to the board"
    os.write(terminal.master, bytes(range(256)))
    assert read_all(port, 256) == bytes(range(256))
    port.close()
    port.close()


def test_bytes_go_both_ways_over_a_socket(server: socket.socket) -> None:
    port = open_port(url(server))
    peer, _ = server.accept()
    port.write(b"to the board")
    assert peer.recv(100) == b"to the board"
    peer.sendall(bytes(5000))
    assert read_all(port, 5000) == bytes(5000)
    peer.close()
    with pytest.raises(PortMissingError, match="went away"):
        read_all(port, 1)
    port.close()


def test_a_port_that_another_holds_is_busy(terminal: Terminal) -> None:
    first = open_port(terminal.path)
    with pytest.raises(PortBusyError):
        open_port(terminal.path)
    first.close()
    open_port(terminal.path).close()


@pytest.mark.parametrize(
    "where", ["/dev/ttyNONE9", "socket://127.0.0.1", "socket://127.0.0.1:x", "nonsense://", "socket://127.0.0.1:1"]
)
def test_a_port_that_cannot_be_opened_says_what_to_do(where: str) -> None:
    with pytest.raises(PortMissingError) as caught:
        open_port(where)
    assert caught.value.hint


def test_a_terminal_that_closes_went_away(terminal: Terminal) -> None:
    port = open_port(terminal.path)
    reader = Reader(port)
    os.close(terminal.master)
    with pytest.raises(PortMissingError, match="went away"):
        reader.take(time.monotonic() + PATIENCE)
    reader.close()
    port.close()


@dataclass
class UsbPort:
    """What pyserial lists."""

    device: str
    serial_number: str | None
    vid: int = 0x303A
    pid: int = 0x1001


@pytest.fixture
def usb(monkeypatch: pytest.MonkeyPatch) -> list[UsbPort]:
    ports: list[UsbPort] = []
    monkeypatch.setattr(list_ports, "comports", lambda: list(ports))
    return ports


def test_a_board_is_known_by_its_serial_number_and_found_at_another_path(usb: list[UsbPort]) -> None:
    usb += [UsbPort("/dev/ttyACM0", "7C:DF:A1"), UsbPort("/dev/ttyACM1", "34:85:18")]
    board = identify("/dev/ttyACM0")
    assert board == PortIdentity("/dev/ttyACM0", "7C:DF:A1", 0x303A, 0x1001)
    assert locate(board) == "/dev/ttyACM0"
    usb[0] = UsbPort("/dev/ttyACM2", "7C:DF:A1")
    assert locate(board) == "/dev/ttyACM2"
    del usb[0]
    assert locate(board) is None


def test_a_port_without_a_serial_number_is_known_by_its_path(usb: list[UsbPort], tmp_path: Path) -> None:
    (path := tmp_path / "tty").touch()
    assert locate(identify(str(path))) == str(path)
    assert locate(PortIdentity(str(tmp_path / "gone"))) is None
    assert locate(identify("socket://127.0.0.1:5555")) == "socket://127.0.0.1:5555"


def test_a_board_that_comes_back_elsewhere_is_waited_for(usb: list[UsbPort], terminal: Terminal) -> None:
    board = PortIdentity("/dev/ttyACM0", "7C:DF:A1", 0x303A, 0x1001)
    threading.Timer(0.3, usb.append, [UsbPort(terminal.path, "7C:DF:A1")]).start()
    reopen_port(board, 115_200, timeout=PATIENCE).close()
    usb.clear()
    with pytest.raises(PortMissingError, match="went away"):
        reopen_port(board, 115_200, timeout=0.2)


class VanishingPort(BoardPort):
    """A board whose USB is its own: a reboot takes the port away until it is opened again."""

    gone = False

    def read(self) -> bytes:
        if self.gone:
            raise PortMissingError("the port went away", hint="plug it in")
        return super().read()


@pytest.mark.parametrize("reboots", [True, False])
def test_a_port_that_goes_away_is_a_reboot_only_if_the_board_says_so(reboots: bool) -> None:
    port = VanishingPort(partition=flashed())

    def reopen() -> VanishingPort:
        port.gone = False
        return port

    client = LinkClient(port, reopen=reopen, returns=True, timing=FAST)
    client.open_model()
    port.gone = True
    time.sleep(0.1)  # the reader has seen it
    if reboots:
        port.reboot()
    with pytest.raises(RebootedError if reboots else PortMissingError):
        client.infer(frames(50))
    client.open_model()
    assert len(client.infer(np.zeros((3, 3, 40), np.int8)).outputs) == 3
    client.close()
    port.end()


@contextmanager
def talking(terminal: Terminal, words: bytes) -> Iterator[None]:
    """Say something again and again: opening the port empties it."""
    ended = threading.Event()

    def talk() -> None:
        while not ended.wait(0.02):
            with suppress(BlockingIOError):  # nobody reads
                os.write(terminal.master, words)

    os.set_blocking(terminal.master, False)
    thread = threading.Thread(target=talk)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"", NoReplyError),
        (b"[I][wifi:123]: Connected to the home network\r\n" * 3, WrongFirmwareError),
        (b"rst:0x1 (POWERON),boot:0x0 (DOWNLOAD)\r\nwaiting for download\r\n", WrongFirmwareError),
    ],
)
def test_what_answers_without_our_firmware_is_named(terminal: Terminal, said: bytes, error: type[Exception]) -> None:
    with talking(terminal, said), pytest.raises(error):
        LinkClient.connect(terminal.path, timing=Timing(hello=1.0))
    assert not [thread for thread in threading.enumerate() if thread.name == "mww-link-reader"]


def test_another_baud_rate_is_told_from_other_firmware(terminal: Terminal) -> None:
    noise = talking(terminal, bytes(range(128, 256)) * 2)
    with noise, pytest.raises(Exception, match="neither frames nor text") as caught:
        LinkClient.connect(terminal.path, timing=Timing(hello=1.0))
    assert "--baud" in (getattr(caught.value, "hint", "") or "")


@pytest.mark.parametrize("scheme", ["socket", "rfc2217"])
@pytest.mark.parametrize("rest", ["[::1", "..:1", f"{'a' * 70}:1", "\udcff:1", "127.0.0.1:99999", "127.0.0.1:x", ""])
def test_a_url_that_names_no_host_or_port_is_one_error(scheme: str, rest: str) -> None:
    with pytest.raises(PortMissingError) as caught:
        open_port(f"{scheme}://{rest}", 115_200)
    assert caught.value.hint
