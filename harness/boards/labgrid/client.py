"""Calls labgrid's command line for what a lease needs.

labgrid is never imported: it brings its own pyserial, so it is installed in a separate environment.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from harness.boards.claims import LeaseError
from harness.boards.labgrid.address import LabAddress
from mww.core.errors import MwwError
from mww.core.yaml_reader import parse_yaml

_ANSWER_SECONDS: Final = 20.0
_SERIAL: Final = "NetworkSerialPort"
_TOKEN: Final = re.compile(r"Reservation '(\w+)':")
_OTHERS: Final = ("LG_ENV", "LG_PLACE", "PLACE", "LG_STATE", "STATE", "LG_TOKEN", "LG_INITIAL_STATE", "PYTHONPATH")
"""Environment variables of the user that would change what labgrid does."""


class LabgridMissingError(MwwError):
    """labgrid's command line is not installed."""

    code = "labgrid-missing"


@dataclass(frozen=True, slots=True)
class Place:
    """A place of a lab, as the coordinator reports it.

    Attributes:
        name: Unique in the lab.
        tags: Each `key=value`.
        holder: The `host/user` that has acquired it; empty when it is free.
        reservation: The token of the reservation that it was given to; empty without.
        changed: When it last changed, as text: only whether it stays the same means something.
    """

    name: str
    tags: frozenset[str]
    holder: str
    reservation: str
    changed: str


def matching(places: Iterable[Place], address: LabAddress) -> tuple[Place, ...]:
    """The places that have all tags of an address."""
    return tuple(place for place in places if place.tags.issuperset(address.tags))


def find_client() -> str:
    """The `labgrid-client` to call: what `MWW_LABGRID` names, else the one in the path.

    Raises:
        LabgridMissingError: It does not exist.
    """
    name = os.environ.get("MWW_LABGRID") or "labgrid-client"
    program = shutil.which(name)
    if program is None:
        hint = "pip install labgrid in an environment of its own; MWW_LABGRID names its labgrid-client"
        raise LabgridMissingError(f"there is no {name}", hint=hint)
    return program


@dataclass(frozen=True, slots=True)
class LabgridClient:
    """The command line for a lab and, to acquire a place, for a `host/user`."""

    address: LabAddress
    host: str = ""
    user: str = ""
    _program: str = field(default_factory=find_client)

    def places(self) -> tuple[Place, ...]:
        """All places of the lab that have the tags.

        Raises:
            LeaseError: The coordinator cannot be reached.
        """
        return matching(self.all_places(), self.address)

    def all_places(self) -> tuple[Place, ...]:
        """All places of the lab; see `places`."""
        return tuple(_parse_places(self._run("-v", "places")))

    def reserve(self) -> tuple[str, bool]:
        """Reserve a place with the tags; gives the reservation's token, and whether it already has a place.

        labgrid drops a reservation that nobody polls for 60 seconds, unless its place is acquired.
        """
        message = self._run("reserve", *self.address.tags)
        token = _TOKEN.search(message)
        if token is None:
            hint = "the command line of labgrid 26.0 is understood"
            raise LeaseError("the output of labgrid-client reserve has an unknown form", hint=hint)
        return token[1], "state: allocated" in message

    def wait(self, token: str) -> subprocess.Popen[bytes]:
        """Start a process that polls a reservation, and ends when the reservation has a place."""
        quiet = subprocess.DEVNULL
        return subprocess.Popen(
            self._words("wait", token), stdin=quiet, stdout=quiet, stderr=quiet, env=self._environment()
        )

    def acquire(self, token: str) -> None:
        """Acquire the place of a reservation."""
        self._run("-p", f"+{token}", "acquire")

    def serial_port(self, token: str) -> tuple[str, str]:
        """The acquired place, and its serial port as pyserial opens it.

        Raises:
            LeaseError: The place has no serial port, or several.
        """
        text = self._run("-p", f"+{token}", "env")
        hint = "the command line of labgrid 26.0 is understood"
        document = parse_yaml(text.encode(), "what labgrid-client env says", LeaseError, hint)
        try:
            ((place, target),) = document["targets"].items()  # type: ignore[index]
            ports = [port for resource in target["resources"] for kind, port in resource.items() if kind == _SERIAL]
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise LeaseError("labgrid-client env has an unknown form", hint=hint) from error
        if len(ports) != 1 or not ports[0].get("port"):
            hint = "its match must name one, such as EXPORTER/GROUP/NetworkSerialPort"
            raise LeaseError(f"place {place} of the lab has {len(ports)} serial ports", hint=hint)
        return str(place), _url(str(ports[0]["host"]), int(ports[0]["port"]), str(ports[0].get("protocol", "rfc2217")))

    def touch(self, place: str) -> None:
        """Update the time of the acquired place's last change, and nothing else."""
        self._run("-p", place, "allow", self._holder)

    def release(self, place: str) -> None:
        """Release the place that was acquired: its name, or `+TOKEN` of its reservation."""
        self._run("-p", place, "release-from", self._holder)

    def release_from(self, place: Place) -> None:
        """Release a place, if its holder is still the same."""
        self._run("-p", place.name, "release-from", place.holder)

    def cancel(self, token: str) -> None:
        """End a reservation."""
        self._run("cancel-reservation", token)

    @property
    def _holder(self) -> str:
        return f"{self.host}/{self.user}"

    def _words(self, *words: str) -> list[str]:
        return [self._program, "-x", self.address.coordinator, *words]

    def _environment(self) -> dict[str, str]:
        environment = {name: value for name, value in os.environ.items() if name not in _OTHERS}
        return environment | ({"LG_HOSTNAME": self.host, "LG_USERNAME": self.user} if self.user else {})

    def _run(self, *words: str) -> str:
        hint = f"is LG_COORDINATOR right, and does it run? labgrid-client -x {self.address.coordinator} places"
        try:
            done = subprocess.run(
                self._words(*words),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_ANSWER_SECONDS,
                env=self._environment(),
                check=False,
            )
        except OSError as error:
            raise LeaseError(
                f"cannot run {self._program}: {error.strerror}", hint="MWW_LABGRID names the labgrid-client to run"
            ) from error
        except subprocess.TimeoutExpired as error:
            raise LeaseError(f"the lab's coordinator {self.address.coordinator} does not answer", hint=hint) from error
        if done.returncode != 0:
            message = (done.stderr or done.stdout).strip().splitlines()
            raise LeaseError(f"labgrid-client fails: {message[-1] if message else ' '.join(words)}", hint=hint)
        return done.stdout


def _parse_places(text: str) -> Iterator[Place]:
    for block in re.split(r"^Place '", text, flags=re.MULTILINE)[1:]:
        name, _, rest = block.partition("':\n")
        reported = {key: value for key, _, value in (line.strip().partition(": ") for line in rest.splitlines())}
        tags = frozenset({f"name={name}", *reported.get("tags", "").split(", ")})
        holder = reported.get("acquired", "None").removeprefix("None")
        yield Place(name, tags, holder, reported.get("reservation", ""), reported.get("changed", ""))


def _url(host: str, port: int, protocol: str) -> str:
    """The URL that pyserial opens; an exporter's ser2net does not confirm control lines that a port does not have."""
    bracketed = f"[{host}]" if ":" in host else host
    return f"socket://{bracketed}:{port}" if protocol == "raw" else f"rfc2217://{bracketed}:{port}?ign_set_control"
