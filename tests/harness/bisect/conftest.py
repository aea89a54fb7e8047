from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.targets.emulator import EngineTensors, golden_tensors
from mww.esphome.model import Model, load_model


@pytest.fixture(scope="session")
def model(models: Path) -> Model:
    """A published model."""
    return load_model(models / "okay_nabu.json")


@pytest.fixture(scope="session")
def golden() -> Iterator[EngineTensors]:
    """The golden engine's tensors."""
    with golden_tensors() as source:
        yield source
