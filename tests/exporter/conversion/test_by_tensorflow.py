"""The default architecture comes out as devices need it, and calibrated as the converter itself would have."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporter.calibration.sets import RepresentativeDataset, create_representative_dataset_from_data
from exporter.checkpoint import Checkpoint
from exporter.conversion.converters import convert as convert_checkpoint
from exporter.conversion.tensorflow_quietly import tensorflow_quietly
from exporter.tflite import convert_model_saved, convert_saved_model_to_tflite
from mww.core.errors import CalibrationError, ConversionError
from mww.core.progress import Phases
from mww.esphome.contract import REGISTERED_OPS
from mww.esphome.frontend import quantize_features
from mww.tflite.model_file import ModelFile, read_model
from tests.support.needs import needs_tensorflow, needs_tflm
from tests.support.networks import DEFAULT, random_slices, random_weights, reference, streamed
from tests.support.same_model import assert_same_model
from tests.support.tflm import run_tflm

pytestmark = [needs_tensorflow, needs_tflm]


@dataclass(frozen=True)
class Converted:
    """The default architecture with random weights, converted both ways."""

    saved_model: Path
    streaming: Any
    dataset: RepresentativeDataset
    model: ModelFile
    per_frame: ModelFile


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Converted]:
    folder = tmp_path_factory.mktemp("conversion")
    dataset = create_representative_dataset_from_data([random_slices(12, seed) for seed in range(100)], minimum=100)
    with tensorflow_quietly():
        from exporter.conversion.by_tensorflow import convert_per_frame
        from exporter.conversion.keras_network import build_network

        trained = build_network(DEFAULT, random_weights(DEFAULT))
        streaming = convert_model_saved(trained, {}, folder / "saved")
        assert streaming.input.shape == (1, 3, 40)
        model = convert_saved_model_to_tflite(folder / "saved", folder / "model.tflite", dataset)
        per_frame = convert_per_frame(folder / "saved", dataset)
    yield Converted(folder / "saved", streaming, dataset, read_model(model), read_model(per_frame))


def test_the_graph_is_what_the_runtime_takes(converted: Converted) -> None:
    main = converted.model.main
    assert len(converted.model.subgraphs) == 2
    assert {operator.op for _, operator in converted.model.operators()} <= set(REGISTERED_OPS)
    features, output = main.tensors[main.inputs[0]], main.tensors[main.outputs[0]]
    assert (features.shape, features.dtype) == ((1, 3, 40), "INT8")
    assert features.quantization is not None
    assert features.quantization.scale == pytest.approx(26 / 255, rel=1e-6)
    assert features.quantization.zero_point == -128
    assert (output.shape, output.dtype) == ((1, 1), "UINT8")
    states = [main.tensors[op.outputs[0]] for op in main.operators if op.op == "READ_VARIABLE"]
    assert {state.dtype for state in states} == {"INT8"}
    assert sorted(state.shape for state in states) == [
        (1, 2, 1, 40),
        (1, 4, 1, 32),
        (1, 5, 1, 64),
        (1, 10, 1, 64),
        (1, 14, 1, 64),
        (1, 22, 1, 64),
    ]


def test_ranges_computed_at_once_are_those_that_the_converter_finds_frame_by_frame(converted: Converted) -> None:
    own, reference = converted.model.main, converted.per_frame.main
    assert [op.op for op in own.operators] == [op.op for op in reference.operators]
    for tensor, other in zip(own.tensors, reference.tensors, strict=True):
        assert tensor.shape == other.shape
        if tensor.quantization and other.quantization:
            assert tensor.quantization.scales == pytest.approx(other.quantization.scales, rel=1e-5)
            assert tensor.quantization.zero_points == other.quantization.zero_points
    slices = quantize_features(np.rint(random_slices(600, seed=9) * 25.6).astype(np.uint16))
    outputs = [run_tflm(model.content, slices, 3) for model in (converted.model, converted.per_frame)]
    assert np.abs(outputs[0] - outputs[1]).mean() < 0.1


def test_int8_answers_what_float_answers(converted: Converted) -> None:
    slices = quantize_features(np.rint(random_slices(900, seed=8) * 25.6).astype(np.uint16))
    floats = (slices.astype(np.float32) + 128) * np.float32(26 / 255)
    difference = np.abs(run_tflm(converted.model.content, slices, 3) / 256 - streamed(converted.streaming, floats))
    assert difference.mean() < 0.004
    assert np.percentile(difference, 99) < 0.025


def test_the_saved_model_answers_by_itself(converted: Converted) -> None:
    import tensorflow as tf

    saved = tf.saved_model.load(str(converted.saved_model))
    assert set(saved.signatures) == {"serve", "serving_default"}
    window = DEFAULT.training_slices
    slices = random_slices(-(-window // 3) * 3)
    answers = [float(saved.serve(slices[None, at : at + 3])[0, 0]) for at in range(0, len(slices), 3)]
    assert answers[-1] == pytest.approx(reference(DEFAULT, random_weights(DEFAULT), slices[-window:]), abs=1e-5)


def test_the_direct_converter_gives_the_same_model(converted: Converted) -> None:
    checkpoint = Checkpoint(DEFAULT, random_weights(DEFAULT), "random")
    model = read_model(convert_checkpoint(checkpoint, converted.dataset, "direct", Phases()).content)
    assert_same_model(model, converted.model)


def test_the_same_inputs_give_the_same_bytes(converted: Converted, tmp_path: Path) -> None:
    with tensorflow_quietly():
        from exporter.conversion.keras_network import build_network

        trained = build_network(DEFAULT, random_weights(DEFAULT))
        convert_model_saved(trained, {}, tmp_path / "saved")
    again = convert_saved_model_to_tflite(tmp_path / "saved", tmp_path / "again.tflite", converted.dataset)
    assert again.read_bytes() == converted.model.content


def test_a_dataset_of_another_shape_is_refused(converted: Converted, tmp_path: Path) -> None:
    def whole_clips() -> Iterator[list[np.ndarray]]:
        yield [np.zeros((1, 99, 40), np.float32)]

    with pytest.raises(CalibrationError):
        convert_saved_model_to_tflite(converted.saved_model, tmp_path / "x.tflite", whole_clips)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_saved_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConversionError), tensorflow_quietly():
        from exporter.conversion.by_tensorflow import convert

        convert(tmp_path, create_representative_dataset_from_data([random_slices(12)] * 500), Phases())
