"""The firmware's machine code on an emulated processor of each instruction set, without a chip around it.

`firmware/machine` has the program; docs/machine-code.md shows how to build it. The emulators are Debian's packages of
QEMU.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.targets.device import DeviceTarget, Housing, check_engine
from harness.targets.qemu.line import BadLine
from harness.targets.qemu.machine import QemuMissingError, version_of
from harness.targets.qemu.process import QemuProcess
from harness.targets.qemu.target import greet
from harness.targets.registry import TargetOptions
from harness.virtual.faults import Faults, Noise, parse_faults
from mww.core.errors import ImageError, UsageError
from mww.core.readable import open_regular, reading, shown

_KIND: Final = "machine"
_IMAGE: Final = "firmware.elf"
_LINK_FAULTS: Final = ("corrupt", "drop", "duplicate", "log", "detect", "seed")
_VARIABLE: Final = "MWW_MACHINE_IMAGE"
_MOST_BYTES: Final = 32 << 20
"""The largest ELF file; with debugging information it needs less than a tenth."""
_MEMORY: Final = 16 << 20
"""Bytes, from the machine's `memory` on."""
_ELF_HEADER: Final = struct.Struct("<4sBB10xHHIIIIIHHHHHH")
_ELF_SEGMENT: Final = struct.Struct("<IIIIIIII")
_ELF32_LITTLE: Final = (b"\x7fELF", 1, 1)
_EXECUTABLE: Final = 2
_LOADED: Final = 1


@dataclass(frozen=True, slots=True)
class BareMachine:
    """A processor with memory and a serial port, as QEMU emulates it.

    Attributes:
        name: Its instruction set, named like the toolchain files of `firmware/machine`.
        elf_machine: `e_machine` of its programs.
        memory: Address of its memory.
        program: QEMU's executable.
        words: Which machine, how the program `{image}` comes into its memory, and what an instruction takes:
            `firmware/machine` reads its counter by that.
        compiler: The cross compiler.
        library: A header of the C library for it.
        packages: Debian's packages of compiler, library and emulator; the headers of the C++ library are g++'s.
    """

    name: str
    elf_machine: int
    memory: int
    program: str
    words: tuple[str, ...]
    compiler: str
    library: str
    packages: tuple[str, ...]

    @property
    def apt_line(self) -> str:
        """The command that installs everything that it needs, from Debian's packages."""
        version = self._compiler_version()
        headers = "g++" if version is None else f"libstdc++-{version}-dev"
        return f"sudo apt-get install {' '.join(self.packages)} {headers}"

    def missing(self) -> tuple[str, ...]:
        """Programs and files that are missing on this computer."""
        missing = [name for name in (self.compiler, self.program) if shutil.which(name) is None]
        headers, version = [self.library], self._compiler_version()
        if version is not None:
            headers.append(f"/usr/include/c++/{version}")
        return tuple(missing + [path for path in headers if not Path(path).exists()])

    def _compiler_version(self) -> str | None:
        """The cross compiler's major version, which the C++ library's headers must have too; None if it is missing."""
        if shutil.which(self.compiler) is None:
            return None
        version = subprocess.run([self.compiler, "-dumpversion"], capture_output=True, text=True, check=False)
        return version.stdout.partition(".")[0].strip()

    def command(self, program: str, folder: Path, port: int) -> list[str]:
        """The command line that starts it, with its serial port at a port of the loopback interface."""
        words = [word.format(image=folder / _IMAGE) for word in self.words]
        serial = f"tcp:127.0.0.1:{port},server=on,wait=off,nodelay=on"
        return [program, *words, "-m", f"{_MEMORY >> 20}M", "-nodefaults", "-display", "none", "-serial", serial]


MACHINES: Final = (
    BareMachine(
        name="rv32imc",
        elf_machine=243,
        memory=0x8000_0000,
        program="qemu-system-riscv32",
        words=("-M", "virt", "-cpu", "rv32", "-bios", "none", "-kernel", "{image}", "-icount", "shift=0"),
        compiler="riscv64-unknown-elf-g++",
        library="/usr/lib/picolibc/riscv64-unknown-elf/include/stdio.h",
        packages=("gcc-riscv64-unknown-elf", "picolibc-riscv64-unknown-elf", "qemu-system-misc"),
    ),
    BareMachine(
        name="xtensa",
        elf_machine=94,
        memory=0x6000_0000,
        program="qemu-system-xtensa",
        words=(
            *("-M", "lx60-nommu", "-cpu", "lx106", "-device", "loader,file={image},cpu-num=0"),
            *("-icount", "shift=10"),
        ),
        compiler="xtensa-lx106-elf-g++",
        library="/usr/lib/xtensa-lx106-elf/include/stdio.h",
        packages=("gcc-xtensa-lx106", "picolibc-xtensa-lx106-elf", "qemu-system-misc"),
    ),
)


def open_target(name: str, options: TargetOptions) -> DeviceTarget:
    """Start `machine:rv32imc` or `machine:xtensa` with the program that `--machine-image` or MWW_MACHINE_IMAGE names.

    Raises:
        UsageError: The machine or its program is not known, the program is for the other, or an option has no meaning.
        QemuMissingError: QEMU is not installed.
        ImageError: The file is not a program for such a machine.
        QemuError: It does not start.
    """
    check_engine(options)
    machine = find_machine(name.partition(":")[2])
    for given, flag in ((options.baud, "--baud"), (options.chip, "--chip")):
        if given is not None:
            raise UsageError(f"{flag} has no meaning for a bare machine", hint=f"leave {flag} out")
    if not options.flash:
        raise UsageError("a new machine has no model", hint="leave --no-flash out")
    image = options.machine_image or os.environ.get(_VARIABLE)
    if not image:
        hint = f"--machine-image mww_machine.elf, or {_VARIABLE}; docs/machine-code.md says how to make one"
        raise UsageError(f"the machine {machine.name} has no program to run", hint=hint)
    content = _read(Path(image), machine)
    program = find_program(machine)
    faults = _link_faults(options)
    version = version_of(program)
    housing = Housing(kind=_KIND, versions=(("qemu", version),) if version else ())
    with ExitStack() as stack:
        files = {_IMAGE: content}
        process = stack.enter_context(QemuProcess(files, lambda *place: machine.command(program, *place)))
        port = process.port
        if faults.noisy:
            spoil = Noise(faults, "there").spoil, Noise(faults, "back").spoil
            port = stack.enter_context(BadLine(process.port, *spoil)).port
        target = greet(process, options, housing, f"check that {image} is the mww_machine of this version", port)
        target.own(stack.pop_all())
        return target


def _link_faults(options: TargetOptions) -> Faults:
    """The faults of the link; what goes wrong inside a virtual board cannot go wrong here."""
    faults = parse_faults(options.faults)
    inside = [text for text in options.faults if text.partition("=")[0] not in _LINK_FAULTS]
    if inside:
        hint = f"a bare machine has faults of the link: {', '.join(_LINK_FAULTS)}"
        raise UsageError(f"--fault {inside[0]} for a bare machine", hint=hint)
    return faults


def find_machine(name: str) -> BareMachine:
    """A machine by its name.

    Raises:
        UsageError: The machine is unknown.
    """
    for machine in MACHINES:
        if machine.name == name:
            return machine
    names = " or ".join(f"{_KIND}:{machine.name}" for machine in MACHINES)
    raise UsageError(f"a machine {shown(name)} does not exist", hint=names)


def find_program(machine: BareMachine) -> str:
    """QEMU's executable.

    Raises:
        QemuMissingError: It is not in the path.
    """
    program = shutil.which(machine.program)
    if program is None:
        raise QemuMissingError(f"{machine.program} is missing", hint=machine.apt_line)
    return program


def _read(path: Path, machine: BareMachine) -> bytes:
    """Read the program, which must be for this machine."""
    with reading(path, hint="give the mww_machine.elf"), open_regular(path) as stream:
        content = stream.read(_MOST_BYTES + 1)
    hint = "give the mww_machine.elf that cmake built; see docs/machine-code.md"
    made_for = _machine_of(content)
    if made_for is None:
        raise ImageError(f"{path} is not a program for a bare machine", hint=hint)
    if made_for != machine.elf_machine:
        other = next((each for each in MACHINES if each.elf_machine == made_for), None)
        which = f"for {other.name}" if other else "for another processor"
        raise UsageError(
            f"{path} is {which}, not {machine.name}", hint=f"--target {_KIND}:{other.name}" if other else hint
        )
    if not _fits_memory(content, machine):
        raise ImageError(f"{path} is truncated, or not for the memory of {machine.name}", hint=hint)
    return content


def _machine_of(content: bytes) -> int | None:
    """`e_machine` of a 32-bit program; None for another file."""
    if not _ELF_HEADER.size <= len(content) <= _MOST_BYTES:
        return None
    *kind, file_type, elf_machine = _ELF_HEADER.unpack_from(content)[:5]
    return int(elf_machine) if (*kind, file_type) == (*_ELF32_LITTLE, _EXECUTABLE) else None


def _fits_memory(content: bytes, machine: BareMachine) -> bool:
    """Whether all segments are in the file and fit into the machine's memory."""
    _, entry, at, _, _, _, size, count, *_ = _ELF_HEADER.unpack_from(content)[5:]
    if size != _ELF_SEGMENT.size or at + size * count > len(content):
        return False
    segments = [_ELF_SEGMENT.unpack_from(content, at + size * index) for index in range(count)]
    end, holds_entry = machine.memory + _MEMORY, False
    for kind, offset, start, _, in_file, in_memory, *_ in segments:
        if kind != _LOADED:
            continue
        if offset + in_file > len(content) or start < machine.memory or start + max(in_file, in_memory) > end:
            return False
        holds_entry = holds_entry or start <= entry < start + in_file
    return holds_entry
