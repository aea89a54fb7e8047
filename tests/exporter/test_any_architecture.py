"""Whatever network can be described goes from its checkpoint to tflite-micro, and answers as plain numpy does."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from exporter.checkpoint import load_checkpoint, weights_file
from exporter.conversion.converters import CONVERTERS
from exporter.network.architecture import (
    ATTENTION_KERNEL,
    Architecture,
    FirstConvolution,
    Inception,
    InceptionBlock,
    InceptionStem,
    MixBlock,
    MixedNet,
)
from exporter.network.configuration import load_configuration
from exporter.network.settings import trainer_configuration
from exporter.recover import recover
from exporter.tflite import export_to_tflite
from mww.esphome.frontend import quantize_features
from mww.tflite.model_file import read_model
from tests.support.examples import examples
from tests.support.needs import needs_tensorflow, needs_tflm
from tests.support.networks import random_slices, random_weights, reference
from tests.support.same_model import assert_same_model
from tests.support.tflm import run_tflm


@st.composite
def mix_blocks(draw: st.DrawFn, *, causal: bool) -> MixBlock:
    kernels = draw(st.lists(st.integers(1, 9), min_size=1, max_size=3))
    return MixBlock(
        filters=draw(st.integers(4, 12)),
        kernels=tuple(kernels if causal else sorted(kernels)),
        repeat=draw(st.integers(1, 2)),
        residual=draw(st.booleans()),
    )


@st.composite
def mixednets(draw: st.DrawFn) -> MixedNet:
    first = draw(st.none() | st.builds(FirstConvolution, st.integers(4, 12), st.integers(1, 6), st.booleans()))
    causal = draw(st.booleans())
    attention = draw(st.booleans())
    frames = draw(st.integers(ATTENTION_KERNEL + 1 if attention else 2, 9))
    return MixedNet(
        stride=draw(st.sampled_from([1, 3])) if first else 1,
        first=first,
        blocks=tuple(draw(st.lists(mix_blocks(causal=causal), min_size=1, max_size=3))),
        frames=frames,
        pooling=draw(st.sampled_from(["flat", "average", "max"])),
        attention=attention,
        depthwise_bias=not causal,
        residual_after_relu=causal,
        causal=causal,
    )


@st.composite
def inceptions(draw: st.DrawFn) -> Inception:
    groups = st.sampled_from([1, 2, 4])
    stems = st.builds(InceptionStem, st.just(8), st.integers(1, 5), groups)
    blocks = st.builds(InceptionBlock, st.just(4), st.integers(4, 9), st.integers(2, 5), groups, st.integers(1, 2))
    return Inception(
        stems=tuple(draw(st.lists(stems, min_size=1, max_size=2))),
        blocks=tuple(draw(st.lists(blocks, min_size=1, max_size=2))),
        frames=draw(st.integers(2, 9)),
    )


def write_checkpoint(architecture: Architecture, folder: Path) -> Path:
    """The network with random weights, as the official trainer would leave it."""
    path = folder / "random.weights.h5"
    path.write_bytes(weights_file(architecture, random_weights(architecture)))
    (folder / "training_config.yaml").write_text(trainer_configuration(architecture))
    return path


@settings(max_examples=examples(20), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(architecture=mixednets() | inceptions())
@example(architecture=MixedNet(1, None, (MixBlock(6, (3, 6, 9), 2), MixBlock(6, (1, 9)), MixBlock(4, (1,))), 7))
def test_checkpoint_and_configuration_say_all(architecture: Architecture, tmp_path_factory) -> None:  # type: ignore[no-untyped-def]
    path = write_checkpoint(architecture, tmp_path_factory.mktemp("any"))
    checkpoint = load_checkpoint(path, load_configuration(path.with_name("training_config.yaml")).settings)
    slices = random_slices(architecture.training_slices)
    expected = reference(architecture, random_weights(architecture), slices)
    assert reference(checkpoint.architecture, checkpoint.weights, slices) == expected


@pytest.mark.slow
@needs_tensorflow
@needs_tflm
@settings(max_examples=examples(3), deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(architecture=mixednets() | inceptions())
def test_tflm_answers_what_numpy_computes(architecture: Architecture, tmp_path_factory) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("any")
    stride, window = architecture.stride, architecture.training_slices
    checkpoint = write_checkpoint(architecture, folder)
    calibration = [random_slices(30, seed) for seed in range(30)]
    reference_result, result = (
        export_to_tflite(
            checkpoint,
            folder / converter,
            calibration=calibration,
            minimum_clips=30,
            keep_failed=True,
            converter=converter,
        )
        for converter in CONVERTERS[::-1]
    )
    assert {check.id for check in result.verification.failures} <= {"highest-output"}  # its weights are random
    content = result.model.read_bytes()
    assert_same_model(read_model(content), read_model(reference_result.model))
    assert [p.breakdown for p in result.arena] == [p.breakdown for p in reference_result.arena]
    frames = -(-window // stride) + 40
    raw = np.rint(random_slices(frames * stride, seed=1000) * 25.6).astype(np.uint16)
    slices = quantize_features(raw)
    outputs = run_tflm(content, slices, stride) / 256
    heard = (slices.astype(np.float32) + 128) * np.float32(26 / 255)
    ends = range(frames - 40, frames + 1)
    if isinstance(architecture, MixedNet) and architecture.causal:
        ends = range(0)  # its zeros in front are those of the first frames alone
    expected = [
        reference(architecture, random_weights(architecture), heard[end * stride - window : end * stride])
        for end in ends
    ]
    differences = np.abs(outputs[[end - 1 for end in ends]] - expected) if expected else np.zeros(1)
    assert differences.mean() < 0.02
    again = recover(read_model(content)).architecture
    assert (again.stride, again.dense_inputs) == (architecture.stride, architecture.dense_inputs)
