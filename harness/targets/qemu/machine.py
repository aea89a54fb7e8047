"""The chips that Espressif's QEMU emulates, the places of its programs, and the options of each machine.

Sources: `tools/idf_py_actions/qemu_ext.py` of ESP-IDF, and `qemu/*/README.md` of esp-toolchain-docs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mww.core.errors import MwwError, UsageError
from mww.esphome.chips import CHIPS, QEMU_CHIPS, QemuChip

_ANSWER_SECONDS: Final = 10.0


class QemuMissingError(MwwError):
    """Espressif's QEMU is not installed."""

    code = "qemu-missing"


@dataclass(frozen=True, slots=True)
class Machine:
    """A chip in QEMU.

    Attributes:
        chip: As `mww.esphome.chips` spells it; also QEMU's name of the machine.
        image_id: `chip_id` in the header of its firmware's images.
        program: QEMU's executable.
        package: Its name for ESP-IDF's `idf_tools.py install`.
        facts: How QEMU emulates the chip.
        board: What `mww firmware` calls a board whose firmware runs here: its link is UART0, and it needs no PSRAM.
    """

    chip: str
    image_id: int
    program: str
    package: str
    facts: QemuChip
    board: str

    def command(self, program: str, flash: Path, efuses: Path, port: int) -> list[str]:
        """The command line that starts it, with its UART0 at a port of the loopback interface."""
        words = [program, "-M", self.chip]
        words += ["-drive", f"file={flash},if=mtd,format=raw"]
        words += ["-drive", f"file={efuses},if=none,format=raw,id=efuse"]
        words += ["-global", f"driver=nvram.{self.chip}.efuse,property=drive,value=efuse"]
        for timer in self.facts.timers:
            words += ["-global", f"driver={timer},property=wdt_disable,value=true"]
        return [*words, "-nographic", "-serial", f"tcp:127.0.0.1:{port},server,nowait"]


def _machines() -> Iterator[Machine]:
    programs = {"xtensa": ("qemu-system-xtensa", "qemu-xtensa"), "riscv": ("qemu-system-riscv32", "qemu-riscv32")}
    for chip in CHIPS:
        if chip.qemu is not None and chip.board is not None:
            program, package = programs[chip.instruction_set]
            yield Machine(chip.name, chip.image_id, program, package, chip.qemu, chip.board)


MACHINES: Final = tuple(_machines())


def find_machine(chip: str) -> Machine:
    """The machine of a chip.

    Raises:
        UsageError: QEMU does not have it.
    """
    for machine in MACHINES:
        if machine.chip == chip:
            return machine
    raise UsageError(f"Espressif's QEMU does not have the {chip}", hint=f"chips: {', '.join(QEMU_CHIPS)}")


def find_program(machine: Machine) -> str:
    """QEMU's executable: the file of `MWW_QEMU`, or one in that folder; else one in the path; else ESP-IDF's newest.

    A QEMU without this machine, such as Debian's, is ignored.

    Raises:
        QemuMissingError: It does not exist.
    """
    results = list(_candidates(machine))
    for program in results:
        if _has(program, machine.chip):
            return program
    named = os.environ.get("MWW_QEMU")
    message = (
        f"{results[0]} is not Espressif's QEMU: it does not have the {machine.chip}"
        if results
        else f"no {machine.program}"
    )
    if named and not results:
        message = f"MWW_QEMU is not the path of {machine.program}: {named}"
    hint = f"python $IDF_PATH/tools/idf_tools.py install {machine.package}, or set MWW_QEMU to its path"
    raise QemuMissingError(message, hint=hint)


def version_of(program: str) -> str:
    """A QEMU's version, such as `9.2.2 (esp_develop_9.2.2_20250817)`; empty where it prints none."""
    return next(iter(_ask(program, "--version").splitlines()), "").removeprefix("QEMU emulator version ").strip()


def _candidates(machine: Machine) -> Iterator[str]:
    named = os.environ.get("MWW_QEMU")
    if named:
        places: list[str] = [str(Path(named) / machine.program) if Path(named).is_dir() else named]
    else:
        tools = Path(os.environ.get("IDF_TOOLS_PATH") or "~/.espressif").expanduser() / "tools" / machine.package
        installed = sorted(tools.glob(f"*/qemu/bin/{machine.program}"), key=_age)
        places = [machine.program, *map(str, installed)]
    return (result for place in places if (result := shutil.which(place)) is not None)


def _has(program: str, chip: str) -> bool:
    """Whether a QEMU has a chip; true for a QEMU that does not list its machines."""
    listed = [line.split()[0] for line in _ask(program, "-M", "help").splitlines()[1:] if line.strip()]
    return not listed or chip in listed


def _ask(program: str, *words: str) -> str:
    quiet = subprocess.DEVNULL
    try:
        done = subprocess.run(
            [program, *words], stdin=quiet, capture_output=True, text=True, timeout=_ANSWER_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _age(path: Path) -> float:
    """A sort key, newest first."""
    return -path.stat().st_mtime
