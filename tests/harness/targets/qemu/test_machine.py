"""What QEMU is reported, and where it is looked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.boards.firmware_project import board_names
from harness.targets.qemu.machine import MACHINES, QemuMissingError, find_machine, find_program, version_of
from mww.core.errors import UsageError
from mww.esphome.chips import CHIP_NAMES, QEMU_CHIPS


@pytest.fixture
def nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("IDF_TOOLS_PATH", str(tmp_path / "espressif"))
    monkeypatch.delenv("MWW_QEMU", raising=False)
    return tmp_path


def _program(path: Path, says: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\nprintf '{says}\\n'\n")
    path.chmod(0o755)
    return path


def test_the_words_are_those_of_esp_idf() -> None:
    command = find_machine("esp32").command("qemu", Path("flash.bin"), Path("efuse.bin"), 5555)
    assert command == [
        *("qemu", "-M", "esp32", "-drive", "file=flash.bin,if=mtd,format=raw"),
        *("-drive", "file=efuse.bin,if=none,format=raw,id=efuse"),
        *("-global", "driver=nvram.esp32.efuse,property=drive,value=efuse"),
        *("-global", "driver=timer.esp32.timg,property=wdt_disable,value=true"),
        *("-nographic", "-serial", "tcp:127.0.0.1:5555,server,nowait"),
    ]


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.chip)
def test_every_machine_s_watchdog_is_off_and_its_board_exists(machine: object) -> None:
    result = find_machine(machine.chip)  # type: ignore[attr-defined]
    command = result.command("qemu", Path("f"), Path("e"), 1)
    assert f"driver=timer.{result.chip}.timg,property=wdt_disable,value=true" in command
    assert result.board in board_names()


def test_esp_idf_s_revisions_are_burnt() -> None:
    assert find_machine("esp32").facts.efuse_file().hex() == "00" * 13 + "80" + "00" * 8 + "10" + "00" * 101
    assert find_machine("esp32c3").facts.efuse_file().hex() == "00" * 38 + "0c" + "00" * 985


def test_a_chip_that_qemu_has_not() -> None:
    for chip in set(CHIP_NAMES) - set(QEMU_CHIPS):
        with pytest.raises(UsageError, match=f"not have the {chip}"):
            find_machine(chip)


def test_without_it_the_hint_says_how_to_get_it(nothing_installed: Path) -> None:
    with pytest.raises(QemuMissingError, match="qemu-system-riscv32") as error:
        find_program(find_machine("esp32c3"))
    assert "idf_tools.py install qemu-riscv32" in str(error.value.hint)


def test_the_one_that_is_named_comes_first_then_the_path_then_esp_idf_s_newest(
    nothing_installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = find_machine("esp32s3")
    tools = nothing_installed / "espressif/tools/qemu-xtensa"
    old, new = (_program(tools / version / "qemu/bin/qemu-system-xtensa") for version in ("z-old", "a-new"))
    os.utime(old, (1, 1))
    assert find_program(machine) == str(new)
    in_path = _program(nothing_installed / "bin/qemu-system-xtensa", "QEMU emulator version 9.2.2 (esp_develop)")
    assert find_program(machine) == str(in_path)
    named = _program(nothing_installed / "own/qemu-system-xtensa")
    for value in (named, named.parent):
        monkeypatch.setenv("MWW_QEMU", str(value))
        assert find_program(machine) == str(named)
    assert version_of(str(in_path)) == "9.2.2 (esp_develop)"
    monkeypatch.setenv("MWW_QEMU", "/nowhere/qemu")
    with pytest.raises(QemuMissingError, match="MWW_QEMU is not the path"):
        find_program(machine)


def test_one_that_has_no_such_machine_is_passed_over(nothing_installed: Path) -> None:
    machine = find_machine("esp32s3")
    lists = "Supported machines are:\\nlx60 LX60 EVB\\nsim sim machine"
    debian = _program(nothing_installed / "bin/qemu-system-xtensa", lists)
    with pytest.raises(QemuMissingError, match="is not Espressif's QEMU: it does not have the esp32s3"):
        find_program(machine)
    tools = nothing_installed / "espressif/tools/qemu-xtensa/9/qemu/bin/qemu-system-xtensa"
    espressif = _program(tools, f"{lists}\\nesp32s3 Espressif ESP32S3 machine")
    assert find_program(machine) == str(espressif) != str(debian)


@pytest.mark.skipif(not Path("/usr/bin/qemu-system-xtensa").exists(), reason="qemu-system-misc is not installed")
def test_debian_s_is_told_from_espressif_s(nothing_installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MWW_QEMU", "/usr/bin/qemu-system-xtensa")
    with pytest.raises(QemuMissingError, match="is not Espressif's QEMU: it does not have the esp32s3"):
        find_program(find_machine("esp32s3"))
