"""The layers of the networks, in order, stated once for every builder.

`keras_forms` builds Keras models from it, for training and streaming, and `direct` a `.tflite`. A builder knows a
layer's weights, and so its size, from the layer's role.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, TypeVar

from exporter.network.architecture import (
    ATTENTION_KERNEL,
    Architecture,
    Inception,
    InceptionBlock,
    MixBlock,
    MixedNet,
    split_channels,
)

T = TypeVar("T")

Padding = Literal["same", "valid"]


class Layers(Protocol[T]):
    """Builds layers. Data is [1, time, width, channels]; a role names a layer and its weights."""

    def shape(self, data: T) -> tuple[int, int, int]:
        """Time steps, width and channels."""

    def buffer(self, data: T, history: int) -> T:
        """Add `history` earlier time steps in front, where the data does not contain them."""

    def look_back(self, data: T, history: int) -> T:
        """The same for a block, which may be padded in training."""

    def align(self, data: T, steps: int, role: str) -> T:
        """Align a branch with a branch that lost `steps` time steps in blocks."""

    def convolution(self, data: T, role: str, *, stride: int = 1, dilation: int = 1, padding: Padding = "valid") -> T:
        """Convolve in time."""

    def depthwise(self, data: T, role: str) -> T:
        """Convolve each channel separately in time."""

    def norm(self, data: T, role: str) -> T:
        """Normalise, unless the norm was folded into the convolution before it."""

    def relu(self, data: T, role: str) -> T:
        """Apply ReLU."""

    def sigmoid(self, data: T, role: str) -> T:
        """Apply the sigmoid."""

    def add(self, data: T, other: T, role: str) -> T:
        """Add."""

    def multiply(self, data: T, other: T, role: str) -> T:
        """Multiply; `other` has one channel."""

    def concatenate(self, parts: Sequence[T], role: str) -> T:
        """Concatenate channels."""

    def split(self, data: T, sizes: Sequence[int], role: str) -> Sequence[T]:
        """Split the channels."""

    def cut(self, data: T, steps: int, role: str) -> T:
        """Drop the oldest time steps."""

    def reshape(self, data: T, shape: tuple[int, int, int], role: str) -> T:
        """Reshape the values to other time steps, width and channels."""

    def pool(self, data: T, kind: Literal["average", "max"], window: tuple[int, int], role: str) -> T:
        """Pool each window of time steps and width to one value."""

    def dense(self, data: T, role: str) -> T:
        """Apply the dense layer and the sigmoid."""


def lay(architecture: Architecture, layers: Layers[T], slices: T) -> T:
    """Build a network, from the slices [1, time, 1, 40] to the probability."""
    if isinstance(architecture, MixedNet):
        data = _mixednet(architecture, layers, slices)
    else:
        data = _inception(architecture, layers, slices)
    return layers.dense(data, "dense")


def _mixednet(net: MixedNet, layers: Layers[T], data: T) -> T:
    if net.first:
        data = layers.buffer(data, max(0, net.first.kernel - net.stride))
        data = layers.convolution(data, "first", stride=net.stride)
        data = layers.relu(data, "first_relu")
    for number, block in enumerate(net.blocks):
        data = _mix_block(net, layers, block, f"block{number}", data)
    if net.attention:
        data = _attention(layers, data)
    data = layers.buffer(data, net.attended_frames - 1)
    if net.pooling != "flat":
        data = layers.pool(data, net.pooling, (net.attended_frames, 1), "pool")
    return data


def _mix_block(net: MixedNet, layers: Layers[T], block: MixBlock, role: str, data: T) -> T:
    residual = _normed(layers, data, f"{role}_residual") if block.residual else None
    for unit in range(block.repeat):
        name = f"{role}_unit{unit}"
        if block.history:
            data = _mixed_depthwise(layers, layers.look_back(data, block.history), block, name)
        data = _normed(layers, data, f"{name}_pointwise")
        if residual is not None:
            residual = layers.align(residual, block.history, f"{name}_align")
            if not net.residual_after_relu:
                data = layers.add(data, residual, f"{name}_sum")
        data = layers.relu(data, f"{name}_relu")
    if residual is not None and net.residual_after_relu:
        data = layers.add(data, residual, f"{role}_sum")
    return data


def _mixed_depthwise(layers: Layers[T], data: T, block: MixBlock, role: str) -> T:
    """Depthwise convolutions over groups of channels, all aligned at the newest time step."""
    groups: Sequence[T] = [data]
    if len(block.kernels) > 1:
        _, _, channels = layers.shape(data)
        groups = layers.split(data, split_channels(channels, len(block.kernels)), f"{role}_split")
    mixed = []
    for number, (kernel, group) in enumerate(zip(block.kernels, groups, strict=True)):
        excess = block.history + 1 - kernel
        newest = layers.cut(group, excess, f"{role}_newest{number}") if excess else group
        mixed.append(layers.depthwise(newest, f"{role}_depthwise{number}"))
    return layers.concatenate(mixed, f"{role}_mix") if len(mixed) > 1 else mixed[0]


def _normed(layers: Layers[T], data: T, role: str, kernel: int = 1, *, groups: int = 1, dilation: int = 1) -> T:
    """A convolution and its norm; with groups, channel c is normalised by entry c % groups."""
    padding: Padding = "same" if kernel == 1 else "valid"
    data = layers.convolution(data, role, dilation=dilation, padding=padding)
    time, width, filters = layers.shape(data)
    if groups in (1, filters):
        return layers.norm(data, f"{role}_norm")
    data = layers.reshape(data, (time, filters // groups, groups), f"{role}_spread")
    data = layers.norm(data, f"{role}_norm")
    return layers.reshape(data, (time, width, filters), f"{role}_gather")


def _attention(layers: Layers[T], data: T) -> T:
    """Spatial attention: each time step gets a weight from the last four, with channels pooled."""
    time, _, channels = layers.shape(data)
    spread = layers.reshape(data, (time, channels, 1), "attention_channels")
    average = layers.pool(spread, "average", (1, channels), "attention_average")
    greatest = layers.pool(spread, "max", (1, channels), "attention_maximum")
    pair = layers.concatenate([average, greatest], "attention_pair")
    pair = layers.buffer(pair, ATTENTION_KERNEL - 1)
    weight = layers.sigmoid(layers.convolution(pair, "attention"), "attention_weight")
    older = time - layers.shape(weight)[0]
    data = layers.cut(data, older, "attention_align") if older else data
    return layers.multiply(data, weight, "attention_product")


def _inception(net: Inception, layers: Layers[T], data: T) -> T:
    for number, stem in enumerate(net.stems):
        data = layers.buffer(data, stem.kernel - 1)
        data = _normed(layers, data, f"stem{number}", stem.kernel, groups=stem.groups)
        data = layers.relu(data, f"stem{number}_relu")
    for number, block in enumerate(net.blocks):
        data = _inception_block(layers, block, f"block{number}", data)
    return layers.buffer(data, net.frames - 1)


def _inception_block(layers: Layers[T], block: InceptionBlock, role: str, data: T) -> T:
    def branch(name: str, inner: T, kernel: int = 1) -> T:
        dilation = block.dilation if kernel > 1 else 1
        inner = _normed(layers, inner, f"{role}_{name}", kernel, groups=block.groups, dilation=dilation)
        return layers.relu(inner, f"{role}_{name}_relu")

    def in_time(name: str, inner: T) -> T:
        return branch(name, layers.buffer(inner, block.history), block.kernel)

    branch1 = layers.align(branch("branch1", data), 2 * block.history, f"{role}_align1")
    branch2 = layers.align(in_time("branch2b", branch("branch2a", data)), block.history, f"{role}_align2")
    branch3 = in_time("branch3c", in_time("branch3b", branch("branch3a", data)))
    data = layers.concatenate([branch1, branch2, branch3], f"{role}_join")
    data = _normed(layers, data, f"{role}_output")
    return layers.relu(data, f"{role}_output_relu")
