"""The exact engine against TFLite Micro itself: every tensor of every frame."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from harness.clips.golden import Golden
from harness.engines.exact.engine import ExactModel
from harness.engines.process import EngineProcess
from mww.core.errors import EngineError
from mww.core.resources import fixtures_dir
from mww.tflite.model_file import read_model, with_outputs
from tests.support.every_operator import every_operator
from tests.support.needs import needs_tflm
from tests.support.synthetic import Graph, pack

NAMES = ("okay_nabu", "hey_jarvis", "alexa", "hey_mycroft", "canary", "every operator", "recurrent")


@pytest.fixture(scope="module")
def tflm() -> Iterator[EngineProcess]:
    with EngineProcess("tflm") as engine:
        yield engine


def content(models: Path, name: str) -> bytes:
    if name == "every operator":
        return every_operator()
    if name == "recurrent":
        return recurrent()
    path = fixtures_dir() / "canary" / "canary.tflite" if name == "canary" else models / f"{name}.tflite"
    return path.read_bytes()


def recurrent() -> bytes:
    """A model whose variable depends on itself: an average of all frames so far."""
    main, first = Graph(), Graph()
    scale = {"scales": (0.1,), "zero_points": (-128,)}
    frame, state = main.tensor([1, 2, 40], **scale), main.tensor([1, 2, 40], **scale)
    handle = main.tensor([], "RESOURCE", scales=())
    total = main.tensor([1, 2, 40], scales=(0.2,), zero_points=(-128,))
    half = main.tensor([1, 2, 40], **scale)
    logit, output = main.tensor([1, 1], scales=(0.05,)), main.tensor([1, 1], "UINT8", scales=(1 / 256,))
    probability = main.tensor([1, 1], scales=(1 / 256,), zero_points=(-128,))
    weights = np.random.default_rng(3).integers(-90, 90, (1, 80), np.int8)
    main.inputs, main.outputs = [frame], [output]
    main.operator("CALL_ONCE", [], [], initSubgraphIndex=1)
    main.operator("VAR_HANDLE", [], [handle], container=b"", sharedName=b"sum")
    main.operator("READ_VARIABLE", [handle], [state])
    main.operator("ADD", [state, frame], [total])
    main.operator("QUANTIZE", [total], [half])
    main.operator("ASSIGN_VARIABLE", [handle, half], [])
    dense = main.tensor([1, 80], scales=(0.01,), data=weights.tobytes())
    bias = main.tensor([1], "INT32", scales=(0.002,), data=bytes(4))
    main.operator("FULLY_CONNECTED", [total, dense, bias], [logit])
    main.operator("LOGISTIC", [logit], [probability])
    main.operator("QUANTIZE", [probability], [output])
    same = first.tensor([], "RESOURCE", scales=())
    silence = first.tensor([1, 2, 40], data=b"\x90" * 80, **scale)
    first.operator("VAR_HANDLE", [], [same], container=b"", sharedName=b"sum")
    first.operator("ASSIGN_VARIABLE", [same, silence], [])
    return pack(main, first)


def every_tensor(model: bytes, part: float = 1.0) -> bytes:
    """A copy whose outputs are all the bytes that its operators compute, or a part of them, always the same."""
    main = read_model(model).main
    computed = [tensor for operator in main.operators for tensor in operator.outputs]
    chosen = np.random.default_rng(len(computed)).random(len(computed)) < part
    chosen[-1] = True
    kept = [tensor for tensor, take in zip(computed, chosen, strict=True) if take]
    return with_outputs(model, [tensor for tensor in kept if main.tensors[tensor].dtype in ("INT8", "UINT8")])


def frames_for(model: bytes, number: int, seed: int = 0) -> npt.NDArray[np.int8]:
    """Noise, silence, the loudest, and steps between them."""
    size = read_model(model).main.tensors[read_model(model).main.inputs[0]].elements
    frames = np.random.default_rng(seed).integers(-128, 128, (number, size), np.int8)
    frames[number // 4 : number // 3] = -128
    frames[number // 3 : number // 2] = 127
    return frames


def reference(engine: EngineProcess, model: bytes, frames: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
    engine.load(model)
    return np.frombuffer(engine.infer(frames.tobytes()), np.uint8).reshape(len(frames), -1)


@needs_tflm
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("part", [1.0, 0.3, 0.1])
def test_every_tensor_of_every_frame_is_the_same(models: Path, tflm: EngineProcess, name: str, part: float) -> None:
    model = every_tensor(content(models, name), part)
    frames = frames_for(model, 96)
    exact = ExactModel(model, block=40)
    assert exact.by_steps == (name == "recurrent")
    assert np.array_equal(exact.infer(frames), reference(tflm, model, frames))


@needs_tflm
@pytest.mark.parametrize("name", NAMES)
def test_blocks_cuts_resets_and_clips_in_one_line_change_nothing(models: Path, tflm: EngineProcess, name: str) -> None:
    model = content(models, name)
    frames = frames_for(model, 150, seed=1)
    expected = reference(tflm, model, frames)
    exact = ExactModel(model, block=64)
    for cuts in ([], [1], [75], *([cut] for cut in range(60, 68)), list(range(1, 30)), [3, 5, 100, 101, 149]):
        exact.reset()
        pieces = [exact.infer(piece) for piece in np.split(frames, cuts)]
        assert np.array_equal(np.concatenate(pieces), expected), cuts
    clips = [frames, frames[:7], frames[:0], frames[:64], frames[:1], frames[:63], frames]
    for outputs, clip in zip(exact.infer_clips(clips), clips, strict=True):
        assert np.array_equal(outputs, expected[: len(clip)])
    assert np.array_equal(exact.infer(frames), expected)


def test_forced_steps_give_the_same_as_blocks(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.engines.exact import engine
    from harness.engines.exact.lines import NoLineError

    model = every_tensor(content(models, "okay_nabu"))
    frames = frames_for(model, 40)
    expected = ExactModel(model).infer(frames)

    def refuse(graph: object) -> None:
        raise NoLineError

    monkeypatch.setattr(engine, "follow", refuse)
    stepped = ExactModel(model)
    assert stepped.by_steps
    assert np.array_equal(stepped.infer(frames), expected)


def test_goldens_hold_without_tflite_micro() -> None:
    exact = ExactModel((fixtures_dir() / "canary" / "canary.tflite").read_bytes())
    with closing(Golden.open(fixtures_dir() / "canary" / "golden.npz")) as golden:
        for clip in golden.clips:
            exact.reset()
            slices = np.concatenate(list(clip.blocks()))
            frames = slices[: len(slices) // 3 * 3].reshape(-1, 120)
            assert np.array_equal(exact.infer(frames)[:, 0], golden.outputs(clip.name))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": "INT16"}, "FULLY_CONNECTED 0: tensor 0 is INT16"),
        ({"activation": 4}, "FULLY_CONNECTED 0: the activation TANH"),
        ({"scale": 1e-9}, "FULLY_CONNECTED 0: an output scale so fine"),
        ({"bias": 2**31 - 1}, "FULLY_CONNECTED 0: sums that leave int32"),
        ({"op": "SUB"}, "SUB 0: the operator is not supported"),
    ],
)
def test_a_model_that_it_cannot_take_is_refused_by_operator_and_option(change: dict[str, object], message: str) -> None:
    with pytest.raises(EngineError) as caught:
        ExactModel(dense(**change))
    assert message in caught.value.message or "input or output of type INT16" in caught.value.message


def dense(
    dtype: str = "INT8", activation: int = 0, scale: float = 0.1, bias: int = 0, op: str = "FULLY_CONNECTED"
) -> bytes:
    main = Graph()
    frame = main.tensor([1, 3, 40], dtype)
    output = main.tensor([1, 1], scales=(scale,))
    weights = main.tensor([1, 120], scales=(0.01,), data=b"\x05" * 120)
    constant = main.tensor([1], "INT32", scales=(0.001,), data=np.array([bias], "<i4").tobytes())
    main.inputs, main.outputs = [frame], [output]
    options = {"fusedActivationFunction": activation} if op == "FULLY_CONNECTED" else {}
    main.operator(op, [frame, weights, constant], [output], **options)
    return pack(main)
