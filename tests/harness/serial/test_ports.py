"""A board is found by what it is, under any tty name, and never taken for another."""

from __future__ import annotations

import os
import pty
from pathlib import Path

import pytest

from harness.boards.inventory import Board
from harness.boards.leases import find_port
from harness.serial.ports import SerialPort, access, permission_hint, scan
from mww.core.errors import PortMissingError

JTAG = SerialPort("/dev/ttyACM1", "F4:12:FA:5B:8C:20", "USB JTAG", "303a:1001", "1-2")
BRIDGE = SerialPort("/dev/ttyUSB0", "0001", "CP2102", "10c4:ea60", "1-3")
TWIN = SerialPort("/dev/ttyUSB1", "0001", "CP2102", "10c4:ea60", "1-4")
NAMELESS = SerialPort("/dev/ttyUSB2", "", "CH340", "1a86:7523", "1-5")


@pytest.mark.parametrize(
    ("board", "ports", "port"),
    [
        (Board("a", "esp32s3", serial="f412fa5b8c20"), [BRIDGE, JTAG], "/dev/ttyACM1"),
        (Board("a", "esp32s3", mac="F4-12-FA-5B-8C-20", port="/dev/ttyACM0"), [JTAG], "/dev/ttyACM1"),
        (Board("a", "esp32", serial="0001", port="/dev/ttyUSB1"), [BRIDGE, TWIN], "/dev/ttyUSB1"),
        (Board("a", "esp32", mac="240ac4000001", port="/dev/ttyUSB2"), [BRIDGE, NAMELESS], "/dev/ttyUSB2"),
        (Board("a", "esp32", mac="240ac4000001", port="/dev/ttyUSB0"), [BRIDGE], "/dev/ttyUSB0"),
        (Board("a", "esp32", serial="virtual-1", port="socket://127.0.0.1:5000"), [], "socket://127.0.0.1:5000"),
    ],
)
def test_a_board_is_found_by_its_serial_number(board: Board, ports: list[SerialPort], port: str) -> None:
    assert find_port(board, ports) == port


@pytest.mark.parametrize(
    ("board", "ports", "message"),
    [
        (Board("a", "esp32", serial="9999"), [BRIDGE], "is at no port"),
        (Board("a", "esp32", serial="9999", port="/dev/ttyUSB0"), [BRIDGE], "is at no port"),
        (Board("a", "esp32", mac="240ac4000001", port="/dev/ttyACM1"), [JTAG], "is at no port"),
        (Board("a", "esp32", serial="0001"), [BRIDGE, TWIN], "may be at any of /dev/ttyUSB0, /dev/ttyUSB1"),
    ],
)
def test_another_board_s_port_is_never_taken(board: Board, ports: list[SerialPort], message: str) -> None:
    with pytest.raises(PortMissingError, match=message):
        find_port(board, ports)


def test_a_port_that_is_not_on_usb_is_taken_by_its_name() -> None:
    controller, device = pty.openpty()
    try:
        board = Board("a", "esp32", serial="x", port=os.ttyname(device))
        assert find_port(board, []) == board.port
        assert access(board.port).allowed
    finally:
        os.close(controller)
        os.close(device)


def test_a_scan_lists_ports_on_usb_alone() -> None:
    assert all(port.usb_id != "0000:0000" for port in scan())


def test_a_port_that_may_not_be_opened_comes_with_what_to_do(tmp_path: Path) -> None:
    assert access(str(tmp_path / "ttyUSB9")).message.endswith("does not exist")
    assert access("socket://127.0.0.1:1").allowed
    hint = permission_hint("dialout")
    assert "sudo usermod -aG dialout " in hint
    assert "rules.d" in hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open everything")
def test_a_closed_port_names_its_group(tmp_path: Path) -> None:
    port = tmp_path / "tty"
    port.touch(mode=0o000)
    assert "usermod -aG" in (access(str(port)).hint or "")
