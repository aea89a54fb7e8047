"""Marks for tests that need what may be absent; looking for a package does not import it."""

from importlib.util import find_spec

import pytest
from _pytest.mark import ParameterSet
from packaging.markers import default_environment

from harness.engines.catalog import ENGINES

needs_tensorflow = pytest.mark.skipif(find_spec("tensorflow") is None, reason="tensorflow is not installed")
needs_tflm = pytest.mark.skipif(find_spec("tflite_micro") is None, reason="tflite-micro is not installed")
needs_cluster = pytest.mark.skipif(
    None in map(find_spec, ("dask", "distributed", "fsspec", "aiohttp")), reason="the extra cluster is absent"
)


def needs_engine(name: str) -> pytest.MarkDecorator:
    """Skip where the engine's package is not installed."""
    absent = find_spec(ENGINES[name].module) is None
    return pytest.mark.skipif(absent, reason=f"{ENGINES[name].distribution} is not installed")


def engine_params(*names: str) -> list[ParameterSet]:
    """Engines as values of a test's parameter, each skipped where its package is not installed."""
    return [pytest.param(name, marks=needs_engine(name)) for name in names]


INTERPRETERS = engine_params(*(name for name in ENGINES if name != "exact"))
"""The engines that are a package of somebody else."""


def pretend_computer(monkeypatch: pytest.MonkeyPatch, python: str, machine: str) -> None:
    """Evaluate the markers of packages as on another Linux computer."""
    other = {"python_version": python.rpartition(".")[0], "python_full_version": python, "platform_machine": machine}
    environment = default_environment()
    monkeypatch.setattr("packaging.markers.default_environment", lambda: {**environment, **other})
