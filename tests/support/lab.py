"""A lab on loopback: labgrid's coordinator, and for each board an exporter with ser2net in front of a virtual one."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import yaml

from harness.virtual.process import VirtualBoard
from tests.support.labgrid_env import labgrid_programs
from tests.support.waiting import PATIENCE, wait_for


class Lab:
    """A lab that runs; each place is called `place-N` and has the tag `board=CHIP`."""

    def __init__(self, coordinator: str, folder: Path) -> None:
        self.coordinator = coordinator
        self._folder = folder

    def client(self, *words: str) -> str:
        """Run labgrid-client and return what it prints."""
        command = [str(labgrid_programs() / "labgrid-client"), "-x", self.coordinator, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE).stdout

    def holders(self) -> list[str]:
        """Who has each place, `None` where nobody does."""
        lines = self.client("-v", "places").splitlines()
        return [line.partition(": ")[2] for line in lines if line.strip().startswith("acquired: ")]

    def wait_until_free(self) -> None:
        """Wait until nobody has a place."""
        wait_for(lambda: set(self.holders()) == {"None"}, "a free lab")


@contextmanager
def lab(folder: Path, chips: Sequence[str]) -> Iterator[Lab]:
    """Start a lab with a virtual board of each chip, each behind an exporter of its own."""
    with ExitStack() as stack:
        port = _free_port()
        running = Lab(f"127.0.0.1:{port}", folder)
        _start(stack, folder, "coordinator", "-l", running.coordinator)
        wait_for(lambda: _listens(port))
        for number, chip in enumerate(chips):
            board = stack.enter_context(VirtualBoard(chip, transport="pty"))
            resources = {"bench": {"RawSerialPort": {"port": board.port, "speed": 921600}}}
            file = folder / f"exporter-{number}.yaml"
            file.write_text(yaml.safe_dump(resources))
            name = ("--name", f"host-{number}", "--hostname", "127.0.0.1")
            _start(stack, folder, "exporter", "-c", running.coordinator, *name, str(file))
            place = ("-p", f"place-{number}")
            running.client(*place, "create")
            running.client(*place, "set-tags", f"board={chip}")
            running.client(*place, "add-match", f"host-{number}/bench/NetworkSerialPort")
        wait_for(lambda: running.client("resources").count("NetworkSerialPort") == len(chips))
        yield running


def _start(stack: ExitStack, folder: Path, program: str, *words: str) -> None:
    with (folder / "labgrid.log").open("ab") as log:
        process = subprocess.Popen(
            [str(labgrid_programs() / f"labgrid-{program}"), *words],
            cwd=folder,  # where the coordinator keeps its places
            stdout=log,
            stderr=log,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        )
    stack.callback(process.wait, PATIENCE)
    stack.callback(process.terminate)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
