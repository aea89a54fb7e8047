"""A wrong operator is found and named: any of them, one of many, a part of one, early or late."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pytest

from harness.bisect.explanation import BisectResult, bisect
from harness.cli import execute, mww
from harness.cli.bisect import headline
from harness.clips.clip import ArrayClip
from harness.engines.process import EngineProcess
from harness.targets.emulator import EngineTensors, golden_tensors
from harness.virtual.faults import ALTERABLE, alter_kernel
from mww.core.errors import EngineError
from mww.esphome.contract import REGISTERED_OPS
from mww.esphome.model import Model, model_of
from mww.tflite.model_file import Tensor, read_model, with_outputs
from tests.support.every_operator import every_operator

Slices = npt.NDArray[np.int8]

SATURATED = ("LOGISTIC", "QUANTIZE")
"""Operators whose first result is too high to be 8 steps higher."""
SMALL = np.random.default_rng(0).integers(-128, 127, (90, 40), np.int8)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A model with every operator, and a clip for it."""
    folder = tmp_path_factory.mktemp("every")
    (folder / "every.tflite").write_bytes(every_operator())
    np.savez(folder / "clip.npz", clip=SMALL)
    return str(folder / "every.tflite"), str(folder / "clip.npz")


def test_the_small_model_has_all_of_esphome_s_operators_and_all_but_handles_can_be_wrong() -> None:
    assert {operator.op for operator in read_model(every_operator()).main.operators} == set(REGISTERED_OPS)
    assert {*ALTERABLE, "VAR_HANDLE"} == set(REGISTERED_OPS)


@pytest.mark.parametrize("operator", ALTERABLE)
@pytest.mark.slow
def test_a_wrong_kernel_on_a_virtual_board_is_named(
    small: tuple[str, str], operator: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bisect", small[0], "--features", small[1], "--target", "virtual", "--fault", f"kernel={operator}"]
    assert execute(mww, [*words, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    results = document["divergence"]
    assert results["op"] == operator
    assert 0 < abs(results["found"] - results["expected"]) <= results["largest"] == 8 or results["op"] in SATURATED
    assert results["position"] == [0] * len(results["tensor"]["shape"])
    main = read_model(every_operator()).main
    assert results["operator"] == next(entry.index for entry in main.operators if entry.op == operator)
    assert results["inference"] == (1 if operator == "ASSIGN_VARIABLE" else 0)
    assert document["copies"] <= 2


class Altered(EngineTensors):
    """TFLM on a model that was changed on its way."""

    def __init__(self, altered: bytes, *, most: int = 255) -> None:
        super().__init__(EngineProcess("tflm"))
        self._altered, self._most = altered, most
        self.loads = self.frames_read = 0

    def load(self, content: bytes, exposed: Sequence[Tensor] = ()) -> None:
        self.loads += 1
        if len(exposed) > self._most:
            raise EngineError("no memory for so many", hint="use less")
        super().load(self._altered, exposed)

    def tensors(self, frames: npt.NDArray[np.int8]) -> Iterator[Sequence[bytes]]:
        self.frames_read += len(frames)
        return super().tensors(frames)


def _search(model: Model, golden: EngineTensors, target: EngineTensors, slices: Slices) -> BisectResult:
    with target:
        return bisect(model, [ArrayClip("clip", slices)], target, golden)


def _instances(model: Model, op: str) -> list[int]:
    return [operator.index for operator in read_model(model.content).main.operators if operator.op == op]


@pytest.mark.parametrize("op", ["CONV_2D", "DEPTHWISE_CONV_2D", "STRIDED_SLICE", "CONCATENATION", "ASSIGN_VARIABLE"])
def test_one_wrong_operator_of_many_is_told_from_the_others(
    model: Model, golden: EngineTensors, spoken: tuple[Slices, ...], op: str
) -> None:
    last = _instances(model, op)[-1]
    result = _search(model, golden, Altered(alter_kernel(model.content, op, only=last)), spoken[0])
    results = result.divergence
    assert results is not None
    assert (results.op, results.operator, results.instance, results.instances) == (
        op,
        last,
        len(_instances(model, op)),
        len(_instances(model, op)),
    )


def _with_weight(model: Model, operator: int, channel: int) -> bytes:
    """The model with one weight of one channel of a convolution changed."""
    file = read_model(model.content)
    filters = file.main.tensors[file.main.operators[operator].inputs[1]]
    at = file.buffers[filters.buffer].offset + channel * (filters.nbytes // filters.shape[0])
    changed = bytearray(model.content)
    changed[at] ^= 0x40
    return bytes(changed)


def test_a_difference_in_one_place_and_not_always_is_placed(
    model: Model, golden: EngineTensors, spoken: tuple[Slices, ...]
) -> None:
    """One weight: only its channel is wrong, only where its input is not zero; the output shows it frames later."""
    operator = _instances(model, "CONV_2D")[2]
    result = _search(model, golden, Altered(_with_weight(model, operator, 7)), spoken[0])
    results = result.divergence
    assert results is not None
    assert results.operator == operator
    assert (results.position[-1], results.differing) == (7, 1)
    assert result.first_mismatch is not None
    assert results.inference < result.first_mismatch


def test_a_difference_that_comes_late_is_found_by_halves(
    model: Model, golden: EngineTensors, spoken: tuple[Slices, ...]
) -> None:
    """One weight of the first convolution, which silence does not show; a hundred frames are not read one by one."""
    operator = _instances(model, "CONV_2D")[0]
    slices = np.concatenate([np.full((300, 40), -128, np.int8), spoken[0]])
    target = Altered(_with_weight(model, operator, 7))
    result = _search(model, golden, target, slices)
    results = result.divergence
    assert results is not None
    assert (results.operator, results.position[-1], result.copies) == (operator, 7, 1)
    assert results.inference >= 133
    assert target.frames_read < 50
    assert result.first_mismatch is not None
    assert results.inference <= result.first_mismatch


def test_a_state_s_fault_is_found_in_the_frame_that_it_happens_in(
    model: Model, golden: EngineTensors, spoken: tuple[Slices, ...]
) -> None:
    """The oldest of what a state keeps is wrong: nothing but the next frames' reading shows it."""
    slices = _instances(model, "STRIDED_SLICE")
    result = _search(model, golden, Altered(alter_kernel(model.content, "STRIDED_SLICE", only=slices[0])), spoken[0])
    results = result.divergence
    assert results is not None
    assert (results.op, results.operator, results.inference) == ("STRIDED_SLICE", slices[0], 0)


def test_what_reaches_no_output_is_found_where_that_is_asked_for(
    model: Model, golden: EngineTensors, spoken: tuple[Slices, ...]
) -> None:
    """In silence this model's output stays at 0, whatever the first convolution does."""
    clips = [ArrayClip("silence", spoken[0][:90])]
    with Altered(alter_kernel(model.content, "CONV_2D", only=14)) as target:
        assert bisect(model, clips, target, golden).explanation is None
        result = bisect(model, clips, target, golden, inside=True)
    assert result.divergence is not None
    assert (result.divergence.operator, result.first_mismatch) == (14, None)
    assert headline(result) == "no output differs (1 clip, 60 inferences), but an inner result of silence does"
    with golden_tensors() as target:
        result = bisect(model, clips, target, golden, inside=True)
    assert (result.explanation, result.clip, result.examined) == (None, None, 51)


def test_a_target_with_little_memory_is_asked_in_pieces(
    model: Model, golden: EngineTensors, spoken: tuple[Slices, ...]
) -> None:
    wrong = _instances(model, "DEPTHWISE_CONV_2D")[3]
    target = Altered(alter_kernel(model.content, "DEPTHWISE_CONV_2D", only=wrong), most=8)
    result = _search(model, golden, target, spoken[0][100:190])
    assert result.divergence is not None
    assert result.divergence.operator == wrong
    assert result.refused == ()
    assert target.loads < 20


def test_what_a_target_can_never_tell_is_listed(
    model: Model, golden: EngineTensors, spoken: tuple[Slices, ...]
) -> None:
    target = Altered(alter_kernel(model.content, "CONV_2D"), most=0)
    result = _search(model, golden, target, spoken[0])
    assert (result.divergence, result.examined, len(result.refused)) == (None, 0, 51)
    assert result.first_mismatch is not None
    assert result.refused[0][1] == "no memory for so many"
    assert result.explanation is not None
    assert "51 of them could not be read" in result.explanation.account


def test_a_model_at_its_end_is_not_searched_past_its_clip(golden: EngineTensors) -> None:
    """A single frame: a wrong initial state cannot be told from a wrong reading of it."""
    small = model_of(every_operator(), sliding_window_size=5, feature_step_size=10)
    result = _search(small, golden, Altered(alter_kernel(small.content, "CALL_ONCE")), SMALL[:3])
    assert result.divergence is not None
    assert result.divergence.op == "READ_VARIABLE"


def test_inner_tensors_as_outputs_change_no_operator(model: Model) -> None:
    before = read_model(model.content)
    after = read_model(with_outputs(model.content, [60, 12]))
    assert after.main.outputs == (60, 12)
    assert after.main.operators == before.main.operators
    assert after.main.tensors == before.main.tensors
