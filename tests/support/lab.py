"""A lab on loopback: labgrid's coordinator, and for each board an exporter with ser2net in front of a virtual one."""

from __future__ import annotations

import json
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

_DESK = """
import json, sys, grpc
from labgrid.remote.generated import labgrid_coordinator_pb2 as messages, labgrid_coordinator_pb2_grpc as services
coordinator = services.CoordinatorStub(grpc.insecure_channel(sys.argv[1]))
for line in sys.stdin:
    places = coordinator.GetPlaces(messages.GetPlacesRequest()).places
    if line == "free\\n":
        for place in filter(lambda place: place.acquired, places):
            coordinator.ReleasePlace(messages.ReleasePlaceRequest(placename=place.name))
        for reservation in coordinator.GetReservations(messages.GetReservationsRequest()).reservations:
            coordinator.CancelReservation(messages.CancelReservationRequest(token=reservation.token))
    print(json.dumps({place.name: place.acquired for place in places}), flush=True)
"""
"""Asks the coordinator as often as a test likes: each start of labgrid-client takes half a second of processor time."""


class Lab:
    """A lab that runs; each place is called `place-N` and has the tag `board=CHIP`."""

    def __init__(self, coordinator: str, desk: subprocess.Popen[str]) -> None:
        self.coordinator = coordinator
        self._desk = desk

    def client(self, *words: str) -> str:
        """Run labgrid-client and return what it prints."""
        command = [str(labgrid_programs() / "labgrid-client"), "-x", self.coordinator, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE).stdout

    def holders(self) -> list[str]:
        """Who has each place, in the order of their names; empty where nobody does."""
        return self._ask("holders")

    def free(self) -> None:
        """Release all places and cancel all reservations."""
        self._ask("free")

    def wait_until_free(self) -> None:
        """Wait until nobody has a place."""
        wait_for(lambda: not any(self.holders()), "a free lab")

    def _ask(self, word: str) -> list[str]:
        assert self._desk.stdin and self._desk.stdout
        self._desk.stdin.write(f"{word}\n")
        self._desk.stdin.flush()
        places: dict[str, str] = json.loads(self._desk.stdout.readline())
        return [places[name] for name in sorted(places)]


@contextmanager
def lab(folder: Path, chips: Sequence[str]) -> Iterator[Lab]:
    """Start a lab with a virtual board of each chip, each behind an exporter of its own."""
    (folder / "places.yaml").write_text(yaml.safe_dump(dict(map(_place, range(len(chips)), chips))))
    with ExitStack() as stack:
        port = _free_port()
        coordinator = f"127.0.0.1:{port}"
        _start(stack, folder, "coordinator", "-l", coordinator)
        for number, chip in enumerate(chips):
            board = stack.enter_context(VirtualBoard(chip, transport="pty"))
            resources = {"bench": {"RawSerialPort": {"port": board.port, "speed": 921600}}}
            file = folder / f"exporter-{number}.yaml"
            file.write_text(yaml.safe_dump(resources))
            wait_for(lambda: _listens(port))
            name = ("--name", f"host-{number}", "--hostname", "127.0.0.1")
            _start(stack, folder, "exporter", "-c", coordinator, *name, str(file))
        running = Lab(coordinator, _start_desk(stack, coordinator))
        wait_for(lambda: running.client("resources").count("NetworkSerialPort") == len(chips))
        yield running


def _place(number: int, chip: str) -> tuple[str, dict[str, object]]:
    """A place as the coordinator writes it into its folder, and reads it when it starts."""
    match = {"exporter": f"host-{number}", "group": "bench", "cls": "NetworkSerialPort", "name": None, "rename": None}
    return f"place-{number}", {"tags": {"board": chip}, "matches": [match]}


def _start_desk(stack: ExitStack, coordinator: str) -> subprocess.Popen[str]:
    words = [str(labgrid_programs() / "python"), "-c", _DESK, coordinator]
    pipe = subprocess.PIPE
    desk = stack.enter_context(subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True, env=_environment()))
    stack.callback(desk.terminate)
    return desk


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def _start(stack: ExitStack, folder: Path, program: str, *words: str) -> None:
    with (folder / "labgrid.log").open("ab") as log:
        process = subprocess.Popen(
            [str(labgrid_programs() / f"labgrid-{program}"), *words],
            cwd=folder,  # where the coordinator keeps its places
            stdout=log,
            stderr=log,
            env=_environment(),
        )
    stack.callback(process.wait, PATIENCE)
    stack.callback(process.terminate)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
