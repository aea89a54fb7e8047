"""`mww boards`: what scripts read, and what people are reported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from harness.boards.inventory import load_inventory
from harness.boards.leases import acquire
from harness.cli import execute, mww
from tests.support.rack import rack

INVENTORY = """
boards:
  - {id: "net[red]", chip: esp32s3, serial: virtual-1, port: "socket://127.0.0.1:5000"}
  - {id: gone, chip: esp32, serial: "no-such-serial"}
"""


@pytest.fixture
def inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MWW_LEASE_DIR", str(tmp_path))
    path = tmp_path / "boards.yaml"
    path.write_text(INVENTORY)
    return path


def test_list_tells_where_each_board_is_and_who_has_it(inventory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with acquire(load_inventory(inventory)[0], purpose="a test"):
        assert execute(mww, ["boards", "list", "--map", str(inventory), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "mww.boards/1"
    net, gone = document["boards"]
    assert (net["id"], net["port"], net["holder"]["purpose"]) == ("net[red]", "socket://127.0.0.1:5000", "a test")
    assert (gone["port"], gone["holder"]) == (None, None)


def test_check_is_a_verdict_on_every_board(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "leases").mkdir()
    monkeypatch.setenv("MWW_LEASE_DIR", str(tmp_path / "leases"))
    with rack(tmp_path, ["esp32s3"]) as path:
        assert execute(mww, ["boards", "check", "--map", str(path)]) == 0
        (entry,) = yaml.safe_load(path.read_text())["boards"]
        others = [
            {**entry, "id": "gone", "mac": "", "serial": "no-such-serial", "port": ""},
            {**entry, "id": "swapped", "mac": "24:0a:c4:00:00:01"},
            {**entry, "id": "other", "mac": "", "serial": "x", "chip": "esp32c3"},
            {**entry, "id": "silent", "mac": "", "serial": "y", "port": "socket://127.0.0.1:9"},
        ]
        path.write_text(yaml.safe_dump({"boards": [entry, *others]}))
        capsys.readouterr()
        assert execute(mww, ["boards", "check", "--map", str(path), "--json"]) == 1
        result = {board["id"]: board["error"] for board in json.loads(capsys.readouterr().out)["boards"]}
        assert result.pop("virtual-0") is None
        codes = {name: error["code"] for name, error in result.items()}
        assert codes == {
            "gone": "port-missing",
            "swapped": "wrong-board",
            "other": "wrong-board",
            "silent": "port-missing",
        }
        assert execute(mww, ["boards", "check", "--map", str(path)]) == 1
    assert "write chip: esp32s3" in capsys.readouterr().out


def test_the_environment_names_the_inventory(
    inventory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MWW_BOARDS", str(inventory))
    assert execute(mww, ["boards", "list"]) == 0
    assert "net[red]" in capsys.readouterr().out


def test_without_an_inventory_scan_still_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MWW_BOARDS", raising=False)
    assert execute(mww, ["boards", "scan", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["map"] is None
    assert execute(mww, ["boards", "list", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "inventory"
