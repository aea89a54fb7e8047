"""The known releases of ESPHome: their libraries, and the facts about micro_wake_word in their source.

`releases.toml` holds them; `python -m tools.update_releases` reads the source of new ones and adds them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from mww.core.errors import EsphomeError, UsageError
from mww.core.resources import read_toml

_COMPONENT: Final = "esphome/components/micro_wake_word"
_PIN: Final = re.compile(
    r'add_idf_component\(\s*name="(?:espressif/)?(esp-tflite-micro|esp-nn)",\s*(?:repo="[^"]*",\s*)?ref="v?([^"]+)"'
)
"""The two forms over ESPHome's releases: a git tag such as v1.3.3.1, and the component registry's 1.3.3~1."""
_IDF: Final = (
    re.compile(r'ESP_IDF_FRAMEWORK_VERSION_LOOKUP = \{\s*"recommended": cv\.Version\((\d+), (\d+), (\d+)'),
    re.compile(r"RECOMMENDED_ESP_IDF_FRAMEWORK_VERSION = cv\.Version\((\d+), (\d+), (\d+)"),
)
_PYTHON: Final = re.compile(r"^Requires-Python: .*?>=\s*(\d+\.\d+)", re.MULTILINE)
_OWN_TOOLCHAIN: Final = re.compile(
    r'value\.get\(CONF_TOOLCHAIN, Toolchain\.ESP_IDF\)|resolve_toolchain\(\s*"ESP32",[^)]*Toolchain\.ESP_IDF\s*\)'
)
"""How 2026.7 and 2026.8, and releases from 2026.9 on, say that ESP-IDF's own tools build by default."""

DATA: Final = Path(__file__).with_name("releases.toml")

_RELEASE: Final = re.compile(r"(\d{4})\.(\d{1,2})\.(\d{1,3})(?:b(\d{1,3})|(-?dev\d*))?", re.ASCII)
_FINAL: Final = 1000  # after every beta


@dataclass(frozen=True, slots=True)
class ReleaseFacts:
    """The facts that a release fixes.

    Attributes:
        esp_tflite_micro: The version of espressif/esp-tflite-micro.
        esp_nn: The version of espressif/esp-nn; None where ESP-IDF's component manager takes the newest 1.x on the day
            of the build.
        probes: Whether a model that does not load in the manifest's size is tried with more (`probe_arena_size_`).
        runtime_models: Whether models can be added at run time (`add_runtime_model`).
        python: The oldest Python that runs it, such as `3.12`.
        esp_idf: The ESP-IDF that it recommends, such as `5.5.6`.
        toolchain: What builds by default: `platformio`, or ESP-IDF's own (`esp-idf`).
    """

    esp_tflite_micro: str
    esp_nn: str | None
    probes: bool
    runtime_models: bool
    python: str
    esp_idf: str
    toolchain: str


def read_release(release: str, metadata: str, read: Callable[[str], str]) -> ReleaseFacts:
    """Read the facts of a release.

    Args:
        release: Its number, for messages.
        metadata: The package's METADATA.
        read: Gives the text of a file by its path in the package, such as `esphome/components/esp32/__init__.py`.

    Raises:
        EsphomeError: The source pins its libraries in a form that is not known.
        OSError, KeyError: As `read` raises them.
    """
    component = read(f"{_COMPONENT}/__init__.py")
    esp32 = read("esphome/components/esp32/__init__.py")
    versions = {name: re.sub(r"^(\d+\.\d+\.\d+)\.", r"\1~", version) for name, version in _PIN.findall(component)}
    idf = next((match for pattern in _IDF if (match := pattern.search(esp32))), None)
    python = _PYTHON.search(metadata)
    if "esp-tflite-micro" not in versions or idf is None or python is None:
        hint = "name the library versions with --runtime"
        raise EsphomeError(f"ESPHome {release} pins its libraries in a form that is not known", hint=hint)
    return ReleaseFacts(
        esp_tflite_micro=versions["esp-tflite-micro"],
        esp_nn=versions.get("esp-nn"),
        probes="probe_arena_size_" in read(f"{_COMPONENT}/streaming_model.h"),
        runtime_models="add_runtime_model" in read(f"{_COMPONENT}/micro_wake_word.h"),
        python=python[1],
        esp_idf=".".join(idf.groups()),
        toolchain="esp-idf" if _OWN_TOOLCHAIN.search(esp32) else "platformio",
    )


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
    """The entry for a release; None for a release before the first entry."""
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
