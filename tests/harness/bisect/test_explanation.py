"""Why outputs differ is reported, whatever the cause, and a verdict says what was compared."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from harness.bisect.explanation import bisect
from harness.bisect.reenactment import orders_of_slices, suspect
from harness.cli import execute, mww
from harness.cli.bisect import headline
from harness.clips.clip import ArrayClip
from harness.clips.golden import Provenance, RecordedClip, write_golden
from harness.engines.process import EngineProcess
from harness.link.client import LinkClient
from harness.targets.emulator import EngineTensors, golden_tensors
from harness.targets.registry import TargetOptions, open_tensors
from harness.virtual.faults import alter_kernel
from harness.virtual.process import VirtualBoard
from mww.core.errors import FeatureError
from mww.esphome.model import Model
from mww.tflite.model_file import Tensor

Slices = npt.NDArray[np.int8]


def test_equal_outputs_need_no_search_and_say_what_was_compared(
    model: Model, golden: EngineTensors, spoken: tuple[Slices, ...]
) -> None:
    with golden_tensors() as target:
        result = bisect(model, [ArrayClip("one", spoken[0][:30]), ArrayClip("two", spoken[1][:60])], target, golden)
    assert (result.clip, result.divergence, result.examined, result.copies) == (None, None, 0, 0)
    assert headline(result) == "no output differs: 2 clips, 40 inferences"


@pytest.mark.parametrize(
    ("fault", "cause", "account"),
    [
        ("kernel=DEPTHWISE_CONV_2D", "operator", "DEPTHWISE_CONV_2D, operator 19, is the first"),
        ("noreset", "reset", "does not restore the streaming state"),
        ("swap=60", "slice-order", "the slices of frame 60 reach the model in the order [2, 1, 0]"),
        ("wrong=40", "output", "(1 of its bits)"),
    ],
)
def test_a_board_s_fault_is_named_and_its_model_comes_back(
    model: Model, golden: EngineTensors, spoken: tuple[Slices, ...], fault: str, cause: str, account: str
) -> None:
    with VirtualBoard(faults=(fault,)) as board:
        with open_tensors(board.port, TargetOptions(), model) as source:
            result = bisect(model, [ArrayClip("clip", spoken[0])], source, golden)
        with LinkClient.connect(board.port) as client:
            assert client.describe(0).sha256.hex() == model.sha256
    assert result.target["kind"] == "virtual"
    assert result.explanation is not None
    assert result.explanation.cause == cause
    assert account in result.explanation.account


class NoReset(EngineTensors):
    """A device whose reset does nothing."""

    def reset(self) -> None:
        pass


def test_a_reset_without_effect_is_found_though_silence_hides_it(
    model: Model, golden: EngineTensors, spoken: tuple[Slices, ...]
) -> None:
    """Both clips end and begin in so much silence that every state has forgotten the clip before."""
    silence = np.full((198, 40), -128, np.int8)
    clips = [ArrayClip(name, np.concatenate([clip, silence])) for name, clip in zip("ab", spoken, strict=True)]
    with NoReset(EngineProcess("tflm")) as target:
        result = bisect(model, clips, target, golden)
    assert result.explanation is not None
    assert result.explanation.cause == "reset"
    assert result.clip is not None
    assert "after a reset there" in result.clip


class EveryFrameReversed(EngineTensors):
    """A host that hands slices over in the wrong order."""

    def outputs(self, frames: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
        return super().outputs(frames[:, ::-1])


def test_an_order_that_is_always_wrong_is_named(
    model: Model, golden: EngineTensors, spoken: tuple[Slices, ...]
) -> None:
    with EveryFrameReversed(EngineProcess("tflm")) as target:
        result = bisect(model, [ArrayClip("clip", spoken[0])], target, golden)
    assert result.explanation is not None
    assert result.explanation.account == "the slices of every frame reach the model in the order [2, 1, 0]"


class WrongOnce(EngineTensors):
    """A board whose memory failed for a moment."""

    def __init__(self) -> None:
        super().__init__(EngineProcess("tflm"))
        self._spared = False

    def outputs(self, frames: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
        results = super().outputs(frames).copy()
        if not self._spared:
            results[50:60] ^= 3
        self._spared = True
        return results


def test_what_does_not_happen_again_is_told_apart(
    model: Model, golden: EngineTensors, spoken: tuple[Slices, ...]
) -> None:
    with WrongOnce() as target:
        result = bisect(model, [ArrayClip("clip", spoken[0])], target, golden)
    assert result.explanation is not None
    assert (result.explanation.cause, result.divergence) == ("passing", None)


class Unsteady(EngineTensors):
    """A device on which an operator reads memory that nobody has written."""

    def __init__(self, operator: int) -> None:
        super().__init__(EngineProcess("tflm"))
        self._operator, self._loads = operator, 0

    def load(self, content: bytes, exposed: Sequence[Tensor] = ()) -> None:
        self._loads += 1
        altered = content
        for _ in range(self._loads):
            altered = alter_kernel(altered, "CONV_2D", only=self._operator)
        super().load(altered, exposed)


def test_a_device_that_differs_from_run_to_run_is_told(
    model: Model, golden: EngineTensors, spoken: tuple[Slices, ...]
) -> None:
    with Unsteady(14) as target:
        result = bisect(model, [ArrayClip("clip", spoken[0][100:190])], target, golden)
    assert result.explanation is not None
    assert result.explanation.cause == "unsteady"
    assert "other outputs from run to run; CONV_2D, operator 14" in result.explanation.account


class ForgetfulReset(EngineTensors):
    """A reset that leaves the state where a few frames more would have left it."""

    def reset(self) -> None:
        super().reset()
        if self._ran:
            super().outputs(np.full((4, 3, 40), 20, np.int8))

    def load(self, content: bytes, exposed: Sequence[Tensor] = ()) -> None:
        super().load(content, exposed)
        self._ran = False

    def outputs(self, frames: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
        self._ran = True
        return super().outputs(frames)


def test_a_reset_that_puts_only_a_part_back_is_named(
    model: Model, golden: EngineTensors, spoken: tuple[Slices, ...]
) -> None:
    with ForgetfulReset(EngineProcess("tflm")) as target:
        result = bisect(model, [ArrayClip("clip", spoken[0])], target, golden)
    assert result.explanation is not None
    assert (result.explanation.cause, result.divergence) == ("reset", None)
    assert "only a part" in result.explanation.account


class DamagedBehind(EngineTensors):
    """Firmware that spoils an output on its way to the host, always the same one."""

    def outputs(self, frames: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
        results = super().outputs(frames).copy()
        results[40] ^= 4
        return results


def test_an_output_that_is_always_damaged_is_no_operator_s_fault(
    model: Model, golden: EngineTensors, spoken: tuple[Slices, ...]
) -> None:
    with DamagedBehind(EngineProcess("tflm")) as target:
        result = bisect(model, [ArrayClip("clip", spoken[0])], target, golden)
    assert result.explanation is not None
    assert (result.explanation.cause, result.divergence, result.first_mismatch) == ("output", None, 40)
    assert result.examined == 51


@pytest.mark.parametrize("stride", [1, 2, 3, 5, 40])
def test_the_orders_of_a_frame_are_few_and_each_is_another(stride: int) -> None:
    orders = orders_of_slices(stride)
    assert len(orders) == len({tuple(order) for order in orders}) <= 780
    assert all(sorted(order) == list(range(stride)) != order for order in orders)


def test_the_command_is_a_verdict_and_writes_an_issue(
    models: Path, spoken: tuple[Slices, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    features, issue = tmp_path / "features.npz", tmp_path / "issue.md"
    np.savez(features, clip=spoken[0])
    words = ["bisect", str(models / "okay_nabu.json"), "--features", str(features), "--target"]
    with VirtualBoard(faults=("kernel=CONV_2D",)) as board:
        assert execute(mww, [*words, board.port, "--json"]) == 1
        document = json.loads(capsys.readouterr().out)
        assert document["schema"] == "mww.bisect/1"
        assert document["explanation"]["cause"] == "operator"
        assert (document["divergence"]["op"], document["divergence"]["inference"]) == ("CONV_2D", 0)
        assert [tensor["constant"] for tensor in document["divergence"]["inputs"]] == [False, True, True]
        assert "esp_nn_conv_s8_esp32s3" in document["suspect"]
        assert execute(mww, [*words, board.port, "--markdown", str(issue)]) == 1
        assert "CONV_2D, operator 14, is the first whose result differs" in capsys.readouterr().out
    text = issue.read_text()
    assert "**CONV_2D, operator 14, is the first whose result differs**" in text
    assert document["model_sha256"] in text
    assert execute(mww, [*words, "emulator", "--engine", "litert"]) == 0
    assert "no output differs: 1 clip" in capsys.readouterr().out


def test_a_golden_is_taken_for_its_clips_and_held_against_the_interpreter(
    model: Model, models: Path, spoken: tuple[Slices, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with golden_tensors() as source:
        source.load(model.content)
        outputs = source.outputs(spoken[0][:90].reshape(-1, 3, 40))
    provenance = Provenance("okay_nabu", model.sha256, 3, "tflm", (), 0.0)
    words = ["bisect", str(models / "okay_nabu.json"), "--target", "emulator", "--engine", "litert", "--golden"]
    for name, recorded, status in (("good", outputs, 0), ("stale", outputs ^ 1, 2)):
        path = tmp_path / f"{name}.npz"
        write_golden(path, provenance, [RecordedClip("clip", spoken[0][:90], recorded)])
        assert execute(mww, [*words, str(path)]) == status
    assert "computes other outputs for clip than" in capsys.readouterr().err


def test_clips_without_a_frame_are_no_verdict(model: Model, golden: EngineTensors) -> None:
    with golden_tensors() as target, pytest.raises(FeatureError, match="no clip has a whole frame"):
        bisect(model, [ArrayClip("short", np.zeros((2, 40), np.int8))], target, golden)


def test_faults_are_for_the_virtual_board_alone(models: Path, clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bisect", str(models / "okay_nabu.json"), "--wav", str(clips), "--target", "/dev/ttyUSB7"]
    assert execute(mww, [*words, "--fault", "kernel=ADD"]) == 2
    assert "--fault for the target /dev/ttyUSB7" in capsys.readouterr().err


class WrongKernel(EngineTensors):
    """A device on which every convolution gives a wrong result."""

    def load(self, content: bytes, exposed: Sequence[Tensor] = ()) -> None:
        super().load(alter_kernel(content, "CONV_2D"), exposed)


@pytest.mark.parametrize(
    ("kernels", "where"),
    [
        ("generic_opt", "esp_nn_conv_s8_opt of esp-nn, called by tensorflow/lite/micro/kernels/esp_nn/conv.cc"),
        ("ansi", "esp_nn_conv_s8_ansi of esp-nn, called by tensorflow/lite/micro/kernels/esp_nn/conv.cc"),
        ("reference", "tensorflow/lite/micro/kernels/conv.cc of TensorFlow Lite Micro"),
    ],
)
def test_the_kernels_that_a_machine_says_it_was_linked_with_are_suspected(
    model: Model, golden: EngineTensors, spoken: tuple[Slices, ...], kernels: str, where: str
) -> None:
    with WrongKernel(EngineProcess("tflm")) as target:
        result = bisect(model, [ArrayClip("clip", spoken[0][100:190])], target, golden)
    assert result.divergence is not None
    assert suspect(result.divergence, {"kind": "machine", "chip": "rv32imc", "kernels": kernels}).startswith(where)
