"""The releases of ESPHome that are known, from `releases.toml`: what each builds with, and which is the newest.

`python -m tools.update_releases` brings the file up to date. Nothing is read before it is asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from mww.core.errors import UsageError
from mww.core.resources import read_toml
from mww.esphome.release_source import ReleaseFacts

DATA: Final = Path(__file__).with_name("releases.toml")

_RELEASE: Final = re.compile(r"(\d{4})\.(\d{1,2})\.(\d{1,3})(?:b(\d{1,3})|(-?dev\d*))?", re.ASCII)
_FINAL: Final = 1000  # after every beta


@dataclass(frozen=True, slots=True)
class Release:
    """What ESPHome builds with from one release on, until the next entry.

    Attributes:
        since: The first release.
        facts: What its source says.
        esp_nn_then: The newest esp-nn when the release came out, where it pins none; else None.
    """

    since: str
    facts: ReleaseFacts
    esp_nn_then: str | None


@cache
def known_releases() -> tuple[Release, ...]:
    """The entries of `releases.toml`, oldest first; the first is the first release that takes version 2 manifests."""
    return tuple(map(_release, _data()["release"]))


@cache
def read_releases() -> tuple[str, ...]:
    """The releases whose own source the entries come from, oldest first."""
    return tuple(map(str, _data()["read"]))


def newest_release(python: tuple[int, int] | None = None) -> str:
    """The newest release that was read, or the newest that runs on a version of Python, such as (3, 11).

    Raises:
        UsageError: No release that was read runs on it.
    """
    for release in reversed(read_releases()):
        if python is None or python >= python_of(release):
            return release
    raise UsageError(f"no known ESPHome runs on Python {python}", hint="use Python 3.12 or newer")


def entry_of(release: str) -> Release | None:
    """The entry that holds for a release; None for one before the first entry."""
    entries = [entry for entry in known_releases() if release_key(entry.since) <= release_key(release)]
    return entries[-1] if entries else None


def python_of(release: str) -> tuple[int, int]:
    """The oldest Python that runs a release, as far as the data knows."""
    entry = entry_of(release)
    major, minor = (entry.facts.python if entry else "3.9").split(".")
    return int(major), int(minor)


def release_key(release: str) -> tuple[int, int, int, int]:
    """A release number in a form that compares; a beta comes before its release.

    Raises:
        UsageError: It is not a release number.
    """
    match = _RELEASE.fullmatch(release)
    if match is None or match[5]:
        raise UsageError(f"{release[:40]!r} is not a release of ESPHome", hint="such as 2026.10.0 or 2026.4.0b2")
    return int(match[1]), int(match[2]), int(match[3]), int(match[4]) if match[4] else _FINAL


def _release(entry: dict[str, Any]) -> Release:
    """An entry of the file, where no esp-nn means that the release pins none."""
    facts = {"esp_nn": None, **entry}
    since, esp_nn_then = facts.pop("since"), facts.pop("esp_nn_then", None)
    return Release(since, ReleaseFacts(**facts), esp_nn_then)


def _data() -> dict[str, Any]:
    return read_toml(DATA)
