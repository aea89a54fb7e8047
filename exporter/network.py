"""An architecture as a Keras model, in the form that was trained and in the form that streams.

Importing this module imports TensorFlow. One description serves both forms (`exporter.keras_forms` has what differs).
Every layer is named by its role, so that names, and with them the bytes of an export, do not depend on what was built
before in the same process.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from exporter.architecture import (
    ATTENTION_KERNEL,
    NORM_EPSILON,
    Architecture,
    Inception,
    InceptionBlock,
    MixBlock,
    MixedNet,
    Weights,
    split_channels,
)
from exporter.checkpoint import Checkpoint, load_checkpoint
from exporter.contract import FEATURES
from exporter.folding import fold_norms
from exporter.keras_forms import Causal, Cut, Form, ScaleAndShift, Split, Streaming, Valid
from exporter.scratch import scratch_folder
from exporter.settings import Settings

layers = keras.layers


def build_network(architecture: Architecture, weights: Weights) -> keras.Model:
    """The network as it was trained: float32 [batch, training_slices, 40] to [batch, 1]."""
    causal = isinstance(architecture, MixedNet) and architecture.causal
    inputs = keras.Input((architecture.training_slices, FEATURES), name="features")
    network = _build(architecture, weights, inputs, Causal() if causal else Valid())
    network.mww_architecture = architecture  # for `checkpoint_of`
    return network


def build_streaming_network(architecture: Architecture, weights: Weights) -> keras.Model:
    """The network that takes one frame after the other: float32 [1, stride, 40] to [1, 1], with ring buffers."""
    inputs = keras.Input((architecture.stride, FEATURES), batch_size=1, name="features")
    return _build(architecture, fold_norms(architecture, weights), inputs, Streaming())


def checkpoint_of(model: keras.Model, configured: Settings) -> Checkpoint:
    """Read architecture and weights out of a model in memory, by way of the `.keras` file that it would be saved as.

    Raises:
        CheckpointError: It is no wake word network, or contradicts the configuration.
        ConfigurationError: Neither it nor the configuration tells something.
    """
    architecture = getattr(model, "mww_architecture", None)
    if architecture is not None:
        roles = [parameter.role for parameter in architecture.parameters]
        return Checkpoint(architecture, {role: tuple(model.get_layer(role).get_weights()) for role in roles}, "network")
    with scratch_folder("mww-model-") as folder:
        path = folder / "model.keras"
        model.save(path)
        return load_checkpoint(path, configured)


def _build(architecture: Architecture, weights: Weights, inputs: Any, form: Form) -> keras.Model:
    with _float32():
        net = layers.Reshape((inputs.shape[1], 1, FEATURES), name="slices")(inputs)
        if isinstance(architecture, MixedNet):
            net = _mixednet(architecture, form, net)
        else:
            net = _inception(architecture, form, net)
        net = layers.Flatten(name="flatten")(net)
        model = keras.Model(inputs, layers.Dense(1, activation="sigmoid", name="dense")(net), name="network")
    for role, arrays in weights.items():
        model.get_layer(role).set_weights(list(arrays))
    return model


@contextmanager
def _float32() -> Iterator[None]:
    """Whatever precision a trainer has set for its own layers, the exported ones are float32."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


def _mixednet(net: MixedNet, form: Form, data: Any) -> Any:
    if net.first:
        data = form.buffer(data, max(0, net.first.kernel - net.stride))
        strides = (net.stride, 1)
        data = layers.Conv2D(
            net.first.filters, (net.first.kernel, 1), strides=strides, use_bias=net.first.bias, name="first"
        )(data)
        data = layers.ReLU(name="first_relu")(data)
    for number, block in enumerate(net.blocks):
        data = _mix_block(net, form, block, f"block{number}", data)
    if net.attention:
        data = _attention(form, data)
    data = form.buffer(data, net.attended_frames - 1)
    pools = {"average": layers.AveragePooling2D, "max": layers.MaxPooling2D}
    if net.pooling in pools:
        data = pools[net.pooling]((net.attended_frames, 1), name="pool")(data)
    return data


def _mix_block(net: MixedNet, form: Form, block: MixBlock, role: str, data: Any) -> Any:
    residual = None
    if block.residual:
        residual = _normed(form, data, f"{role}_residual", block.filters)
    for unit in range(block.repeat):
        name = f"{role}_unit{unit}"
        if block.history:
            data = _mixed_depthwise(net, form.look_back(data, block.history), block, name)
        data = _normed(form, data, f"{name}_pointwise", block.filters)
        if residual is not None:
            residual = form.align(residual, block.history, f"{name}_align")
            if not net.residual_after_relu:
                data = layers.Add(name=f"{name}_sum")([data, residual])
        data = layers.ReLU(name=f"{name}_relu")(data)
    if residual is not None and net.residual_after_relu:
        data = layers.Add(name=f"{role}_sum")([data, residual])
    return data


def _mixed_depthwise(net: MixedNet, data: Any, block: MixBlock, role: str) -> Any:
    """Depthwise convolutions over groups of channels, all ending at the newest time step."""
    groups = [data]
    if len(block.kernels) > 1:
        groups = Split(split_channels(data.shape[-1], len(block.kernels)), name=f"{role}_split")(data)
    mixed = []
    for number, (kernel, group) in enumerate(zip(block.kernels, groups, strict=True)):
        excess = block.history + 1 - kernel
        newest = Cut(excess, name=f"{role}_newest{number}")(group) if excess else group
        convolution = layers.DepthwiseConv2D((kernel, 1), use_bias=net.depthwise_bias, name=f"{role}_depthwise{number}")
        mixed.append(convolution(newest))
    return layers.Concatenate(name=f"{role}_mix")(mixed) if len(mixed) > 1 else mixed[0]


def _normed(
    form: Form, data: Any, role: str, filters: int, kernel: int = 1, *, groups: int = 1, dilation: int = 1
) -> Any:
    """A convolution and its norm; with groups, channel c is normalised by entry c % groups."""
    plain = groups in (1, filters)
    convolution = layers.Conv2D(
        filters,
        (kernel, 1),
        dilation_rate=(dilation, 1),
        padding="same" if kernel == 1 else "valid",
        use_bias=form.folded and plain,
        name=role,
    )
    data = convolution(data)
    if plain:
        return data if form.folded else _norm(f"{role}_norm", data)
    shape = data.shape[1:]
    data = layers.Reshape((shape[0], filters // groups, groups), name=f"{role}_spread")(data)
    data = ScaleAndShift(name=f"{role}_norm")(data) if form.folded else _norm(f"{role}_norm", data)
    return layers.Reshape(shape, name=f"{role}_gather")(data)


def _norm(name: str, data: Any) -> Any:
    return layers.BatchNormalization(epsilon=NORM_EPSILON, name=name)(data)


def _attention(form: Form, data: Any) -> Any:
    """Spatial attention: each time step is weighed by what the last four look like, channels pooled."""
    channels = data.shape[-1]
    spread = layers.Reshape((data.shape[1], channels, 1), name="attention_channels")(data)
    average = layers.AveragePooling2D((1, channels), name="attention_average")(spread)
    greatest = layers.MaxPooling2D((1, channels), name="attention_maximum")(spread)
    pair = layers.Concatenate(name="attention_pair")([average, greatest])
    pair = form.buffer(pair, ATTENTION_KERNEL - 1)
    weight = layers.Conv2D(1, (ATTENTION_KERNEL, 1), use_bias=False, name="attention")(pair)
    weight = layers.Activation("sigmoid", name="attention_weight")(weight)
    newest = data.shape[1] - weight.shape[1]
    data = Cut(newest, name="attention_align")(data) if newest else data
    return layers.Multiply(name="attention_product")([data, weight])


def _inception(net: Inception, form: Form, data: Any) -> Any:
    for number, stem in enumerate(net.stems):
        data = form.buffer(data, stem.kernel - 1)
        data = _normed(form, data, f"stem{number}", stem.filters, stem.kernel, groups=stem.groups)
        data = layers.ReLU(name=f"stem{number}_relu")(data)
    for number, block in enumerate(net.blocks):
        data = _inception_block(form, block, f"block{number}", data)
    return form.buffer(data, net.frames - 1)


def _inception_block(form: Form, block: InceptionBlock, role: str, data: Any) -> Any:
    def branch(name: str, inner: Any, kernel: int = 1) -> Any:
        filters, groups, dilation = block.branch_filters, block.groups, block.dilation if kernel > 1 else 1
        inner = _normed(form, inner, f"{role}_{name}", filters, kernel, groups=groups, dilation=dilation)
        return layers.ReLU(name=f"{role}_{name}_relu")(inner)

    def in_time(name: str, inner: Any) -> Any:
        return branch(name, form.buffer(inner, block.history), block.kernel)

    branch1 = form.align(branch("branch1", data), 2 * block.history, f"{role}_align1")
    branch2 = form.align(in_time("branch2b", branch("branch2a", data)), block.history, f"{role}_align2")
    branch3 = in_time("branch3c", in_time("branch3b", branch("branch3a", data)))
    joined = layers.Concatenate(name=f"{role}_join")([branch1, branch2, branch3])
    data = _normed(form, joined, f"{role}_output", block.filters)
    return layers.ReLU(name=f"{role}_output_relu")(data)
