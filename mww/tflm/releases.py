"""The runtimes there are figures for, by name, and which ESPHome release builds with which.

The pins stand in `contract`, the figures in `tflm`; here they are put in order and looked up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from mww.core.errors import UnknownRuntimeError, UsageError
from mww.esphome.contract import (
    CHIPS,
    DEFAULT_RUNTIME,
    ESPHOME_PINS,
    ESPHOME_VERSION,
    NEWEST_ESP_NN,
    EsphomePins,
    RuntimeVersions,
)
from mww.tflm.esp_nn import KERNELS
from mww.tflm.runtime import ESP_TFLITE_MICRO, find_runtime

_TFLITE_MICRO: Final = "esp-tflite-micro"
_ESP_NN: Final = "esp-nn"
_PART: Final = re.compile(rf"(?:({_TFLITE_MICRO}|{_ESP_NN})=)?(\d[\w.~+-]{{0,40}})", re.ASCII)
_OLDEST_WITH_DEFAULT: Final = "1.1.0"
"""esp-tflite-micro 1.3.3~1 asks for esp-nn ^1.1.0 (`idf_component.yml`)."""
_RELEASE: Final = re.compile(r"(\d{4})\.(\d{1,2})\.(\d{1,3})(?:b(\d{1,3})|(-?dev\d*))?", re.ASCII)
_FINAL: Final = 1000  # after every beta


@dataclass(frozen=True, slots=True)
class Build:
    """What building with an ESPHome release gives.

    Attributes:
        esphome: The release, or `from` the first of those that give the same.
        runtime: The library versions.
        pinned: Whether the release fixes both; else esp-nn depends on the day of the build.
        probes: Whether a model that needs more than its manifest says is tried with up to twice that.
    """

    esphome: str
    runtime: RuntimeVersions
    pinned: bool
    probes: bool


def known_runtimes() -> tuple[RuntimeVersions, ...]:
    """Every pair of versions that a release of ESPHome builds with, or could; oldest first.

    That is every esp-nn with the esp-tflite-micro that ESPHome pins, and the newest with every esp-tflite-micro since.
    """
    esp_nn = list(KERNELS)
    with_default = esp_nn[esp_nn.index(_OLDEST_WITH_DEFAULT) :]
    pairs = {build.runtime for build in esphome_builds()}
    pairs |= {RuntimeVersions(DEFAULT_RUNTIME.esp_tflite_micro, version) for version in with_default}
    tflite_micro = list(ESP_TFLITE_MICRO)
    newer = tflite_micro[tflite_micro.index(DEFAULT_RUNTIME.esp_tflite_micro) + 1 :]
    pairs |= {RuntimeVersions(version, NEWEST_ESP_NN) for version in newer}
    return tuple(sorted(pairs, key=lambda pair: (tflite_micro.index(pair.esp_tflite_micro), esp_nn.index(pair.esp_nn))))


def parse_runtime(text: str) -> RuntimeVersions:
    """A runtime from `esp-nn=1.2.1`, `esp-tflite-micro=1.3.1`, both with a comma, or an esp-nn version alone.

    Raises:
        UsageError: It is none of these.
        UnknownRuntimeError: Nothing is known of a version.
    """
    parts = [_PART.fullmatch(part.strip()) for part in text.split(",")]
    found = {part[1] or _ESP_NN: part[2] for part in parts if part}
    if len(found) < len(parts):
        hint = "esp-nn=VERSION, esp-tflite-micro=VERSION, both with a comma, or all"
        raise UsageError(f"{text[:80]!r} names no runtime", hint=hint)
    versions = RuntimeVersions(
        found.get(_TFLITE_MICRO, DEFAULT_RUNTIME.esp_tflite_micro), found.get(_ESP_NN, DEFAULT_RUNTIME.esp_nn)
    )
    for chip in CHIPS:
        find_runtime(chip, versions)
    return versions


def told_runtime(versions: Iterable[tuple[str, str]]) -> RuntimeVersions | None:
    """The runtime among the versions that a board tells of itself; None where it is not ESP-IDF's."""
    told = dict(versions)
    if _TFLITE_MICRO not in told or _ESP_NN not in told:
        return None
    return RuntimeVersions(told[_TFLITE_MICRO], told[_ESP_NN])


def select_runtimes(names: Sequence[str], releases: Sequence[str] = ()) -> tuple[RuntimeVersions, ...]:
    """The runtimes that a user names, each once: by `parse_runtime`, `all`, or as what releases of ESPHome build with.

    None named gives the default alone.
    """
    found: list[RuntimeVersions] = []
    for name in names:
        found += known_runtimes() if name == "all" else (parse_runtime(name),)
    for release in releases:
        found += [build.runtime for build in builds_with(release)]
    return tuple(dict.fromkeys(found)) or (DEFAULT_RUNTIME,)


def esphome_builds() -> tuple[Build, ...]:
    """What the releases of ESPHome build with, oldest first; each stands for those up to the next."""
    return tuple(build for pins in ESPHOME_PINS for build in builds_of(pins, f"from {pins.since}"))


def builds_with(release: str) -> tuple[Build, ...]:
    """What building with one release of ESPHome gives: two builds where esp-nn is not pinned, then and today.

    Raises:
        UsageError: It is not a release number.
        UnknownRuntimeError: The release is older or newer than what is known.
    """
    key = release_key(release)
    first, last = ESPHOME_PINS[0].since, ESPHOME_VERSION
    if not release_key(first) <= key <= release_key(last):
        hint = f"{first} to {last} are; name the library versions with --runtime"
        raise UnknownRuntimeError(f"what ESPHome {release} pins is not known", hint=hint)
    pins = max((pins for pins in ESPHOME_PINS if release_key(pins.since) <= key), key=lambda p: release_key(p.since))
    return builds_of(pins, release)


def builds_of(pins: EsphomePins, name: str) -> tuple[Build, ...]:
    """The builds that pins allow, under the name of a release: two where esp-nn is not pinned, then and today."""
    versions = (pins.esp_nn,) if pins.esp_nn else (pins.esp_nn_then, NEWEST_ESP_NN)
    runtimes = [RuntimeVersions(pins.esp_tflite_micro, version) for version in versions]
    return tuple(Build(name, runtime, pins.esp_nn is not None, pins.probes) for runtime in runtimes)


def release_key(release: str) -> tuple[int, int, int, int]:
    """A release number as one that compares; a beta comes before its release.

    Raises:
        UsageError: It is none.
    """
    match = _RELEASE.fullmatch(release)
    if match is None or match[5]:
        raise UsageError(
            f"{release[:40]!r} is not a release of ESPHome", hint=f"such as {ESPHOME_VERSION} or 2026.4.0b2"
        )
    return int(match[1]), int(match[2]), int(match[3]), int(match[4]) if match[4] else _FINAL
