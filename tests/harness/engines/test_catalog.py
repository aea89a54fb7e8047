from __future__ import annotations

import pytest

from harness.engines import catalog
from harness.engines.catalog import ENGINES, engine_spec, installed_version
from mww.core.errors import MissingPackageError, UsageError
from tests.support.needs import needs_engine, pretend_computer


@needs_engine("tflite-runtime")
def test_versions_are_known_without_loading_an_interpreter() -> None:
    assert installed_version(ENGINES["tflite-runtime"]) == "2.14.0"
    assert installed_version(ENGINES["tflm"]).startswith("0.dev")


def test_an_unknown_engine_is_a_usage_error_that_lists_them() -> None:
    with pytest.raises(UsageError, match="unknown engine 'xnnpack'") as caught:
        engine_spec("xnnpack")
    assert caught.value.hint == "engines: tflm, exact, tflite-runtime, litert"


@pytest.mark.parametrize(
    ("engine", "python", "machine", "hint"),
    [
        ("tflm", "3.11.2", "x86_64", "pip install 'mww-harness[tflm]'"),
        ("tflm", "3.11.2", "aarch64", """only where sys_platform == "linux" and platform_machine == "x86_64";"""),
        ("tflite-runtime", "3.11.2", "aarch64", "pip install 'mww-harness[tflite-runtime]'"),
        ("tflite-runtime", "3.13.5", "x86_64", 'tflite-runtime has no wheel here, only where python_version < "3.12"'),
    ],
)
def test_an_absent_package_is_named_with_its_cure_or_the_reason(
    monkeypatch: pytest.MonkeyPatch, engine: str, python: str, machine: str, hint: str
) -> None:
    monkeypatch.setattr(catalog.util, "find_spec", lambda name: None)
    pretend_computer(monkeypatch, python, machine)
    with pytest.raises(MissingPackageError, match=f"engine {engine} needs the package") as caught:
        installed_version(ENGINES[engine])
    assert hint in (caught.value.hint or "")


@needs_engine("tflite-runtime")
def test_numpy_2_keeps_tflite_runtime_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog.metadata, "version", lambda name: "2.1.0")
    with pytest.raises(MissingPackageError, match=r"needs numpy below 2, and 2\.1\.0 is installed"):
        installed_version(ENGINES["tflite-runtime"])
