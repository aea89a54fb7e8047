"""The versions of esp-tflite-micro and esp-nn that are known, from `libraries.toml`, and what is known about each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal

from mww.core.errors import UnknownRuntimeError
from mww.core.resources import read_toml
from mww.esphome.contract import RuntimeVersions

ESP_TFLITE_MICRO: Final = "esp-tflite-micro"
ESP_NN: Final = "esp-nn"

Basis = Literal["measured", "read", "unseen"]
"""How the tables of a version are known; see `libraries.toml`."""

_DATA: Final = Path(__file__).with_name("libraries.toml")


@dataclass(frozen=True, slots=True)
class LibraryVersion:
    """A version of a library, the tables that hold for it, and how they are known."""

    version: str
    tables: str
    basis: Basis


@cache
def versions_of(library: str) -> dict[str, LibraryVersion]:
    """The known versions of a library by number, oldest first."""
    listed = read_toml(_DATA)[library]
    return {entry["version"]: LibraryVersion(**entry) for entry in listed}


def newest_version(library: str) -> str:
    """The newest known version: what a build takes that does not pin the library."""
    return list(versions_of(library))[-1]


def find_version(library: str, version: str) -> LibraryVersion:
    """Look up a version.

    Raises:
        UnknownRuntimeError: It is not known; the hint lists those that are.
    """
    known = versions_of(library)
    if version not in known:
        raise UnknownRuntimeError(f"{library} {version} is not known", hint=f"known: {', '.join(known)}")
    return known[version]


def basis_of(runtime: RuntimeVersions) -> Basis:
    """How the figures for a pair of versions are known: as the less certain of the two.

    Raises:
        UnknownRuntimeError: A version is not known.
    """
    order: tuple[Basis, ...] = ("measured", "read", "unseen")
    pair = (find_version(ESP_TFLITE_MICRO, runtime.esp_tflite_micro), find_version(ESP_NN, runtime.esp_nn))
    return max((version.basis for version in pair), key=order.index)
