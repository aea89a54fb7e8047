"""A checkpoint that TensorFlow saved after a step of training is the network as it was then."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.checkpoint import best_weights, load_checkpoint
from exporter.network.configuration import find_configuration, load_configuration
from mww.core.errors import CheckpointError, ConfigurationError
from tests.support.examples import examples
from tests.support.needs import needs_tensorflow
from tests.support.networks import random_slices, reference

RESIDUAL = Path(__file__).parents[1] / "checkpoints" / "residual"


def as_trained(folder: Path) -> tuple[Path, Callable[[Any], Any]]:
    """Train the network for a step, with convolutions in `Stream` layers as the trainer has them, and save it."""
    import keras
    import tensorflow as tf

    from exporter.conversion.keras_forms import Valid
    from exporter.conversion.topology import lay

    checkpoint = load_checkpoint(RESIDUAL / "model.keras", {})
    architecture, weights = checkpoint.architecture, checkpoint.weights

    class Stream(keras.layers.Layer):  # type: ignore[misc]
        def __init__(self, cell: Any, **options: Any) -> None:
            super().__init__(**options)
            self.cell = cell

        def call(self, data: Any) -> Any:
            return self.cell(data)

    class Trainer(Valid):
        def convolution(self, data: Any, role: str, **options: Any) -> Any:
            if role != "first":
                return super().convolution(data, role, **options)
            kernel, *bias = self._weights[role]
            strides = (options.get("stride", 1), 1)
            cell = keras.layers.Conv2D(kernel.shape[3], kernel.shape[:2], strides=strides, use_bias=bool(bias))
            return Stream(cell, name=role)(data)

    inputs = keras.Input((architecture.training_slices, 40))
    slices = keras.layers.Reshape((architecture.training_slices, 1, 40))(inputs)
    model = keras.Model(inputs, lay(architecture, Trainer(weights), slices))
    for role, arrays in weights.items():
        model.get_layer(role).set_weights(list(arrays))
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss="binary_crossentropy", run_eagerly=True)
    batch = np.stack([random_slices(architecture.training_slices, seed=seed) for seed in range(4)])
    model.train_on_batch(batch, np.array([0, 1, 0, 1]))
    prefix = tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(str(folder / "restore" / "ckpt"))
    return Path(prefix), model


@needs_tensorflow
@pytest.mark.slow
def test_weights_that_the_optimiser_names_are_found_by_their_place_in_the_model(tmp_path: Path) -> None:
    prefix, model = as_trained(tmp_path)
    assert b"optimizer/_trainable_variables/0" in prefix.with_suffix(".index").read_bytes()
    settings = load_configuration(RESIDUAL / "training_config.yaml").settings
    read = load_checkpoint(prefix, settings)
    clips = np.stack([random_slices(read.architecture.training_slices, seed=seed) for seed in range(10, 14)])
    outputs = [reference(read.architecture, read.weights, clip) for clip in clips]
    np.testing.assert_allclose(outputs, np.asarray(model(clips)).ravel(), atol=1e-5)
    before = load_checkpoint(RESIDUAL / "model.keras", {}).weights
    assert any(not np.array_equal(before[role][0], arrays[0]) for role, arrays in read.weights.items())


def test_of_a_trainers_folder_the_best_weights_are_taken(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="without a trainer's weights"):
        best_weights(tmp_path)
    (tmp_path / "restore").mkdir()
    for number in (2, 10, 9):
        (tmp_path / "restore" / f"ckpt-{number}.index").touch()
    assert best_weights(tmp_path) == tmp_path / "restore" / "ckpt-10"
    (tmp_path / "train").mkdir()
    for place in ("train/last_weights.weights.h5", "last_weights.weights.h5", "train/best_weights.weights.h5"):
        (tmp_path / place).touch()
        assert best_weights(tmp_path) == tmp_path / place
    (tmp_path / "best_weights.index").touch()  # of Keras 2
    assert best_weights(tmp_path) == tmp_path / "train" / "best_weights.weights.h5"
    (tmp_path / "train" / "best_weights.weights.h5").unlink()
    assert best_weights(tmp_path) == tmp_path / "best_weights.index"
    assert best_weights(tmp_path / "restore") == tmp_path / "restore" / "ckpt-10"
    (tmp_path / "training_config.yaml").touch()
    assert find_configuration(best_weights(tmp_path)) == tmp_path / "training_config.yaml"
    assert best_weights(tmp_path / "restore" / "ckpt-2") == tmp_path / "restore" / "ckpt-2"


def test_what_the_trainer_was_given_does_not_tell_the_network(tmp_path: Path) -> None:
    path = tmp_path / "training_parameters.yaml"
    path.write_text("window_step_ms: 10\ntrain_dir: trained\nfeatures: []\ntraining_steps: [100]\nbatch_size: 8\n")
    with pytest.raises(ConfigurationError, match="the trainer's input") as caught:
        load_configuration(path)
    assert "training_config.yaml that the trainer wrote" in caught.value.hint


def test_a_model_as_a_checkpoint_names_the_verb_that_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(100))
    with pytest.raises(CheckpointError, match="TFLite model") as caught:
        load_checkpoint(path, {})
    assert caught.value.hint.startswith("mww recover")


@settings(derandomize=True, max_examples=examples(20), deadline=None)
@given(data=st.data())
def test_a_graph_with_cycles_or_missing_inputs_is_a_network_or_one_error(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("graph") / "model.keras"
    with zipfile.ZipFile(RESIDUAL / "model.keras") as source, zipfile.ZipFile(path, "w") as target:
        config = json.loads(source.read("config.json"))
        layers = config["config"]["layers"]
        names = [layer["name"] for layer in layers]
        for layer in data.draw(st.lists(st.sampled_from(layers), max_size=4)):
            new = data.draw(st.none() | st.lists(st.sampled_from(names), min_size=1, max_size=2))
            layer["inbound_nodes"] = [] if new is None else [{"args": [[_tensor(name) for name in new]]}]
        for name in source.namelist():
            target.writestr(name, json.dumps(config) if name == "config.json" else source.read(name))
    with suppress(CheckpointError, ConfigurationError):
        load_checkpoint(path, {})


def _tensor(name: str) -> dict[str, object]:
    return {"class_name": "__keras_tensor__", "config": {"keras_history": [name, 0, 0]}}
