"""Checkpoints that the trainers' own code wrote give back the networks that it trained.

`checkpoints/` holds small networks with random weights, saved by microWakeWord and by sarpel's trainer, with what they
answered; `keras2` by microWakeWord's code under tf-keras 2.19, after a step of training.
"""

from __future__ import annotations

import zipfile
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.checkpoint import Checkpoint, load_checkpoint, weights_file
from exporter.network.architecture import Inception, MixedNet
from exporter.network.configuration import find_configuration, load_configuration
from mww.core.errors import CheckpointError, ConfigurationError, MwwError
from tests.support.examples import examples
from tests.support.networks import reference

CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"
NAMES = ("residual", "attention", "inception", "sarpel", "keras2")


def _weights(name: str, folder: Path) -> Path:
    """The `.weights.h5` of a `.keras` file, which is what `save_weights` writes."""
    path = folder / f"{name}.weights.h5"
    with zipfile.ZipFile(CHECKPOINTS / name / "model.keras") as archive:
        path.write_bytes(archive.read("model.weights.h5"))
    return path


def _settings(name: str) -> dict[str, object]:
    return dict(load_configuration(CHECKPOINTS / name / "training_config.yaml").settings)


def _assert_answers(checkpoint: Checkpoint, name: str) -> None:
    recorded = np.load(CHECKPOINTS / name / "answers.npz")
    features = recorded["features"].astype(np.float32) / np.float32(7)
    assert features.shape[1] == checkpoint.architecture.training_slices
    outputs = [reference(checkpoint.architecture, checkpoint.weights, clip) for clip in features]
    np.testing.assert_allclose(outputs, recorded["outputs"], atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_weights_file_and_its_configuration_are_the_trained_network(name: str, tmp_path: Path) -> None:
    _assert_answers(load_checkpoint(_weights(name, tmp_path), _settings(name)), name)


@pytest.mark.parametrize("name", NAMES)
def test_a_keras_file_needs_no_configuration(name: str) -> None:
    path = CHECKPOINTS / name / "model.keras"
    _assert_answers(load_checkpoint(path, {}), name)
    _assert_answers(load_checkpoint(path, _settings(name)), name)


def test_the_h5_of_keras_2_needs_no_configuration_with_the_model_and_one_without(tmp_path: Path) -> None:
    path = CHECKPOINTS / "keras2" / "model.h5"
    _assert_answers(load_checkpoint(path, {}), "keras2")
    weights = tmp_path / "weights.h5"
    with h5py.File(path) as source, h5py.File(weights, "w") as target:
        for name, value in source["model_weights"].attrs.items():
            target.attrs[name] = value
        for name in source["model_weights"]:
            source.copy(f"model_weights/{name}", target)
    _assert_answers(load_checkpoint(weights, _settings("keras2")), "keras2")


@given(data=st.data())
@settings(max_examples=examples(25), deadline=None)
def test_a_hostile_h5_of_keras_2_is_one_error_or_a_network(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("hostile") / "model.h5"
    path.write_bytes((CHECKPOINTS / "keras2" / "model.h5").read_bytes())
    texts = st.lists(st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=9), max_size=5)
    with h5py.File(path, "r+") as file:
        group = file["model_weights"] if data.draw(st.booleans()) else file
        name = data.draw(st.sampled_from(["layer_names", "model_config"]))
        value = data.draw(texts | st.floats() | st.just("{}") | st.just('{"class_name": "Functional", "config": [3]}'))
        try:
            group.attrs[name] = value
        except (TypeError, ValueError, UnicodeEncodeError):
            return  # nobody can write it
    with suppress(CheckpointError, ConfigurationError):
        load_checkpoint(path, _settings("keras2"))


@pytest.mark.parametrize("name", ["residual", "inception"])
def test_a_tf_checkpoint_is_named_by_its_prefix_or_its_index(name: str) -> None:
    prefix = CHECKPOINTS / name / "restore" / "ckpt-1"
    assert find_configuration(prefix) == CHECKPOINTS / name / "training_config.yaml"
    _assert_answers(load_checkpoint(prefix, _settings(name)), name)
    _assert_answers(load_checkpoint(prefix.with_name("ckpt-1.index"), _settings(name)), name)


def test_a_tf_checkpoint_without_its_data_is_refused(tmp_path: Path) -> None:
    source = CHECKPOINTS / "residual" / "restore"
    (tmp_path / "ckpt-1.index").write_bytes((source / "ckpt-1.index").read_bytes())
    with pytest.raises(CheckpointError, match="ckpt-1"):
        load_checkpoint(tmp_path / "ckpt-1", _settings("residual"))


@given(index=st.booleans(), place=st.integers(0, 2**20), flip=st.integers(1, 255))
@settings(max_examples=examples(50), deadline=None)
def test_a_damaged_tf_checkpoint_is_refused_or_tells_the_same(
    index: bool, place: int, flip: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    source = CHECKPOINTS / "residual" / "restore"
    folder = tmp_path_factory.mktemp("damaged")
    for path in source.glob("ckpt-1.*"):
        content = bytearray(path.read_bytes())
        if (path.suffix == ".index") == index:
            content[place % len(content)] ^= flip
        (folder / path.name).write_bytes(content)
    try:
        result = load_checkpoint(folder / "ckpt-1", _settings("residual")).weights
    except CheckpointError:
        return
    whole = load_checkpoint(source / "ckpt-1", _settings("residual")).weights
    for role, arrays in whole.items():
        for array, other in zip(arrays, result[role], strict=True):
            np.testing.assert_array_equal(array, other)


def test_the_trainers_own_meaning_is_kept(tmp_path: Path) -> None:
    sarpel = load_checkpoint(_weights("sarpel", tmp_path), _settings("sarpel")).architecture
    assert isinstance(sarpel, MixedNet)
    assert sarpel.causal
    assert sarpel.residual_after_relu
    assert not sarpel.depthwise_bias
    official = load_checkpoint(_weights("residual", tmp_path), _settings("residual")).architecture
    assert isinstance(official, MixedNet)
    assert not official.causal
    assert [(block.repeat, block.residual) for block in official.blocks] == [(1, True), (2, True), (1, False)]
    inception = load_checkpoint(_weights("inception", tmp_path), _settings("inception")).architecture
    assert isinstance(inception, Inception)
    assert [stem.groups for stem in inception.stems] == [4, 1]
    assert [block.dilation for block in inception.blocks] == [1, 2]


@pytest.mark.parametrize(
    ("name", "needed"),
    [("sarpel", ["stride"]), ("inception", ["cnn2_dilation"]), ("attention", ["stride", "pooled"])],
)
def test_what_shapes_do_not_tell_is_asked_for_by_name(name: str, needed: list[str], tmp_path: Path) -> None:
    reported: dict[str, object] = {}
    for setting in needed:
        with pytest.raises(ConfigurationError, match=setting):
            load_checkpoint(_weights(name, tmp_path), reported)
        reported[setting] = _settings(name)[setting]


def test_without_a_configuration_shapes_tell_the_blocks(tmp_path: Path) -> None:
    reported = {name: _settings("attention")[name] for name in ("stride", "pooled", "max_pool", "spectrogram_length")}
    _assert_answers(load_checkpoint(_weights("attention", tmp_path), reported), "attention")
    _assert_answers(load_checkpoint(_weights("sarpel", tmp_path), {"stride": 3}), "sarpel")


@pytest.mark.parametrize(
    ("name", "setting", "value", "words"),
    [
        ("residual", "first_conv_filters", 7, "first_conv_filters 6, the configuration 7"),
        ("residual", "pointwise_filters", [8, 10, 9], r"10, 8\]?, the configuration 8, 10, 9"),
        ("residual", "repeat_in_block", [1, 1, 1], "convolutions|pointwise"),
        ("residual", "residual_connection", [1, 0, 1], "the architecture|the checkpoint"),
        ("residual", "spectrogram_length", 101, "time steps"),
        ("residual", "pooled", True, "pooled"),
        ("residual", "stride", 1, "time steps"),
        ("residual", "architecture", "inception", "architecture mixednet, the configuration inception"),
        ("attention", "spatial_attention", False, "spatial_attention True, the configuration False"),
        ("attention", "pooled", False, "time steps|dense"),
        ("inception", "cnn2_kernel_sizes", [3, 3], "cnn2_kernel_sizes 3, 5, the configuration 3, 3"),
        ("inception", "cnn2_dilation", [1, 1], "time steps"),
        ("sarpel", "mixconv_kernel_sizes", [[5], [7, 9]], "mixconv_kernel_sizes"),
        ("sarpel", "residual_connection", [1, 0], "residual_connection 1, 1, the configuration 1, 0"),
    ],
)
def test_a_contradiction_is_an_error_that_names_both(
    name: str, setting: str, value: object, words: str, tmp_path: Path
) -> None:
    with pytest.raises(MwwError, match=words):
        load_checkpoint(_weights(name, tmp_path), {**_settings(name), setting: value})


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.weights.h5"
    path.write_text("not a checkpoint")
    with pytest.raises(CheckpointError, match=r"model\.weights\.h5"):
        load_checkpoint(path, {})
    with zipfile.ZipFile(tmp_path / "x.keras", "w") as archive:
        archive.writestr("config.json", "[]")
    with pytest.raises(CheckpointError, match=r"x\.keras"):
        load_checkpoint(tmp_path / "x.keras", {})


def test_a_diverged_training_is_refused(tmp_path: Path) -> None:
    checkpoint = load_checkpoint(CHECKPOINTS / "residual" / "model.keras", {})
    kernel, bias = checkpoint.weights["dense"]
    broken = {**checkpoint.weights, "dense": (kernel * np.float32("nan"), bias)}
    path = tmp_path / "nan.weights.h5"
    path.write_bytes(weights_file(checkpoint.architecture, broken))
    with pytest.raises(CheckpointError, match="dense hold NaN"):
        load_checkpoint(path, _settings("residual"))


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    for name in ("residual", "attention", "inception"):
        checkpoint = load_checkpoint(CHECKPOINTS / name / "model.keras", {})
        path = tmp_path / f"{name}.weights.h5"
        path.write_bytes(weights_file(checkpoint.architecture, checkpoint.weights))
        again = load_checkpoint(path, _settings(name))
        assert again.architecture == checkpoint.architecture
        for role, arrays in checkpoint.weights.items():
            for array, other in zip(arrays, again.weights[role], strict=True):
                np.testing.assert_array_equal(array, other)


@settings(max_examples=examples(25), deadline=None)
@given(data=st.data(), kind=st.sampled_from(["h5", "keras"]))
def test_a_damaged_file_is_one_error_or_a_network(
    data: st.DataObject, kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    source = _weights("residual", folder) if kind == "h5" else CHECKPOINTS / "residual" / "model.keras"
    content = bytearray(source.read_bytes())
    if data.draw(st.booleans(), label="cut"):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    for _ in range(data.draw(st.integers(0, 8))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = folder / f"damaged.{kind}"
    path.write_bytes(content)
    try:
        checkpoint = load_checkpoint(path, _settings("residual"))
    except MwwError as error:
        assert error.exit_code == 2
        assert "\n" not in error.message
    else:
        shapes = {role: tuple(array.shape for array in arrays) for role, arrays in checkpoint.weights.items()}
        assert all(shapes[parameter.role] == parameter.shapes for parameter in checkpoint.architecture.parameters)
