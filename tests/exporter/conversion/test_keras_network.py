"""The network that streams answers what the network that was trained answers, when both look at the same slices."""

from functools import cache
from typing import Any

import numpy as np
import pytest

from exporter.network.architecture import MixedNet
from tests.support.needs import needs_tensorflow
from tests.support.networks import ARCHITECTURES, random_slices, random_weights, reference, streamed

pytestmark = needs_tensorflow


@cache
def _networks(name: str) -> tuple[Any, Any]:
    from exporter.conversion.keras_network import build_network, build_streaming_network

    weights = random_weights(ARCHITECTURES[name])
    return build_network(ARCHITECTURES[name], weights), build_streaming_network(ARCHITECTURES[name], weights)


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name != "padded"])
def test_streaming_equals_training_in_phase_and_only_there(name: str) -> None:
    architecture = ARCHITECTURES[name]
    trained, streaming = _networks(name)
    window, stride = architecture.training_slices, architecture.stride
    count = -(-window // stride) + 20
    slices = random_slices(count * stride)
    answers = streamed(streaming, slices)
    frames = (count, count - 1, count - 10)
    ends = [frame * stride for frame in frames]  # the newest frame ends where the window does
    heard = [slices[end - window : end] for end in (*ends, ends[-1] - 1)]
    *in_phase, before = np.asarray(trained(np.stack(heard)))[:, 0]
    assert [answers[frame - 1] for frame in frames] == pytest.approx(in_phase, abs=1e-5)
    assert abs(answers[frames[-1] - 1] - before) > 1e-5


def test_padded_training_equals_streaming_from_zero_state() -> None:
    """Training that pads with zeros has them where streaming starts with them, if the first slices are in place."""
    architecture = ARCHITECTURES["padded"]
    trained, streaming = _networks("padded")
    slices = random_slices(architecture.training_slices)
    streaming.get_layer("stream").states.assign(slices[None, :2, None])
    assert streamed(streaming, slices[2:])[-1] == pytest.approx(float(trained(slices[None])[0, 0]), abs=1e-5)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_trained_form_is_the_network_as_numpy_computes_it(name: str) -> None:
    architecture = ARCHITECTURES[name]
    trained, _ = _networks(name)
    slices = random_slices(architecture.training_slices)
    answer = float(trained(slices[None])[0, 0])
    assert answer == pytest.approx(reference(architecture, random_weights(architecture), slices), abs=1e-5)
    assert 0.001 < answer < 0.999


def test_a_mixed_precision_policy_of_the_trainer_changes_nothing() -> None:
    import keras

    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        trained, streaming = _networks.__wrapped__("attention")
        assert keras.config.dtype_policy().name == "mixed_float16"
    finally:
        keras.config.set_dtype_policy(policy)
    assert {trained.output.dtype, streaming.output.dtype} == {"float32"}


def test_state_variables_hold_what_the_ring_buffers_need() -> None:
    _, streaming = _networks("default")
    default = ARCHITECTURES["default"]
    assert isinstance(default, MixedNet)
    states = {layer.name: tuple(layer.states.shape) for layer in streaming.layers if hasattr(layer, "states")}
    assert states == {
        "stream": (1, 2, 1, 40),
        "stream_1": (1, 4, 1, 32),
        "stream_2": (1, 10, 1, 64),
        "stream_3": (1, 14, 1, 64),
        "stream_4": (1, 22, 1, 64),
        "stream_5": (1, default.frames - 1, 1, 64),
    }
