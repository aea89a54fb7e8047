"""How a lab's board is named, and what is no such name."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.boards.inventory import InventoryError, load_inventory
from harness.boards.labgrid.address import LabAddress, parse_address
from harness.targets.registry import target_spec
from mww.core.errors import UsageError


def test_tags_and_coordinator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LG_COORDINATOR", raising=False)
    assert parse_address("labgrid:board=esp32s3") == LabAddress(("board=esp32s3",), "127.0.0.1:20408")
    monkeypatch.setenv("LG_COORDINATOR", "lab.example:20408")
    assert parse_address("labgrid:name=s3a,psram=octal") == LabAddress(("name=s3a", "psram=octal"), "lab.example:20408")
    assert parse_address("labgrid://[::1]:9/board=esp32").coordinator == "[::1]:9"


@pytest.mark.parametrize(
    "wrong",
    [
        *("labgrid:", "labgrid:esp32s3", "labgrid:board=", "labgrid:--kick=1", "labgrid://lab", "labgrid:///a1=b", "x"),
        *("labgrid://-x:1/board=esp32", "labgrid://lab:port/board=esp32", "labgrid://[::1/board=esp32"),
    ],
)
def test_what_is_none(wrong: str) -> None:
    with pytest.raises(UsageError, match="names no boards of a lab"):
        parse_address(wrong)


def test_it_is_a_target_of_one_board() -> None:
    assert not target_spec("labgrid:board=esp32s3").several


def test_an_inventory_needs_no_serial_number_for_it(tmp_path: Path) -> None:
    path = tmp_path / "boards.yaml"
    path.write_text("boards: [{id: any-s3, chip: esp32s3, port: 'labgrid:board=esp32s3'}]")
    assert load_inventory(path)[0].port == "labgrid:board=esp32s3"
    for keys in ("", ", serial: A1"):
        path.write_text(f"boards: [{{id: any-s3, chip: esp32s3, port: 'labgrid:esp32s3'{keys}}}]")
        with pytest.raises(InventoryError, match="names no boards of a lab"):
            load_inventory(path)
