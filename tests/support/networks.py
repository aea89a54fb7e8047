"""Networks of every kind with random weights, and what they answer, computed in plain numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from exporter.network.architecture import (
    Architecture,
    FirstConvolution,
    FloatArray,
    Inception,
    InceptionBlock,
    InceptionStem,
    MixBlock,
    MixedNet,
)

Floats = npt.NDArray[np.float64]
Weights = Mapping[str, tuple[FloatArray, ...]]

DEFAULT = MixedNet(
    stride=3,
    first=FirstConvolution(32, 5),
    blocks=(MixBlock(64, (5,)), MixBlock(64, (7, 11)), MixBlock(64, (9, 15)), MixBlock(64, (23,))),
    frames=6,
)
ARCHITECTURES: Mapping[str, Architecture] = {
    "default": DEFAULT,
    "residual": MixedNet(
        stride=3,
        first=FirstConvolution(12, 5, bias=True),
        blocks=(MixBlock(8, (3,), residual=True), MixBlock(11, (3, 5, 9), repeat=2, residual=True), MixBlock(6, (1,))),
        frames=4,
        pooling="max",
    ),
    "attention": MixedNet(
        stride=3,
        first=FirstConvolution(8, 3),
        blocks=(MixBlock(8, (3, 5)),),
        frames=9,
        pooling="average",
        attention=True,
    ),
    "without first convolution": MixedNet(
        stride=1, first=None, blocks=(MixBlock(8, (5,)), MixBlock(6, (3,), residual=True)), frames=5
    ),
    "inception": Inception(
        stems=(InceptionStem(8, 5, groups=4),),
        blocks=(InceptionBlock(6, 8, 3), InceptionBlock(4, 6, 5, groups=2, dilation=2)),
        frames=7,
    ),
    "padded": MixedNet(
        stride=3,
        first=FirstConvolution(12, 5),
        blocks=(MixBlock(8, (5,), residual=True), MixBlock(9, (7, 3, 9), repeat=2, residual=True)),
        frames=11,
        depthwise_bias=False,
        residual_after_relu=True,
        causal=True,
    ),
}


def random_weights(architecture: Architecture, seed: int = 0) -> Weights:
    """Weights that keep activations in a sane range."""
    random = np.random.default_rng(seed)
    weights: dict[str, tuple[FloatArray, ...]] = {}
    for parameter in architecture.parameters:
        first, *others = parameter.shapes
        if parameter.kind == "norm":
            arrays = [random.uniform(0.5, 1.5, first), random.normal(0, 0.3, first), random.normal(0, 0.3, first)]
            arrays.append(random.uniform(0.3, 2, first))
        else:
            arrays = [random.normal(0, np.prod(first[:-1]) ** -0.5, first)]
            arrays += [random.normal(0, 0.3, shape) for shape in others]
        weights[parameter.role] = tuple(array.astype(np.float32) for array in arrays)
    return weights


def random_slices(count: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """Features that hold still for some slices, as speech does."""
    random = np.random.default_rng(seed)
    features = random.uniform(0, 26, (count // 4 + 1, 40)) * random.uniform(0.2, 1, (count // 4 + 1, 1))
    return np.repeat(features, 4, axis=0)[:count].astype(np.float32)


def streamed(network: Any, slices: npt.NDArray[np.float32]) -> list[float]:
    """What a streaming Keras network answers, frame by frame, to [slices, 40]; traced once, as it is for an export."""
    import tensorflow as tf

    stride = network.input.shape[1]
    step = tf.function(network, input_signature=[tf.TensorSpec(network.input.shape, tf.float32)])
    return [float(step(slices[None, at : at + stride])[0, 0]) for at in range(0, len(slices), stride)]


def reference(architecture: Architecture, weights: Weights, slices: npt.NDArray[np.float32]) -> float:
    """What the network answers to [training_slices, 40]."""
    data = slices.astype(np.float64)
    data = (
        _mixednet(architecture, weights, data)
        if isinstance(architecture, MixedNet)
        else _inception(architecture, weights, data)
    )
    kernel, bias = weights["dense"]
    return float(1 / (1 + np.exp(-(data.ravel() @ kernel.astype(np.float64) + bias)[0])))


def _convolution(data: Floats, layer: Sequence[FloatArray], stride: int = 1, dilation: int = 1) -> Floats:
    """A convolution in time without padding, data [time, channels]."""
    kernel = layer[0][:, 0].astype(np.float64)
    reach = (len(kernel) - 1) * dilation
    starts = range(0, len(data) - reach, stride)
    steps = [np.einsum("kc,kcf->f", data[start : start + reach + 1 : dilation], kernel) for start in starts]
    return np.array(steps) + (layer[1] if len(layer) > 1 else 0)


def _norm(data: Floats, layer: Sequence[FloatArray]) -> Floats:
    gamma, beta, mean, variance = (array.astype(np.float64) for array in layer)
    spread = data.reshape(len(data), -1, len(gamma))
    return ((spread - mean) / np.sqrt(variance + 1e-3) * gamma + beta).reshape(data.shape)


def _relu(data: Floats) -> Floats:
    return np.maximum(data, 0)


def _mixednet(net: MixedNet, weights: Weights, data: Floats) -> Floats:
    if net.first:
        data = _relu(_convolution(data, weights["first"], net.stride))
    for number, block in enumerate(net.blocks):
        role = f"block{number}"
        residual = None
        if block.residual:
            residual = _norm(_convolution(data, weights[f"{role}_residual"]), weights[f"{role}_residual_norm"])
        for unit in range(block.repeat):
            name = f"{role}_unit{unit}"
            if max(block.kernels) > 1:
                data = _depthwise(net, block, name, weights, data)
            data = _norm(_convolution(data, weights[f"{name}_pointwise"]), weights[f"{name}_pointwise_norm"])
            if residual is not None and not net.residual_after_relu:
                data = data + residual[-len(data) :]
            data = _relu(data)
        if residual is not None and net.residual_after_relu:
            data = data + residual[-len(data) :]
    if net.attention:
        pair = np.stack([data.mean(axis=1), data.max(axis=1)], axis=1)
        weight = 1 / (1 + np.exp(-_convolution(pair, weights["attention"])))
        data = data[-len(weight) :] * weight
    return {"flat": data, "average": data.mean(axis=0), "max": data.max(axis=0)}[net.pooling]


def _depthwise(net: MixedNet, block: MixBlock, role: str, weights: Weights, data: Floats) -> Floats:
    outputs, at = [], 0
    if net.causal:
        data = np.concatenate([np.zeros((max(block.kernels) - 1, data.shape[1])), data])
    for group in range(len(block.kernels)):
        kernel, *bias = weights[f"{role}_depthwise{group}"]
        part = data[:, at : at + kernel.shape[2]]
        at += kernel.shape[2]
        steps = [
            (part[t : t + len(kernel)] * kernel[:, 0, :, 0]).sum(axis=0) for t in range(len(part) - len(kernel) + 1)
        ]
        outputs.append(np.array(steps) + (bias[0] if bias else 0))
    shortest = min(len(output) for output in outputs)
    return np.concatenate([output[-shortest:] for output in outputs], axis=1)


def _inception(net: Inception, weights: Weights, data: Floats) -> Floats:
    def layer(role: str, inputs: Floats, dilation: int = 1) -> Floats:
        return _relu(_norm(_convolution(inputs, weights[role], dilation=dilation), weights[f"{role}_norm"]))

    for number in range(len(net.stems)):
        data = layer(f"stem{number}", data)
    for number, block in enumerate(net.blocks):
        role, by = f"block{number}", block.dilation
        single = layer(f"{role}_branch1", data)
        two = layer(f"{role}_branch2b", layer(f"{role}_branch2a", data), by)
        three = layer(f"{role}_branch3c", layer(f"{role}_branch3b", layer(f"{role}_branch3a", data), by), by)
        joined = np.concatenate([single[-len(three) :], two[-len(three) :], three], axis=1)
        data = layer(f"{role}_output", joined)
    return data
