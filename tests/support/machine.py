"""The firmware as a program for a bare machine: built once a session, and started in QEMU behind a line with noise."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.link.client import LinkClient
from harness.link.session import Timing
from harness.targets.machine import BareMachine, find_machine
from harness.targets.qemu.line import BadLine
from harness.targets.qemu.process import QemuProcess
from harness.virtual import hostlib
from mww.core.resources import firmware_dir
from mww.core.scratch import scratch_folder
from tests.support.host_board import Noise, frames_of
from tests.support.partition import read_partition
from tests.support.waiting import PATIENCE

CHAIN_ENGINES = firmware_dir() / "host" / "test" / "engines" / "chain_engines.h"
PATIENT = Timing(hello=PATIENCE, silence=PATIENCE, stall=PATIENCE, timeout=PATIENCE)
"""For an emulated processor on a busy computer."""
FAST = Timing(hello=PATIENCE)
"""For what shall end in silence."""


def needs_machine(name: str) -> BareMachine:
    """The machine; the test is skipped where its compiler, C library or emulator is missing."""
    machine = find_machine(name)
    if missing := machine.missing():
        pytest.skip(f"{missing[0]} is missing: {machine.apt_line}")
    return machine


def build_machine(machine: BareMachine, build: Path, *definitions: str) -> Path:
    """Build its program, with every warning an error; the test fails with the compiler's output."""
    source, toolchain = firmware_dir() / "host", firmware_dir() / "machine" / f"{machine.name}.cmake"
    commands = (
        hostlib.configure_command(source, build, *definitions, toolchain=toolchain),
        hostlib.build_command(build, "mww_machine"),
    )
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return build / "mww_machine.elf"


@cache
def chain_program(name: str) -> bytes:
    """The program with the tests' own engine, built once a process."""
    machine = needs_machine(name)
    with scratch_folder("mww-machine-") as folder:
        return build_machine(machine, folder, f"MWW_MACHINE_ENGINES={CHAIN_ENGINES}").read_bytes()


class MachineBoard:
    """A machine that runs, as the link's tests look at a board."""

    def __init__(self, process: QemuProcess, line: BadLine, noise: Noise) -> None:
        self.process = process
        self.port = line.port
        self.partition = b"in its memory"
        self.client: LinkClient | None = None
        self.noise = noise

    @property
    def board(self) -> MachineBoard:
        return self

    @property
    def engine(self) -> SimpleNamespace:
        assert self.client is not None
        return SimpleNamespace(inferences=self.client.stats().inferences)


@contextmanager
def running(name: str, content: bytes, noise: Noise | None = None) -> Iterator[MachineBoard]:
    """Start a program on a machine, at the end of a line with noise."""
    machine, noise = find_machine(name), noise or Noise()
    program = shutil.which(machine.program) or machine.program
    with (
        QemuProcess({"firmware.elf": content}, lambda *place: machine.command(program, *place)) as process,
        BadLine(process.port, _Cut(noise).spoil, _Cut(noise).spoil) as line,
    ):
        yield MachineBoard(process, line, noise)


@contextmanager
def connections(name: str) -> Iterator[Callable[..., tuple[LinkClient, MachineBoard]]]:
    """What the link's tests connect with; the models of `partition` are uploaded first, over the clean line."""
    with ExitStack() as stack:

        def connect(
            *,
            partition: bytes = b"",
            noise: Noise | None = None,
            timing: Timing | None = None,
            ends_in_silence: bool = False,
        ) -> tuple[LinkClient, MachineBoard]:
            quiet = Noise(noise.seed) if noise else Noise()
            board = stack.enter_context(running(name, chain_program(name), quiet))
            client = stack.enter_context(
                LinkClient.connect(board.port, timing=timing or (FAST if ends_in_silence else PATIENT))
            )
            for slot, record in enumerate(read_partition(bytes(partition))):
                if record is not None:
                    client.upload(slot, record)
            if noise is not None:
                for kind in ("corrupt", "drop", "duplicate", "log", "log_inside"):
                    setattr(quiet, kind, getattr(noise, kind))
            board.client = client
            return client, board

        yield connect


class _Cut:
    """One direction: the frames of a stream, each disturbed once it is whole."""

    def __init__(self, noise: Noise) -> None:
        self._noise = noise
        self._held = b""

    def spoil(self, data: bytes) -> bytes:
        *whole, self._held = (self._held + data).split(b"\0")
        return b"".join(self._noise.disturb(frame) for part in whole for frame in frames_of(part))
