"""Leases of a lab's boards: a keeper holds each, a separate process that ends with this process."""

from __future__ import annotations

import json
import logging
import os
import select
import subprocess
import time
from dataclasses import replace
from typing import Final

from harness.boards.claims import Claim, Holder, LeaseError
from harness.boards.inventory import Board
from harness.boards.labgrid.address import LabAddress, parse_address
from harness.boards.labgrid.client import LabgridClient, Place, find_client, matching
from harness.boards.labgrid.keeper import holder_name
from mww.core.children import start_child
from mww.core.errors import ErrorFacts, PortMissingError

_START_SECONDS: Final = 60.0
_QUEUE_SECONDS: Final = 600.0
_RELEASE_SECONDS: Final = 60.0
_TELL_SECONDS: Final = 10.0

_log = logging.getLogger(__name__)


class Lab:
    """The provider for boards whose port is an address in a lab."""

    patience = _START_SECONDS
    queue = _QUEUE_SECONDS

    def __init__(self) -> None:
        self._places: dict[str, tuple[Place, ...]] = {}

    def claim(self, board: Board, purpose: str) -> Claim:
        """See `LeaseProvider`; the lab shows the user and the host, without a purpose.

        Raises:
            LabgridMissingError: labgrid is not installed.
        """
        address = parse_address(board.port)
        find_client()  # so that a missing labgrid is reported here, not by the keeper
        return _KeptPlace(board, address)

    def holder(self, board: Board) -> Holder | None:
        """See `LeaseProvider`; a board is held when every place that matches it is held.

        This object asks each coordinator only once, at the first board that it is asked for.

        Raises:
            LabgridMissingError: labgrid is not installed.
            LeaseError: The coordinator cannot be reached.
            PortMissingError: No place fits.
        """
        address = parse_address(board.port)
        if address.coordinator not in self._places:
            self._places[address.coordinator] = LabgridClient(address).all_places()
        places = matching(self._places[address.coordinator], address)
        if not places:
            raise PortMissingError(f"no place of the lab has {address}", hint="labgrid-client -v places lists them")
        if not all(place.holder for place in places):
            return None
        longest = min(places, key=lambda place: place.changed)
        purpose = f"labgrid place {longest.name}" if len(places) == 1 else f"all {len(places)} places of the lab"
        return Holder(longest.name, 0, holder_name(longest.holder), longest.changed, purpose)


class _KeptPlace:
    """A claim: the keeper asks the lab while its standard input is open, and reports when it has the place.

    The board then takes the name of its place, since several places may match the tags.
    """

    def __init__(self, board: Board, address: LabAddress) -> None:
        self._board, self._address = board, address
        self._said, self._tell_at = b"", time.monotonic() + _TELL_SECONDS
        keeper, words = "harness.boards.labgrid.keeper", (address.coordinator, *address.tags)
        self._process: subprocess.Popen[bytes] | None = start_child(keeper, *words, stderr=subprocess.DEVNULL)

    def poll(self) -> Board | None:
        """See `Claim`.

        Raises:
            MwwError: The lab's error.
        """
        if self._process is None or self._process.stdout is None:
            raise LeaseError("the place was given back", hint="lease the board again")
        if not select.select([self._process.stdout], [], [], 0)[0]:
            if time.monotonic() > self._tell_at:
                self._tell_at = float("inf")
                _log.warning("waiting for a place of the lab with %s", self._address)
            return None
        piece = os.read(self._process.stdout.fileno(), 4096)
        self._said += piece
        if piece and not self._said.endswith(b"\n"):
            return None
        try:
            document = json.loads(self._said)
        except ValueError:
            raise LeaseError(
                "the process that keeps the lab's place ended", hint="run labgrid-client reserve by hand to see why"
            ) from None
        if "error" in document:
            raise LeaseError.from_facts(ErrorFacts.from_json(document["error"]))
        return replace(self._board, id=self._address.of_place(document["place"]), port=str(document["port"]))

    def release(self) -> None:
        """See `Claim`; waits until the lab has the place back."""
        process, self._process = self._process, None
        if process is None or process.stdin is None or process.stdout is None:
            return
        process.stdin.close()
        try:
            process.wait(_RELEASE_SECONDS)
        except subprocess.TimeoutExpired:
            _log.warning("the lab has not taken the place back yet; process %d keeps trying", process.pid)
        process.stdout.close()

    def forget(self) -> None:
        """Close this process' end of the keeper's standard input."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()
