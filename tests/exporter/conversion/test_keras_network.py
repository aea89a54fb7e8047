"""The network that streams answers what the network that was trained answers, when both look at the same slices."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from exporter.network.architecture import MixedNet
from tests.support.needs import needs_tensorflow
from tests.support.networks import ARCHITECTURES, random_slices, random_weights, reference

pytestmark = needs_tensorflow


def _networks(name: str) -> tuple[Any, Any]:
    from exporter.conversion.keras_network import build_network, build_streaming_network

    weights = random_weights(ARCHITECTURES[name])
    return build_network(ARCHITECTURES[name], weights), build_streaming_network(ARCHITECTURES[name], weights)


def _stream(network: Any, slices: npt.NDArray[np.float32], stride: int) -> list[float]:
    return [float(network(slices[None, at : at + stride])[0, 0]) for at in range(0, len(slices), stride)]


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name != "padded"])
def test_streaming_equals_training_in_phase_and_only_there(name: str) -> None:
    architecture = ARCHITECTURES[name]
    trained, streaming = _networks(name)
    window, stride = architecture.training_slices, architecture.stride
    for more in (7, 20):
        count = -(-window // stride) + more
        slices = random_slices(count * stride, seed=more)
        for layer in streaming.layers:
            if hasattr(layer, "states"):
                layer.states.assign(np.zeros(layer.states.shape))
        streamed = _stream(streaming, slices, stride)
        for frame in (count, count - 1, count - more // 2):
            end = frame * stride  # the newest frame ends where the window does
            heard = slices[None, end - window : end]
            assert streamed[frame - 1] == pytest.approx(float(trained(heard)[0, 0]), abs=1e-5)
        before = slices[None, end - window - 1 : end - 1]
        assert abs(streamed[frame - 1] - float(trained(before)[0, 0])) > 1e-5


def test_padded_training_equals_streaming_from_zero_state() -> None:
    """Training that pads with zeros has them where streaming starts with them, if the first slices are in place."""
    architecture = ARCHITECTURES["padded"]
    trained, streaming = _networks("padded")
    slices = random_slices(architecture.training_slices)
    streaming.get_layer("stream").states.assign(slices[None, :2, None])
    streamed = _stream(streaming, slices[2:], architecture.stride)
    assert streamed[-1] == pytest.approx(float(trained(slices[None])[0, 0]), abs=1e-5)


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
        trained, streaming = _networks("attention")
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
