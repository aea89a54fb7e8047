"""Pairs of library versions by name, and which release of ESPHome builds with which.

The releases stand in `mww.esphome.releases`, the libraries in `mww.tflm.runtime`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from mww.core.errors import UnknownRuntimeError, UsageError
from mww.esphome.chips import CHIP_NAMES
from mww.esphome.contract import DEFAULT_RUNTIME, RuntimeVersions
from mww.esphome.releases import Release, entry_of, known_releases, newest_release, release_key
from mww.tflm.runtime import ESP_NN, ESP_TFLITE_MICRO, find_runtime, newest_esp_nn, versions_of

_PART: Final = re.compile(rf"(?:({ESP_TFLITE_MICRO}|{ESP_NN})=)?(\d[\w.~+-]{{0,40}})", re.ASCII)
_OLDEST_WITH_DEFAULT: Final = "1.1.0"
"""esp-tflite-micro 1.3.3~1 asks for esp-nn ^1.1.0 (`idf_component.yml`)."""


@dataclass(frozen=True, slots=True)
class Build:
    """The libraries of a build with an ESPHome release.

    Attributes:
        esphome: The release, or `from` the first of those that give the same.
        runtime: The library versions.
        pinned: Whether the release fixes both; else esp-nn depends on the day of the build.
        probes: Whether a model that needs more than its manifest says is tried with up to twice that.
        assumed: Whether the release is newer than the data, so that the newest known pins stand for its own.
    """

    esphome: str
    runtime: RuntimeVersions
    pinned: bool
    probes: bool
    assumed: bool = False


def known_runtimes() -> tuple[RuntimeVersions, ...]:
    """Every pair of versions that a release of ESPHome builds with, or could; oldest first.

    That is every esp-nn with the esp-tflite-micro that ESPHome pins, and the newest with every esp-tflite-micro since.
    """
    esp_nn, tflite_micro = list(versions_of(ESP_NN)), list(versions_of(ESP_TFLITE_MICRO))
    with_default = esp_nn[esp_nn.index(_OLDEST_WITH_DEFAULT) :]
    pairs = {build.runtime for build in esphome_builds()}
    pairs |= {RuntimeVersions(DEFAULT_RUNTIME.esp_tflite_micro, version) for version in with_default}
    newer = tflite_micro[tflite_micro.index(DEFAULT_RUNTIME.esp_tflite_micro) + 1 :]
    pairs |= {RuntimeVersions(version, newest_esp_nn()) for version in newer}
    return tuple(sorted(pairs, key=lambda pair: (tflite_micro.index(pair.esp_tflite_micro), esp_nn.index(pair.esp_nn))))


def parse_runtime(text: str) -> RuntimeVersions:
    """A runtime from `esp-nn=1.2.1`, `esp-tflite-micro=1.3.1`, both with a comma, or an esp-nn version alone.

    Raises:
        UsageError: The text has another form.
        UnknownRuntimeError: A version is not known.
    """
    parts = [_PART.fullmatch(part.strip()) for part in text.split(",")]
    named = {part[1] or ESP_NN: part[2] for part in parts if part}
    if len(named) < len(parts):
        hint = "give esp-nn=VERSION, esp-tflite-micro=VERSION, both with a comma, or all"
        raise UsageError(f"{text[:80]!r} is not a runtime", hint=hint)
    versions = RuntimeVersions(
        named.get(ESP_TFLITE_MICRO, DEFAULT_RUNTIME.esp_tflite_micro), named.get(ESP_NN, DEFAULT_RUNTIME.esp_nn)
    )
    for chip in CHIP_NAMES:
        find_runtime(chip, versions)
    return versions


def runtime_among(versions: Iterable[tuple[str, str]]) -> RuntimeVersions | None:
    """The runtime among the versions that a board reports; None where it is not ESP-IDF's."""
    reported = dict(versions)
    if ESP_TFLITE_MICRO not in reported or ESP_NN not in reported:
        return None
    return RuntimeVersions(reported[ESP_TFLITE_MICRO], reported[ESP_NN])


def select_runtimes(names: Sequence[str], releases: Sequence[str] = ()) -> tuple[RuntimeVersions, ...]:
    """The runtimes that a user names, each once: by `parse_runtime`, `all`, or as what releases of ESPHome build with.

    Without a name or release: the default alone.
    """
    selected: list[RuntimeVersions] = []
    for name in names:
        selected += known_runtimes() if name == "all" else (parse_runtime(name),)
    for release in releases:
        selected += [build.runtime for build in builds_with(release)]
    return tuple(dict.fromkeys(selected)) or (DEFAULT_RUNTIME,)


def esphome_builds() -> tuple[Build, ...]:
    """What the releases of ESPHome build with, oldest first; each stands for those up to the next."""
    builds: list[tuple[Build, ...]] = []
    for release in known_releases():
        given = builds_of(release, f"from {release.since}")
        if not builds or [build.runtime for build in given] != [build.runtime for build in builds[-1]]:
            builds.append(given)
    return tuple(build for given in builds for build in given)


def builds_with(release: str) -> tuple[Build, ...]:
    """What building with one release of ESPHome gives: two builds where esp-nn is not pinned, then and today.

    For a release that is newer than the data, the newest known pins stand in, and the builds are `assumed`.

    Raises:
        UsageError: It is not a release number.
        UnknownRuntimeError: The release is older than the first that takes version 2 manifests.
    """
    entry = entry_of(release)
    if entry is None:
        hint = f"releases from {known_releases()[0].since} on are known; name the library versions with --runtime"
        raise UnknownRuntimeError(f"what ESPHome {release} pins is not known", hint=hint)
    return builds_of(entry, release, assumed=release_key(release) > release_key(newest_release()))


def assumed_warning(builds: Iterable[Build]) -> str | None:
    """A note about releases that are newer than the data; None where every release is known."""
    assumed = sorted({build.esphome for build in builds if build.assumed})
    if not assumed:
        return None
    return (
        f"ESPHome {', '.join(assumed)} is newer than the data, which ends at {newest_release()}: "
        "the figures are for the newest known library versions"
    )


def builds_of(release: Release, name: str, *, assumed: bool = False) -> tuple[Build, ...]:
    """The builds that a release's pins allow, under a name: two where esp-nn is not pinned, then and today."""
    facts = release.facts
    today = newest_esp_nn()
    versions = (facts.esp_nn,) if facts.esp_nn else tuple(dict.fromkeys((release.esp_nn_then or today, today)))
    runtimes = [RuntimeVersions(facts.esp_tflite_micro, version) for version in versions]
    return tuple(Build(name, runtime, facts.esp_nn is not None, facts.probes, assumed) for runtime in runtimes)


def slow_convolutions(runtime: RuntimeVersions) -> str | None:
    """Why every convolution of a pair of versions runs as reference code; None where none does.

    esp-nn from 1.2.3 on compares the filter's channels with the input's, and esp-tflite-micro before 1.3.7 passes 0.
    """
    known = list(versions_of(ESP_NN))
    if runtime.esp_nn not in known or known.index(runtime.esp_nn) < known.index("1.2.3"):
        return None
    if find_runtime("esp32s3", runtime).structs.passes_filter_channels:
        return None
    return (
        f"esp-nn {runtime.esp_nn} with esp-tflite-micro {runtime.esp_tflite_micro} runs every CONV_2D in reference "
        "code: right answers, 2 to 10 times slower"
    )
