"""A wrong kernel is found and named, whichever operator it is, and the board is left as it was."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from exporter.model_file import Tensor, read_model
from harness.bisect.explanation import BisectResult, bisect
from harness.bisect.probing import EngineTensors, open_source, with_outputs
from harness.bisect.reenactment import _orders
from harness.cli import mww, run
from harness.clips.clip import ArrayClip
from harness.link.client import LinkClient
from harness.model import Model, load_model
from harness.targets.registry import TargetOptions
from harness.virtual.kernel_fault import WITHOUT_RESULTS, alter_kernel
from harness.virtual.process import VirtualBoard

Slices = npt.NDArray[np.int8]


@pytest.fixture(scope="module")
def model(models: Path) -> Model:
    return load_model(models / "okay_nabu.json")


@pytest.fixture(scope="module")
def golden() -> Iterator[EngineTensors]:
    with EngineTensors("tflm") as source:
        yield source


class WrongKernel(EngineTensors):
    """TFLM with one operator's results altered."""

    def __init__(self, operator: str) -> None:
        super().__init__("tflm")
        self._operator = operator

    def load(self, content: bytes, exposed: Sequence[Tensor] = ()) -> None:
        super().load(alter_kernel(content, self._operator), exposed)


def _search(model: Model, golden: EngineTensors, operator: str, spoken: tuple[Slices, ...]) -> BisectResult:
    clips = [ArrayClip("clip", spoken[0][:195])]
    with WrongKernel(operator) as target:
        return bisect(model, clips, target, golden)


OPERATORS = [
    "RESHAPE",
    "READ_VARIABLE",
    "ASSIGN_VARIABLE",
    "CONCATENATION",
    "STRIDED_SLICE",
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "SPLIT_V",
    "FULLY_CONNECTED",
    "LOGISTIC",
    "QUANTIZE",
]


def test_the_list_is_every_operator_of_the_model_that_computes(model: Model) -> None:
    ops = {operator.op for operator in read_model(model.content).main.operators}
    assert ops - set(WITHOUT_RESULTS) == set(OPERATORS)


@pytest.mark.parametrize("operator", OPERATORS)
def test_a_wrong_kernel_is_named(
    model: Model, golden: EngineTensors, spoken: tuple[Slices, ...], operator: str
) -> None:
    result = _search(model, golden, operator, spoken)
    found = result.divergence
    assert found is not None
    assert found.op == operator
    main = read_model(model.content).main
    assert (
        found.operator == next(entry.index for entry in main.operators if entry.op == operator) or found.inference > 0
    )
    assert abs(found.found - found.expected) == 8
    assert found.position == (0,) * len(found.tensor.shape)


def test_equal_outputs_need_no_search(model: Model, golden: EngineTensors, spoken: tuple[Slices, ...]) -> None:
    result = _search(model, golden, "MAX_POOL_2D", spoken)
    assert (result.clip, result.divergence, result.examined) == (None, None, 0)


def test_an_inner_tensor_as_output_changes_no_operator(model: Model) -> None:
    before = read_model(model.content)
    after = read_model(with_outputs(model.content, [60, 12]))
    assert after.main.outputs == (60, 12)
    assert after.main.operators == before.main.operators
    assert after.main.tensors == before.main.tensors


@pytest.mark.parametrize(
    ("fault", "cause", "account"),
    [
        ("kernel=DEPTHWISE_CONV_2D", "operator", "DEPTHWISE_CONV_2D, operator 19, is the first"),
        ("noreset", "reset", "does not put the streaming state back"),
        ("swap=60", "slice-order", "the slices of frame 60 reach the model in the order [2, 1, 0]"),
        ("wrong=40", "output", "(1 of its bits)"),
    ],
)
def test_a_board_s_fault_is_named_and_its_model_comes_back(
    model: Model, golden: EngineTensors, spoken: tuple[Slices, ...], fault: str, cause: str, account: str
) -> None:
    with VirtualBoard(faults=(fault,)) as board:
        with open_source(board.port, TargetOptions(), model) as source:
            result = bisect(model, [ArrayClip("clip", spoken[0])], source, golden)
        with LinkClient.connect(board.port) as client:
            assert client.describe(0).sha256.hex() == model.sha256
    assert result.target["kind"] == "virtual"
    assert result.explanation is not None
    assert result.explanation.cause == cause
    assert account in result.explanation.account


class EveryFrameReversed(EngineTensors):
    """A host that hands slices over in the wrong order."""

    def outputs(self, frames: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
        return super().outputs(frames[:, ::-1])


def test_an_order_that_is_always_wrong_is_named(
    model: Model, golden: EngineTensors, spoken: tuple[Slices, ...]
) -> None:
    with EveryFrameReversed("tflm") as target:
        result = bisect(model, [ArrayClip("clip", spoken[0])], target, golden)
    assert result.explanation is not None
    assert result.explanation.account == "the slices of every frame reach the model in the order [2, 1, 0]"


class WrongOnce(EngineTensors):
    """A board whose memory failed for a moment."""

    def __init__(self) -> None:
        super().__init__("tflm")
        self._spared = False

    def outputs(self, frames: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
        found = super().outputs(frames).copy()
        if not self._spared:
            found[50:60] ^= 3
        self._spared = True
        return found


def test_what_does_not_happen_again_is_told_apart(
    model: Model, golden: EngineTensors, spoken: tuple[Slices, ...]
) -> None:
    with WrongOnce() as target:
        result = bisect(model, [ArrayClip("clip", spoken[0])], target, golden)
    assert result.explanation is not None
    assert (result.explanation.cause, result.divergence) == ("passing", None)


@pytest.mark.parametrize("stride", [1, 2, 3, 5, 40])
def test_the_orders_of_a_frame_are_few_and_each_is_another(stride: int) -> None:
    orders = _orders(stride)
    assert len(orders) == len({tuple(order) for order in orders}) <= 780
    assert all(sorted(order) == list(range(stride)) != order for order in orders)


def test_the_command_is_a_verdict(
    models: Path, spoken: tuple[Slices, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    features = tmp_path / "features.npz"
    np.savez(features, clip=spoken[0])
    words = ["bisect", str(models / "okay_nabu.json"), "--features", str(features), "--target"]
    with VirtualBoard(faults=("kernel=CONV_2D",)) as board:
        assert run(mww, [*words, board.port, "--json"]) == 1
        document = json.loads(capsys.readouterr().out)
        assert document["schema"] == "mww.bisect/1"
        assert document["explanation"]["cause"] == "operator"
        assert (document["divergence"]["op"], document["divergence"]["inference"]) == ("CONV_2D", 0)
        assert run(mww, [*words, board.port]) == 1
        assert "CONV_2D, operator 14, is the first whose result differs" in capsys.readouterr().out
    assert run(mww, [*words, "emulator", "--engine", "litert"]) == 0
