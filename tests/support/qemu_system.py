"""A stand-in for Espressif's QEMU, which no registry has: as strict about its words, and the virtual board behind them.

It takes the words that QEMU would, refuses what QEMU refuses, and boots the flash that it is given: bootloader,
partition table and application are checked as on the virtual board, the models are those of the flash's partition, and
the firmware's own C++ session answers on the serial port. What it does not have is a chip's instructions.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import NoReturn

from harness.virtual.board import Board, BoardSettings
from harness.virtual.boot import Application, ResetCause
from harness.virtual.chips import UNSECURED, find_chip
from harness.virtual.engine import TflmEngine
from harness.virtual.firmware import Firmware, Identity, like_a_chip
from harness.virtual.flash import Flash
from harness.virtual.frontend import BoardFrontend
from harness.virtual.program import Program
from harness.virtual.transports.stream import SocketTransport

VERSION = "QEMU emulator version 0.0.0 (stand-in)"
MACHINES = {"qemu-system-xtensa": ("esp32", "esp32s3"), "qemu-system-riscv32": ("esp32c3",)}
EFUSE_BYTES = {"esp32": 124, "esp32s3": 1024, "esp32c3": 1024}
CLASSES = {"timer.esp32.timg", "timer.esp32c3.timg", "timer.esp32s3.timg"}


def install(folder: Path, **environment: str) -> None:
    """Put the stand-ins into a folder, as executables with QEMU's names."""
    folder.mkdir(exist_ok=True)
    for name in MACHINES:
        program = folder / name
        lines = (
            f"#!{sys.executable}",
            "import os, sys",
            f"sys.path[:] = {[str(Path(__file__).parents[2]), *sys.path]!r}",
            f"os.environ.update({environment!r})",
            "from tests.support.qemu_system import main",
            "main()",
        )
        program.write_text("\n".join(lines) + "\n")
        program.chmod(0o755)


def main() -> NoReturn:
    """Be QEMU, as this program's name and words say."""
    program = Path(sys.argv[0]).name
    if sys.argv[1:] == ["--version"]:
        sys.stdout.write(VERSION + "\n")
        sys.exit()
    if sys.argv[1:] == ["-M", "help"]:
        sys.stdout.write("Supported machines are:\n" + "".join(f"{chip:20} a chip\n" for chip in MACHINES[program]))
        sys.exit()
    if "QEMU_STANDIN_RECORD" in os.environ:
        Path(os.environ["QEMU_STANDIN_RECORD"]).write_text("\0".join(sys.argv))
    parser = argparse.ArgumentParser(program, allow_abbrev=False)
    parser.add_argument("-M", required=True)
    parser.add_argument("-drive", action="append", default=[])
    parser.add_argument("-global", dest="properties", action="append", default=[])
    parser.add_argument("-nographic", action="store_true", required=True)
    parser.add_argument("-serial", required=True)
    words = parser.parse_args()
    if words.M not in MACHINES[program]:
        _refuse(f"unsupported machine type '{words.M}'")
    drives = [dict(part.split("=", 1) for part in drive.split(",")) for drive in words.drive]
    _check_properties(words.M, words.properties, drives)
    flash = _open_flash(drives)
    port = re.fullmatch(r"tcp:127\.0\.0\.1:(\d+),server,nowait", words.serial)
    if port is None:
        _refuse(f"-serial {words.serial}")
    _serve(words.M, flash, int(port[1]))


def _check_properties(machine: str, properties: list[str], drives: list[dict[str, str]]) -> None:
    disabled = set()
    for text in properties:
        result = dict(part.split("=", 1) for part in text.split(","))
        if result["property"] == "drive":
            assert result["driver"] == f"nvram.{machine}.efuse"
            (efuses,) = [drive for drive in drives if drive.get("id") == result["value"]]
            assert efuses["if"] == "none"
            assert efuses["format"] == "raw"
            if Path(efuses["file"]).stat().st_size != EFUSE_BYTES[machine]:
                _refuse(f"device requires {EFUSE_BYTES[machine]} bytes, block backend provides another number")
        elif (result["property"], result["value"]) == ("wdt_disable", "true"):
            disabled.add(result["driver"])
    if not disabled or disabled - CLASSES or f"timer.{machine}.timg" not in disabled:
        _refuse("a watchdog bites")


def _open_flash(drives: list[dict[str, str]]) -> Flash:
    (result,) = [drive for drive in drives if drive["if"] == "mtd"]
    assert result["format"] == "raw"
    size = Path(result["file"]).stat().st_size
    if size not in (2 << 20, 4 << 20, 8 << 20, 16 << 20):
        _refuse("Error: only 2, 4, 8, 16 MB flash images are supported")
    return Flash(Path(result["file"]), size)


def _serve(machine: str, flash: Flash, port: int) -> NoReturn:
    chip = find_chip(machine)
    engine = TflmEngine(machine, bytes)
    mac = bytes(6)

    def start(application: Application, cause: ResetCause) -> Program:
        identity = Identity(machine, mac, "tflm", engine.version)
        return Firmware(identity, application, cause, flash, engine, (BoardFrontend(), None), like_a_chip(50), None)

    Board(BoardSettings(chip, mac, UNSECURED, None), flash, SocketTransport(port=port), start).run()
    raise AssertionError("it runs until it is killed")


def _refuse(why: str) -> NoReturn:
    sys.stderr.write(f"{Path(sys.argv[0]).name}: {why}\n")
    sys.exit(1)
