from __future__ import annotations

import pytest

from harness.engines import catalog
from harness.engines.catalog import ENGINES, engine_spec, installed_version
from mww.core.errors import MissingPackageError, UsageError
from tests.support.needs import needs_engine


@needs_engine("tflite-runtime")
def test_versions_are_known_without_loading_an_interpreter() -> None:
    assert installed_version(ENGINES["tflite-runtime"]) == "2.14.0"
    assert installed_version(ENGINES["tflm"]).startswith("0.dev")


def test_an_unknown_engine_is_a_usage_error_that_lists_them() -> None:
    with pytest.raises(UsageError, match="unknown engine 'xnnpack'") as caught:
        engine_spec("xnnpack")
    assert caught.value.hint == "engines: tflm, exact, tflite-runtime, litert"


@pytest.mark.parametrize(
    ("python", "machine", "hint"),
    [
        ((3, 11), "x86_64", "pip install 'mww-harness[tflm]'"),
        ((3, 15), "x86_64", "no wheel for Python 3.15; use Python 3.10 to 3.14"),
        ((3, 11), "aarch64", "no wheel for Linux aarch64, only for Linux x86_64"),
    ],
)
def test_an_absent_package_is_named_with_its_cure_or_the_reason(
    monkeypatch: pytest.MonkeyPatch, python: tuple[int, int], machine: str, hint: str
) -> None:
    monkeypatch.setattr(catalog.util, "find_spec", lambda name: None)
    monkeypatch.setattr(catalog.platform, "machine", lambda: machine)
    monkeypatch.setattr(catalog.sys, "version_info", VersionInfo(python))
    with pytest.raises(MissingPackageError, match="engine tflm needs the package tflite-micro") as caught:
        installed_version(ENGINES["tflm"])
    assert caught.value.hint is not None
    assert hint in caught.value.hint


@needs_engine("tflite-runtime")
def test_numpy_2_keeps_tflite_runtime_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog.metadata, "version", lambda name: "2.1.0")
    with pytest.raises(MissingPackageError, match=r"needs numpy below 2, and 2\.1\.0 is installed"):
        installed_version(ENGINES["tflite-runtime"])


class VersionInfo(tuple[int, int]):
    @property
    def minor(self) -> int:
        return self[1]
