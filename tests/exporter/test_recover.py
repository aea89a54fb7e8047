"""A published model gives back its network, its weights and its ranges."""

import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pymicro_wakeword
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

import exporter
from exporter.checkpoint import Checkpoint, weights_file
from exporter.checkpoint.layouts import official_paths
from exporter.conversion.converters import convert
from exporter.network.architecture import MixedNet
from exporter.network.settings import trainer_configuration
from exporter.recover import recover
from harness.engines.exact.engine import ExactModel
from mww.core.errors import ModelFileError, MwwError
from mww.core.progress import Phases
from mww.tflite.model_file import read_model
from tests.support.edited_model import edited_model
from tests.support.examples import examples

MODELS = Path(pymicro_wakeword.__file__).parent / "models"
CHECKPOINTS = Path(__file__).parent / "checkpoints"
NAMES = ("okay_nabu", "alexa", "hey_jarvis", "hey_mycroft")


def _kernels(name: str) -> list[tuple[int, ...]]:
    architecture = recover(read_model(MODELS / f"{name}.tflite")).architecture
    assert isinstance(architecture, MixedNet)
    return [block.kernels for block in architecture.blocks]


def test_the_architecture_is_read_from_the_graph() -> None:
    assert _kernels("hey_jarvis") == [(5,), (9,), (13,), (21,)]
    assert _kernels("okay_nabu") == [(3,), (5, 9), (7, 13), (9, 15), (17,)]


def test_the_newest_okay_nabu_has_a_first_bias_five_blocks_and_one_time_step() -> None:
    recovered = recover(read_model(MODELS / "okay_nabu.tflite"))
    assert isinstance(recovered.architecture, MixedNet)
    assert recovered.architecture.first is not None
    assert recovered.architecture.first.bias
    assert recovered.architecture.frames == 1
    assert recovered.weights["dense"][0].shape == (64, 1)
    assert np.any(recovered.weights["first"][1])


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_quantise_to_what_the_model_holds(name: str) -> None:
    model = read_model(MODELS / f"{name}.tflite")
    recovered = recover(model)
    for parameter in recovered.architecture.parameters:
        assert tuple(array.shape for array in recovered.weights[parameter.role]) == parameter.shapes
    stored = {
        tensor.shape: model.constant(tensor)
        for tensor in model.main.tensors
        if tensor.dtype == "INT8" and model.is_constant(tensor) and len(tensor.shape) == 2
    }
    ((_, dense),) = stored.items()
    kernel = recovered.weights["dense"][0]
    quantised = np.rint(kernel / (np.abs(kernel).max() / 127))
    np.testing.assert_array_equal(quantised.T, dense)


@pytest.mark.parametrize("name", NAMES)
def test_ranges_are_those_of_the_quantisation(name: str) -> None:
    ranges = recover(read_model(MODELS / f"{name}.tflite")).ranges
    assert ranges["input"] == pytest.approx((0.0, 26.0))
    assert ranges["probability"] == (0.0, 255 / 256)
    assert ranges["dense"][0] < 0 < ranges["dense"][1]


def test_the_checkpoint_has_the_official_trainers_layout(tmp_path: Path) -> None:
    recovered = recover(read_model(MODELS / "hey_jarvis.tflite"))
    path = tmp_path / "best.weights.h5"
    path.write_bytes(weights_file(recovered.architecture, recovered.weights))
    with h5py.File(path) as file:
        assert file["layers/stream/cell/vars/0"].shape == (5, 1, 40, 30)
        assert file["layers/stream/cell/vars"].attrs["name"] == "conv2d"
        assert file["layers/conv2d_3/vars/0"].shape == (1, 1, 60, 60)
        assert file["layers/conv2d_3/vars"].attrs["name"] == "conv2d_4"
        assert file["layers/batch_normalization_3/vars/3"].shape == (60,)
        assert file["layers/depthwise_conv2d/vars/1"].shape == (30,)
        assert file["layers/dense/vars/0"].shape == (300, 1)
    assert len(official_paths(recovered.architecture)) == len(recovered.architecture.parameters)


def test_the_configuration_is_the_trainers() -> None:
    architecture = recover(read_model(MODELS / "okay_nabu.tflite")).architecture
    document = yaml.safe_load(trainer_configuration(architecture))
    assert document["stride"] == 3
    assert document["spectrogram_length"] == architecture.training_slices
    assert document["flags"]["mixconv_kernel_sizes"] == "[3], [5, 9], [7, 13], [9, 15], [17]"
    assert document["flags"]["first_conv_bias"] == 1


def test_another_network_is_refused_with_the_operator_that_does_not_fit() -> None:
    content = bytearray((MODELS / "hey_jarvis.tflite").read_bytes())
    model = read_model(bytes(content))
    cut = model.main.operators[17]
    assert cut.op == "CONV_2D"
    with pytest.raises(ModelFileError) as error:
        recover(_without(model, cut.index))
    assert error.value.hint


def test_the_model_of_sarpels_trainer_is_read_back() -> None:
    path = CHECKPOINTS / "sarpel" / "exported.tflite"
    recovered = recover(read_model(path))
    assert isinstance(recovered.architecture, MixedNet)
    assert recovered.architecture.residual_after_relu
    checkpoint = Checkpoint(recovered.architecture, recovered.weights, "recovered")
    again = convert(checkpoint, recovered.ranges, None, Phases()).content
    frames = np.random.default_rng(1).integers(-128, 128, (200, 3 * 40)).astype(np.int8)
    published, own = (ExactModel(content).infer(frames) for content in (path.read_bytes(), again))
    assert len(np.unique(published)) > 3
    np.testing.assert_array_equal(own, published)


def test_an_error_of_python_is_never_a_hint() -> None:
    root = Path(exporter.__file__).parents[1]
    inner = re.compile(r"hint=(str|repr)\(error|hint=f?.{0,40}\{(str\()?error[!})]")
    for folder in ("mww", "exporter", "harness"):
        for path in (root / folder).rglob("*.py"):
            assert not inner.search(path.read_text("utf-8")), path


def _without(model, index):  # type: ignore[no-untyped-def]
    """The model with one operator of its main graph left out."""
    from dataclasses import replace

    main = replace(model.main, operators=tuple(op for op in model.main.operators if op.index != index))
    return replace(model, subgraphs=(main, *model.subgraphs[1:]))


@settings(max_examples=examples(30), deadline=None)
@example(places=[(5565, 0)])  # the bias of a convolution becomes FLOAT32, with the scales of integers
@given(places=st.lists(st.tuples(st.integers(1, 16_000), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_damaged_model_is_one_error_or_a_network(places: list[tuple[int, int]]) -> None:
    content = bytearray((MODELS / "hey_jarvis.tflite").read_bytes())
    for from_the_end, value in places:  # where the tables are; the weights lie in front
        content[-from_the_end] = value
    try:
        recovered = recover(read_model(bytes(content)))
    except MwwError as error:
        assert "\n" not in error.message
        assert "tuple" not in error.hint
        assert "index" not in error.hint
    else:
        assert all(np.isfinite(array).all() for layer in recovered.weights.values() for array in layer)


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), 0.0, -0.1, 1e38])
def test_a_scale_without_a_range_is_refused(scale: float, tmp_path: Path) -> None:
    def change(model: Any) -> None:
        graph = model.subgraphs[0]
        graph.tensors[graph.inputs[0]].quantization.scale = [scale]

    path = edited_model(MODELS / "okay_nabu.tflite", change, tmp_path / "edited.tflite")
    with pytest.raises(ModelFileError, match="has the scale"):
        recover(read_model(path))
