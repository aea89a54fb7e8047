"""The address of a board in a lab: tags of its place, `labgrid:board=esp32s3` or `labgrid://HOST:PORT/...`."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Final

from mww.core.errors import UsageError

LAB: Final = "labgrid:"
"""The start of the address of a board in a lab."""

DEFAULT_COORDINATOR: Final = "127.0.0.1:20408"
"""labgrid 26.0.1, remote/client.py: the coordinator without LG_COORDINATOR."""

_TAG: Final = re.compile(r"[a-z][a-z0-9_]+=[\w.+-]{1,100}", re.ASCII)
_COORDINATOR: Final = re.compile(r"(\[[\da-f:.]{2,45}\]|\w[\w.-]{0,252})(:\d{1,5})?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class LabAddress:
    """The places of a lab that match an address.

    Attributes:
        tags: Each `key=value`; a place must have them all. labgrid itself adds `name=PLACE`.
        coordinator: `host:port`; without the port it is labgrid's own.
    """

    tags: tuple[str, ...]
    coordinator: str

    def of_place(self, name: str) -> str:
        """The address of a place in the lab, as people type it."""
        return f"{LAB}//{self.coordinator}/name={name}"

    def __str__(self) -> str:
        return f"{', '.join(self.tags)} at {self.coordinator}"


def in_lab(port: str) -> bool:
    """Whether a port is an address in a lab, which gives the real port with the lease."""
    return port.startswith(LAB)


def parse_address(text: str) -> LabAddress:
    """Read an address; the default coordinator is `LG_COORDINATOR`, as for labgrid itself.

    Raises:
        UsageError: It is not an address in a lab.
    """
    rest = text.removeprefix(LAB)
    coordinator = os.environ.get("LG_COORDINATOR") or DEFAULT_COORDINATOR
    if rest.startswith("//"):
        coordinator, _, rest = rest[2:].partition("/")
    tags = tuple(rest.split(","))
    wrong = [tag for tag in tags if not _TAG.fullmatch(tag)]
    if not text.startswith(LAB) or wrong or not _COORDINATOR.fullmatch(coordinator):
        hint = f"such as {LAB}board=esp32s3, {LAB}name=PLACE or {LAB}//HOST:PORT/board=esp32s3,psram=octal"
        raise UsageError(f"{text} names no boards of a lab", hint=hint)
    return LabAddress(tags, coordinator)
