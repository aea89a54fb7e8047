"""Runtimes by name, and what releases of ESPHome build with."""

from __future__ import annotations

import re

import pytest

from mww.core.errors import MwwError, UnknownRuntimeError, UsageError
from mww.esphome.chips import CHIP_NAMES
from mww.esphome.contract import DEFAULT_RUNTIME, RuntimeVersions
from mww.esphome.releases import known_releases, newest_release, read_releases, release_key
from mww.tflm.builds import (
    assumed_warning,
    builds_with,
    esphome_builds,
    known_runtimes,
    parse_runtime,
    select_runtimes,
    slow_convolutions,
)
from mww.tflm.runtime import basis_of, find_runtime, newest_esp_nn

NEWEST_ESP_NN = newest_esp_nn()


def test_the_newest_release_builds_with_the_default() -> None:
    (build,) = builds_with(newest_release())
    assert build.runtime == DEFAULT_RUNTIME
    assert build.pinned
    assert build.probes


@pytest.mark.parametrize(
    "release, esp_nn, probes",
    [
        ("2024.7.0", ["1.0.2", NEWEST_ESP_NN], False),
        ("2024.12.4", ["1.1.0"], False),
        ("2025.12.0", ["1.1.1", NEWEST_ESP_NN], False),
        ("2026.3.3", ["1.1.1", NEWEST_ESP_NN], False),
        ("2026.4.0b1", ["1.1.1", NEWEST_ESP_NN], False),
        ("2026.4.0b2", ["1.2.1"], True),
        ("2026.4.0b3", ["1.1.2"], True),
        ("2026.4.0", ["1.1.2"], True),
    ],
)
def test_a_release_builds_with_what_its_package_pins(release: str, esp_nn: list[str], probes: bool) -> None:
    builds = builds_with(release)
    assert [build.runtime.esp_nn for build in builds] == esp_nn
    assert all(build.probes == probes and build.pinned == (len(builds) == 1) for build in builds)


def test_the_data_are_in_order_and_name_what_was_read() -> None:
    for names in ([entry.since for entry in known_releases()], read_releases()):
        keys = [release_key(name) for name in names]
        assert keys == sorted(set(keys))
    assert {entry.since for entry in known_releases()} <= set(read_releases())
    assert release_key("2026.4.0b10") < release_key("2026.4.0") < release_key("2026.4.1")


def test_there_are_figures_for_every_known_runtime_on_every_chip() -> None:
    runtimes = known_runtimes()
    assert DEFAULT_RUNTIME in runtimes
    assert {build.runtime for build in esphome_builds()} <= set(runtimes)
    assert len(set(runtimes)) == len(runtimes)
    for runtime in runtimes:
        for chip in CHIP_NAMES:
            assert find_runtime(chip, runtime).versions == runtime


def test_a_release_before_version_2_manifests_is_an_error() -> None:
    with pytest.raises(UnknownRuntimeError, match=re.escape("2024.6.6")) as error:
        builds_with("2024.6.6")
    assert "2024.7.0" in str(error.value.hint)


def test_a_release_that_is_newer_than_the_data_gets_the_newest_pins_and_a_warning() -> None:
    (build,) = builds_with("2099.12.0")
    assert (build.runtime, build.assumed) == (DEFAULT_RUNTIME, True)
    assert "2099.12.0 is newer than the data" in str(assumed_warning([build]))
    assert assumed_warning(builds_with(newest_release())) is None


def test_newer_kernels_with_an_older_runtime_run_convolutions_in_reference_code() -> None:
    assert slow_convolutions(RuntimeVersions("1.3.3~1", "1.2.2")) is None
    assert "reference code" in str(slow_convolutions(RuntimeVersions("1.3.5", "1.2.3")))
    assert slow_convolutions(RuntimeVersions("1.3.7", "1.2.3")) is None
    assert "reference code" in str(slow_convolutions(RuntimeVersions("1.3.1", NEWEST_ESP_NN)))


def test_figures_say_how_they_are_known() -> None:
    assert basis_of(DEFAULT_RUNTIME) == "measured"
    assert basis_of(RuntimeVersions("1.3.4", "1.1.2")) == "read"
    assert basis_of(RuntimeVersions("1.3.8", NEWEST_ESP_NN)) == "unseen"


@pytest.mark.parametrize("release", ["", "latest", "2026.4", "2026.4.0-dev", "2026.4.0b", "v2026.4.0", "٢٠٢٦.4.0"])
def test_what_is_no_release_is_a_usage_error(release: str) -> None:
    with pytest.raises(UsageError):
        builds_with(release)


def test_a_runtime_is_named_by_one_version_or_both() -> None:
    assert parse_runtime("1.2.1") == parse_runtime("esp-nn=1.2.1") == RuntimeVersions("1.3.3~1", "1.2.1")
    assert parse_runtime("esp-tflite-micro=1.3.8, esp-nn=1.2.3") == RuntimeVersions("1.3.8", "1.2.3")
    for wrong in ("", "esp-nn", "=1.1.2", "esp-nn=", "esp-nn=1.1.2,1.2.3", "esp-idf=5.5", "esp-tflite-micro=1.3.8,"):
        with pytest.raises(UsageError, match="is not a runtime"):
            parse_runtime(wrong)
    for wrong in ("esp-nn=9.9", "esp-tflite-micro=1.2.1"):
        with pytest.raises(MwwError):
            parse_runtime(wrong)


def test_each_runtime_is_asked_once() -> None:
    assert select_runtimes(()) == (DEFAULT_RUNTIME,)
    assert select_runtimes(["1.1.2", "1.2.1"], ["2026.4.0b2", "2026.10.0"]) == (
        DEFAULT_RUNTIME,
        RuntimeVersions("1.3.3~1", "1.2.1"),
    )
    assert select_runtimes(["all"]) == known_runtimes()
