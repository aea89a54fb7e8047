"""`mww boards scan` on a machine with boards: what is listed, what is reported to write, and why a port stays closed.

No USB port can be had where this runs: pyserial's own entries and a folder of links stand in for /sys and /dev.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from serial.tools.list_ports_common import ListPortInfo

from harness.boards.inventory import load_inventory
from harness.cli import execute, mww
from harness.serial.ports import UDEV_RULE, SerialPort, access, bridge_name, scan, stable_name

Plug = Callable[..., Path]


@pytest.fixture
def plug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plug:
    """Plug a board in: a device file, and pyserial's entry for it."""
    entries: list[ListPortInfo] = []
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: list(entries))
    monkeypatch.chdir(tmp_path)

    def one(name: str, vid: int | None, pid: int | None, serial: str | None = None, product: str | None = None) -> Path:
        device = tmp_path / name
        device.touch()
        info = ListPortInfo(str(device), skip_link_detection=True)
        info.vid, info.pid, info.serial_number, info.product, info.location = vid, pid, serial, product, "1-2"
        entries.append(info)
        return device

    return one


def _scan(capsys: pytest.CaptureFixture[str], *more: str) -> str:
    capsys.readouterr()
    assert execute(mww, ["boards", "scan", *more]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("vendor", "product", "name"),
    [
        (0x303A, 0x1001, "Espressif USB-Serial-JTAG, in the chip"),
        (0x10C4, 0xEA60, "Silicon Labs CP2102 or CP2104"),
        (0x1A86, 0x55D4, "WCH CH9102"),
        (0x303A, 0x8999, "Espressif"),
        (0x046D, 0xC52B, ""),
    ],
)
def test_usb_numbers_have_names(vendor: int, product: int, name: str) -> None:
    assert bridge_name(vendor, product) == name
    assert not name or f"{vendor:04x}" in UDEV_RULE


def test_every_port_on_usb_is_listed_and_no_other(plug: Plug, capsys: pytest.CaptureFixture[str]) -> None:
    jtag = plug("ttyACM0", 0x303A, 0x1001, "F4:12:FA:5B:8C:20", "USB JTAG/serial debug unit")
    cheap = plug("ttyUSB0", 0x1A86, 0x7523, None, "USB Serial")
    plug("ttyS0", None, None)
    assert [port.device for port in scan()] == [str(jtag), str(cheap)]
    document = json.loads(_scan(capsys, "--json"))
    results = [(port["bridge"], port["usb_id"], port["accessible"]) for port in document["ports"]]
    assert results == [("Espressif USB-Serial-JTAG, in the chip", "303a:1001", True), ("WCH CH340", "1a86:7523", True)]
    shown = _scan(capsys)
    assert "CH340" in shown
    assert "USB JTAG/serial debug unit" in shown


def test_the_lines_to_write_are_an_inventory_once_the_mac_is_known(
    plug: Plug, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plug("ttyACM0", 0x303A, 0x1001, "F4:12:FA:5B:8C:20")
    plug("ttyUSB0", 0x10C4, 0xEA60, "0001")
    plug("ttyUSB1", 0x10C4, 0xEA60, "0001")
    text = _scan(capsys).partition("to add to boards.yaml:")[2]
    entries = yaml.safe_load(text)["boards"]
    assert [entry.get("serial") for entry in entries] == ["F4:12:FA:5B:8C:20", None, None]
    assert entries[1]["port"].endswith("ttyUSB0")
    assert "read-mac" in text
    for number, entry in enumerate(entries[1:]):
        entry["mac"] = f"24:0a:c4:00:00:0{number}"
    (tmp_path / "boards.yaml").write_text(yaml.safe_dump({"boards": entries}))
    assert len(load_inventory(tmp_path / "boards.yaml")) == 3
    assert "to add" not in _scan(capsys)
    boards = [port["board"] for port in json.loads(_scan(capsys, "--json"))["ports"]]
    assert boards == ["ttyACM0", "ttyUSB0", "ttyUSB1"]


def test_a_closed_port_is_told_with_group_and_rule(
    plug: Plug, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plug("ttyUSB0", 0x10C4, 0xEA60, "0001")
    plug("ttyUSB1", 0x10C4, 0xEA60, "0002")
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert execute(mww, ["boards", "scan"]) == 0
    reported = capsys.readouterr().err
    assert reported.count("may not open") == 2
    assert reported.count("usermod -aG") == 1
    assert UDEV_RULE in reported
    assert not access(scan()[0].device).allowed


def test_a_socket_has_a_name_that_stays(tmp_path: Path) -> None:
    device, folder = tmp_path / "ttyUSB3", tmp_path / "by-path"
    device.touch()
    folder.mkdir()
    (folder / "pci-0:usb-0:2:1.0-port0").symlink_to(device)
    port = SerialPort(str(device), "", "", "1a86:7523", "1-2")
    assert stable_name(port, folder) == str(folder / "pci-0:usb-0:2:1.0-port0")
    assert stable_name(port, tmp_path / "absent") == str(device)


def test_nothing_plugged_in_is_said(plug: Plug, capsys: pytest.CaptureFixture[str]) -> None:
    assert "data cable" in _scan(capsys)
