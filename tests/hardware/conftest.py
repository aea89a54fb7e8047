"""The regression suite's own fixtures; the rest comes from the pytest plugin.

    pytest tests/hardware --mww-boards boards.yaml -n 4         # on a rack
    pytest tests/hardware --mww-port /dev/ttyACM0               # on one board
    pytest tests/hardware --mww-target virtual                  # on none

It tests the published models with the clips of this project, or those of --mww-model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import util
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from harness.boards.inventory import Board
from harness.link.client import LinkClient
from harness.link.model_table import ModelRecord
from harness.targets.emulator import EmulatorTarget
from mww.core.resources import fixtures_dir
from mww.esphome.contract import FEATURES
from mww.esphome.frontend import quantize_features, wav_to_features
from mww.esphome.model import Model, load_model

Frames = npt.NDArray[np.int8]
Outputs = npt.NDArray[np.uint8]

LEAD_IN = 1.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything here."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.mww_hardware)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Without --mww-model, test the published models."""
    if "mww_model" in metafunc.fixturenames and not metafunc.config.getoption("--mww-model"):
        paths = [_models() / f"{name}.json" for name in ("okay_nabu", "alexa", "hey_jarvis", "hey_mycroft")]
        metafunc.parametrize("mww_model", paths, ids=[path.stem for path in paths], indirect=True)


def _models() -> Path:
    spec = util.find_spec("pymicro_wakeword")
    if spec is None or spec.origin is None:
        pytest.skip("needs models: pymicro-wakeword, which the extra demo installs, or --mww-model")
    return Path(spec.origin).parent / "models"


@dataclass(frozen=True)
class Spoken:
    """A clip in which the wake word is said, as frames `[n, stride, 40]`, with what the golden engine says of it."""

    frames: Frames
    golden: Outputs


@pytest.fixture(scope="session")
def golden_engine() -> Iterator[EmulatorTarget]:
    """TFLM on this machine."""
    with EmulatorTarget() as target:
        yield target


@pytest.fixture(scope="module", autouse=True)
def forks() -> None:
    """The product's children are started as for users: the plugin's board outlives the fork server of other tests."""


@pytest.fixture
def spoken(mww_model: Model, golden_engine: EmulatorTarget) -> Spoken:
    """The first positive clip of the model, and its golden outputs."""
    return _spoken(mww_model, golden_engine)


@pytest.fixture
def another(golden_engine: EmulatorTarget) -> tuple[Model, Spoken]:
    """Another model, with its clip."""
    model = load_model(_models() / "hey_jarvis.json")
    return model, _spoken(model, golden_engine)


def _spoken(model: Model, engine: EmulatorTarget) -> Spoken:
    folder = fixtures_dir() / "clips" / model.name / "positive"
    paths = sorted(folder.glob("*.wav")) or sorted(fixtures_dir().rglob("positive/*.wav"))
    slices = quantize_features(wav_to_features(paths[0], lead_in=LEAD_IN))
    frames = slices[: len(slices) - len(slices) % model.stride].reshape(-1, model.stride, FEATURES)
    engine.load(model)
    return Spoken(frames, engine.infer(frames).outputs)


@pytest.fixture
def link(mww_board: Board) -> Iterator[LinkClient]:
    """A session with the board, below the target: for what a target does not let one do."""
    with LinkClient.connect(mww_board.port, baud=mww_board.baud) as client:
        yield client


def record(model: Model, *, arena: int | None = None) -> ModelRecord:
    """A model as the board stores it, with its manifest's arena or another."""
    return ModelRecord(model.content, model.tensor_arena_size or 0 if arena is None else arena)
