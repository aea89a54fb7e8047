"""The process that holds a place of a lab for another process, and gives it back when that process ends in any way.

labgrid keeps a place acquired until a client releases it. So the keeper outlives a run that is killed, by the second
that it takes; and should its whole host die, the place stops changing, by which the next who waits for it can tell.
"""

from __future__ import annotations

import json
import re
import secrets
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from types import FrameType
from typing import Final, NoReturn, TypeVar

from harness.boards.claims import LeaseError
from harness.boards.labgrid.address import LabAddress
from harness.boards.labgrid.client import LabgridClient, Place
from harness.serial.ports import current_user
from mww.core.errors import MwwError, PortMissingError

_Argument = TypeVar("_Argument")

STALE_SECONDS: Final = 120.0
"""How long a place that a keeper holds may stay unchanged before a waiting process releases it."""

_BEAT_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.2
_PORT_SECONDS: Final = 15.0  # until an exporter that has started its server has reported it to the coordinator
_MARK: Final = ".mww-"
_STDIN: Final = 0


class Staleness:
    """Finds places whose keeper is gone: their time of change stands still.

    Clocks of different hosts are never compared.
    """

    def __init__(self, client: LabgridClient) -> None:
        self._client = client
        self._seen: dict[str, tuple[Place, float]] = {}

    def free(self, now: float) -> None:
        """Release the places that a keeper acquired and that have not changed for `STALE_SECONDS`.

        Raises:
            PortMissingError: No place has the tags.
        """
        places = self._client.places()
        if not places:
            raise PortMissingError(f"no place of the lab has {self._client.address}", hint="labgrid-client -v places")
        for place in places:
            before, since = self._seen.get(place.name, (None, now))
            if before != place:
                self._seen[place.name] = place, now
            elif _MARK in place.holder and now - since >= STALE_SECONDS:
                if place.reservation:  # in the order of `_give_back`
                    quietly(self._client.cancel, place.reservation)
                quietly(self._client.release_from, place)


def unique_user() -> str:
    """A user name for a single lease: labgrid lets all processes of one user share a place."""
    return re.sub(r"[^\w.-]", "_", current_user()) + _MARK + secrets.token_hex(3)


def holder_name(holder: str) -> str:
    """A `host/user` of the coordinator, as text for people."""
    host, _, user = holder.partition("/")
    return f"{user.partition(_MARK)[0]} on {host}"


def main(words: list[str]) -> NoReturn:
    """Hold a place, with the coordinator and tags in `words`, until standard input ends; report it as JSON."""
    signal.signal(signal.SIGTERM, _end)
    coordinator, *tags = words
    try:
        _keep(LabgridClient(LabAddress(tuple(tags), coordinator), socket.gethostname(), unique_user()))
    except MwwError as error:
        _say({"error": error.facts.to_json()})
    sys.exit()


def _keep(client: LabgridClient) -> None:
    token, is_ready = client.reserve()
    place = ""
    try:
        if not is_ready:
            _wait(client, token)
        place = f"+{token}"  # labgrid's word for it until its name is known; acquiring may fail in the middle
        client.acquire(token)
        place, url = _serial_port(client, token)
        _say({"place": place, "port": url})
        while not _parent_gone(_BEAT_SECONDS):
            quietly(client.touch, place)
    finally:
        _give_back(client, token, place)


def _give_back(client: LabgridClient, token: str, place: str) -> None:
    """Cancel the reservation, then release the place, which labgrid 26.0 then gives to the next process at once.

    A place that is released while a reservation names it is given to the next only up to 15 seconds after (remote/
    coordinator.py: `schedule_reservations` clears the place's reservation after it has looked for free places).
    """
    if place.startswith("+"):  # only the reservation names it
        quietly(client.release, place)
    quietly(client.cancel, token)
    if place and not place.startswith("+"):
        quietly(client.release, place)


def _wait(client: LabgridClient, token: str) -> None:
    """Wait until the reservation has a place, or the parent is gone."""
    staleness = Staleness(client)
    staleness.free(time.monotonic())
    with ExitStack() as stack:
        waiting = client.wait(token)
        stack.callback(_stop, waiting)
        look_at = time.monotonic() + _LOOK_SECONDS
        while waiting.poll() is None:
            if _parent_gone(_POLL_SECONDS):
                sys.exit()
            if time.monotonic() >= look_at:
                staleness.free(time.monotonic())
                look_at = time.monotonic() + _LOOK_SECONDS


def _serial_port(client: LabgridClient, token: str) -> tuple[str, str]:
    """The place and its port, once the exporter has reported it to the coordinator."""
    deadline = time.monotonic() + _PORT_SECONDS
    while True:
        try:
            return client.serial_port(token)
        except LeaseError:
            if time.monotonic() > deadline:
                raise
        time.sleep(_POLL_SECONDS)


def _parent_gone(patience: float) -> bool:
    """Whether standard input ends within `seconds`; nothing is ever written to it."""
    return bool(select.select([_STDIN], [], [], patience)[0])


def quietly(call: Callable[[_Argument], object], argument: _Argument) -> None:
    """Call the lab and ignore a refusal: the coordinator may be away, or the place may have a new holder."""
    with suppress(MwwError):
        call(argument)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _say(document: dict[str, object]) -> None:
    with suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(document) + "\n")
        sys.stdout.flush()


def _end(signum: int, frame: FrameType | None) -> NoReturn:
    """Give everything back on SIGTERM too."""
    sys.exit()
