"""One suite for every place a model can run: the emulator, a virtual board of one's own, QEMU, and boards at any port.

QEMU is a stand-in with the virtual firmware, whose arena is predicted; see tests/support/qemu_system.py.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psutil
import pytest

from harness.targets.base import Target
from harness.targets.emulator import EmulatorTarget
from harness.targets.registry import TargetOptions, open_target
from harness.virtual.chips import find_chip
from harness.virtual.factory import factory_image
from harness.virtual.process import VirtualBoard
from mww.core.errors import MwwError
from mww.esphome.model import load_model
from mww.tflm.arena import predict_arena
from tests.support import qemu_system
from tests.support.waiting import have_ended

Frames = npt.NDArray[np.int8]
PLACES = ("emulator", "virtual", "qemu", "socket", "pty", "rfc2217")


@contextmanager
def _opened(place: str) -> Iterator[Target]:
    if place in ("emulator", "virtual"):
        with open_target(place, TargetOptions()) as target:
            yield target
        return
    if place == "qemu":
        with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
            qemu_system.install(Path(name))
            patch.setenv("MWW_QEMU", name)
            firmware = Path(name, "factory.bin")
            firmware.write_bytes(factory_image(find_chip("esp32s3")))
            with open_target(f"qemu:{firmware}", TargetOptions()) as target:
                yield target
        return
    with VirtualBoard(transport=place) as board, open_target(board.port, TargetOptions()) as target:
        yield target


@pytest.fixture(scope="module", autouse=True)
def shared_engine() -> None:
    """Nothing is shared: what is left behind is looked at."""


@pytest.fixture(scope="module", params=PLACES)
def runner(request: pytest.FixtureRequest) -> Iterator[Target]:
    with _opened(request.param) as target:
        yield target


@pytest.fixture(scope="module")
def frames(spoken: tuple[Frames, ...]) -> Frames:
    slices = spoken[0]
    return slices[: len(slices) // 3 * 3].reshape(-1, 3, 40)


@pytest.fixture(scope="module")
def expected(models: Path, frames: Frames) -> bytes:
    with EmulatorTarget() as emulator:
        emulator.load(load_model(models / "okay_nabu.json"))
        return emulator.infer(frames).outputs.tobytes()


def test_outputs_are_those_of_the_emulator_in_batches_of_any_size(
    runner: Target, models: Path, frames: Frames, expected: bytes
) -> None:
    runner.load(load_model(models / "okay_nabu.json"))
    for step in (len(frames), 1, 7):
        runner.reset()
        some = frames[:30] if step == 1 else frames
        parts = [runner.infer(some[at : at + step]).outputs for at in range(0, len(some), step)]
        assert np.concatenate(parts).tobytes() == expected[: len(some)]
        assert runner.inferences() == len(some)


def test_the_state_is_kept_between_batches_and_gone_after_a_reset(
    runner: Target, models: Path, frames: Frames, expected: bytes
) -> None:
    runner.load(load_model(models / "okay_nabu.json"))
    runner.infer(frames)
    assert runner.infer(frames).outputs.tobytes() != expected
    runner.reset()
    assert runner.infer(frames).outputs.tobytes() == expected


def test_loading_again_begins_in_the_initial_state(
    runner: Target, models: Path, frames: Frames, expected: bytes
) -> None:
    for name in ("okay_nabu.json", "alexa.json", "okay_nabu.json"):
        runner.load(load_model(models / name))
        outputs = runner.infer(frames[:: 1 if name == "okay_nabu.json" else 2]).outputs
    assert outputs.tobytes() == expected


def test_the_arena_is_that_of_the_chip_and_called_predicted(runner: Target, models: Path) -> None:
    model = load_model(models / "okay_nabu.json")
    use = runner.load(model)
    predicted = predict_arena(model.content, runner.info().chip, manifest_size=model.tensor_arena_size)
    assert (use.used, use.size, use.source) == (predicted.used, predicted.probe, "predicted")


def test_it_says_what_it_is(runner: Target) -> None:
    info = runner.info()
    assert info.kind in ("emulator", "virtual", "qemu")
    assert (info.chip, info.engine) == ("esp32s3", "tflm")
    assert "tflite-micro" in dict(info.versions)


def test_no_frames_give_no_outputs(runner: Target, models: Path) -> None:
    runner.load(load_model(models / "okay_nabu.json"))
    assert len(runner.infer(np.empty((0, 3, 40), np.int8)).outputs) == 0
    assert runner.inferences() == 0


@pytest.mark.parametrize("place", ["emulator", "virtual", "qemu"])
def test_nothing_is_left_behind(place: str, models: Path) -> None:
    before = psutil.Process().children(recursive=True)
    with _opened(place) as target:
        target.load(load_model(models / "okay_nabu.json"))
        children = [child for child in psutil.Process().children(recursive=True) if child not in before]
        target.close()
        target.close()
    assert children
    assert have_ended(children)


@pytest.mark.parametrize("options", [TargetOptions(engine="litert"), TargetOptions(chip="esp8266")])
def test_options_without_a_meaning_are_refused(options: TargetOptions) -> None:
    with pytest.raises(MwwError):
        open_target("virtual", options)
