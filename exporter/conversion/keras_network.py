"""An architecture as a Keras model, in the form for training and in the form for streaming.

Importing this module imports TensorFlow. `exporter.conversion.topology` defines a network, and
`exporter.conversion.keras_forms` makes the layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from exporter.checkpoint import Checkpoint, load_checkpoint
from exporter.conversion.folding import fold_norms
from exporter.conversion.keras_forms import Causal, Streaming, Valid
from exporter.conversion.topology import lay
from exporter.network.architecture import Architecture, MixedNet, Weights
from exporter.network.settings import Settings
from mww.core.scratch import scratch_folder
from mww.esphome.contract import FEATURES

layers = keras.layers


def build_network(architecture: Architecture, weights: Weights) -> keras.Model:
    """The network for training: float32 [batch, training_slices, 40] to [batch, 1]."""
    causal = isinstance(architecture, MixedNet) and architecture.causal
    inputs = keras.Input((architecture.training_slices, FEATURES), name="features")
    network = _build(architecture, weights, inputs, Causal(weights) if causal else Valid(weights))
    network.mww_architecture = architecture  # for `checkpoint_of`
    return network


def build_streaming_network(architecture: Architecture, weights: Weights) -> keras.Model:
    """The network for streaming, frame by frame: float32 [1, stride, 40] to [1, 1], with ring buffers."""
    inputs = keras.Input((architecture.stride, FEATURES), batch_size=1, name="features")
    folded = fold_norms(architecture, weights)
    return _build(architecture, folded, inputs, Streaming(folded))


def checkpoint_of(model: keras.Model, configured: Settings) -> Checkpoint:
    """Read architecture and weights from a model in memory, through the `.keras` file that saving it makes.

    Raises:
        CheckpointError: It is not a wake word network, or contradicts the configuration.
        ConfigurationError: A setting is missing from both the model and the configuration.
    """
    architecture = getattr(model, "mww_architecture", None)
    if architecture is not None:
        roles = [parameter.role for parameter in architecture.parameters]
        return Checkpoint(architecture, {role: tuple(model.get_layer(role).get_weights()) for role in roles}, "network")
    with scratch_folder("mww-model-") as folder:
        path = folder / "model.keras"
        model.save(path)
        return load_checkpoint(path, configured)


def _build(architecture: Architecture, weights: Weights, inputs: Any, layers: Valid) -> keras.Model:
    with _float32():
        slices = keras.layers.Reshape((inputs.shape[1], 1, FEATURES), name="slices")(inputs)
        model = keras.Model(inputs, lay(architecture, layers, slices), name="network")
    for role, arrays in weights.items():
        model.get_layer(role).set_weights(list(arrays))
    return model


@contextmanager
def _float32() -> Iterator[None]:
    """Build layers in float32, even if a trainer has set another precision for its own layers."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)
