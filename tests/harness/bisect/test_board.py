"""A board is left with the model that it had, however its bisection ends."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from harness.bisect.explanation import bisect
from harness.clips.clip import ArrayClip
from harness.link.client import LinkClient
from harness.link.model_table import ModelRecord
from harness.targets.board_tensors import uninterrupted
from harness.targets.emulator import EngineTensors
from harness.targets.registry import TargetOptions, open_tensors
from harness.virtual.process import VirtualBoard
from mww.core.errors import DeviceError, HungError, RebootedError, UsageError
from mww.esphome.model import Model, load_model, model_of
from mww.tflite.model_file import read_model
from mww.tflm.arena import predict_arena
from tests.support.every_operator import every_operator

CLIP = ArrayClip("clip", np.random.default_rng(0).integers(-128, 127, (60, 40), np.int8))


@pytest.fixture(scope="module")
def model() -> Model:
    return model_of(every_operator(), sliding_window_size=5, feature_step_size=10)


def stored(board: VirtualBoard) -> list[str]:
    with LinkClient.connect(board.port) as client:
        return [client.describe(slot).sha256.hex() for slot in range(client.board.models)]


def test_an_interrupted_search_gives_the_model_back(model: Model, golden: EngineTensors) -> None:
    def interrupt(description: str, done: int, total: int) -> None:
        if description == "inner results":
            raise KeyboardInterrupt

    with VirtualBoard(faults=("kernel=QUANTIZE",)) as board:
        with pytest.raises(KeyboardInterrupt), open_tensors(board.port, TargetOptions(), model) as source:
            bisect(model, [CLIP], source, golden, interrupt)
        assert stored(board)[0] == model.sha256


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_until_the_model_is_back(number: int) -> None:
    reached = False
    with pytest.raises(KeyboardInterrupt), uninterrupted():
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        reached = True
    assert reached


def test_an_upload_that_is_interrupted_leaves_the_model(model: Model) -> None:
    def interrupt(description: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with VirtualBoard() as board:
        with LinkClient.connect(board.port) as client:
            client.upload(0, ModelRecord(model.content, 0))
        tensor = read_model(model.content).main.tensors[3]
        with pytest.raises(KeyboardInterrupt), open_tensors(board.port, TargetOptions(), model, interrupt) as source:
            source.load(model.content, [tensor])
        assert stored(board)[0] == model.sha256


def test_a_board_that_reboots_in_the_middle_is_an_error_and_gets_its_model_back(
    model: Model, golden: EngineTensors
) -> None:
    runs = 20 * 4  # the clip twice, and twice again, before the operators are searched
    with VirtualBoard(faults=("kernel=LOGISTIC", f"reboot={runs - 20}")) as board:
        with pytest.raises(RebootedError), open_tensors(board.port, TargetOptions(), model) as source:
            bisect(model, [CLIP], source, golden)
        assert stored(board)[0] == model.sha256


@pytest.mark.slow
def test_a_board_that_hangs_is_an_error_and_says_what_it_is_left_with(
    model: Model, golden: EngineTensors, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        VirtualBoard(faults=("kernel=LOGISTIC", "hang=60")) as board,
        pytest.raises(HungError),
        open_tensors(board.port, TargetOptions(), model) as source,
    ):
        bisect(model, [CLIP], source, golden)
    assert "the board keeps a changed copy of model" in caplog.text


def test_the_model_is_asked_where_it_is_and_the_others_stay(model: Model, models: Path, golden: EngineTensors) -> None:
    other = load_model(models / "hey_jarvis.json")
    with VirtualBoard(faults=("kernel=CONV_2D",)) as board:
        with LinkClient.connect(board.port) as client:
            client.upload(0, ModelRecord(other.content, 0))
            client.upload(1, ModelRecord(model.content, 30_000))
        with open_tensors(board.port, TargetOptions(), model) as source:
            result = bisect(model, [CLIP], source, golden)
        assert result.divergence is not None
        assert stored(board)[:2] == [other.sha256, model.sha256]
        with LinkClient.connect(board.port) as client:
            assert client.describe(1).manifest_arena == 30_000


def test_equal_outputs_leave_the_flash_alone(model: Model, golden: EngineTensors) -> None:
    with VirtualBoard() as board:
        with LinkClient.connect(board.port) as client:
            client.upload(0, ModelRecord(model.content, 0))
        uploads: list[str] = []
        with open_tensors(board.port, TargetOptions(), model, lambda name, done, total: uploads.append(name)) as source:
            assert bisect(model, [CLIP], source, golden).clip is None
    assert uploads == []


def test_a_fault_that_the_model_cannot_have_is_refused_by_name(model: Model, models: Path) -> None:
    other = load_model(models / "hey_jarvis.json")
    with VirtualBoard(faults=("kernel=MEAN",)) as board:
        with open_tensors(board.port, TargetOptions(), model) as source:
            source.load(model.content)
        with open_tensors(board.port, TargetOptions(), other) as source, pytest.raises(DeviceError) as caught:
            source.load(other.content)
    assert caught.value.code == "fault"
    assert "kernel=MEAN, but the model does not have MEAN" in caught.value.message


def test_an_arena_that_is_not_the_predicted_one_is_remarked(model: Model, golden: EngineTensors) -> None:
    with VirtualBoard(faults=("arena=50000",)) as board, open_tensors(board.port, TargetOptions(), model) as source:
        result = bisect(model, [CLIP], source, golden)
    used = predict_arena(model.content, "esp32s3").used
    message = f"the board uses {used + 50000} bytes of arena where {used} are predicted for esp32s3"
    assert result.remarks == (message,)


def test_another_chip_than_the_board_s_is_refused(model: Model) -> None:
    options = TargetOptions(chip="esp32s3")
    with (
        VirtualBoard("esp32c3") as board,
        pytest.raises(UsageError, match="has an esp32c3, not esp32s3"),
        open_tensors(board.port, options, model),
    ):
        pass
