"""Where the official trainer (microWakeWord) keeps each role's weights in its `.weights.h5`.

Keras numbers the layers of one class in the order of the graph's depth, layers without weights included; TF
checkpoints of the same trainer keep that order too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from exporter.architecture import Architecture, Inception, MixedNet, Parameter

_INCEPTION_DEPTH_ORDER: Final = ("branch3a", "branch2a", "branch3b", "branch1", "branch2b", "branch3c", "output")
"""A block's convolutions from the farthest from the output to the nearest, ties in the order of the join."""

_STREAMED: Final = ("first", "attention", "stem", "branch2b", "branch3b", "branch3c")
"""Convolutions in time, which the trainer wraps in a `Stream` layer."""


def depth_order(architecture: Architecture) -> tuple[Parameter, ...]:
    """The layers with weights in the order in which Keras stores them."""
    if isinstance(architecture, MixedNet):
        return architecture.parameters
    by_role = {parameter.role: parameter for parameter in architecture.parameters}
    stems = [role for role in by_role if role.startswith("stem")]
    blocks = [
        f"block{number}_{branch}{norm}"
        for number in range(len(architecture.blocks))
        for branch in _INCEPTION_DEPTH_ORDER
        for norm in ("", "_norm")
    ]
    return tuple(by_role[role] for role in (*stems, *blocks, "dense"))


def is_streamed(role: str) -> bool:
    """Whether the trainer wraps this convolution in a `Stream` layer."""
    return role.rpartition("_")[2].startswith(_STREAMED)


def official_paths(architecture: Architecture) -> dict[str, str]:
    """Role to the HDF5 group of its arrays, such as `layers/stream/cell/vars`."""
    numbers: Counter[str] = Counter()
    paths: dict[str, str] = {}
    for layer, role, inner in _layers(architecture):
        number = numbers[layer]
        numbers[layer] += 1
        if role:
            paths[role] = f"layers/{layer}{f'_{number}' if number else ''}/{inner}vars"
    return paths


def official_names(architecture: Architecture) -> dict[str, str]:
    """Role to the layer's own name, numbered by Keras in the order of creation."""
    classes = {"convolution": "conv2d", "depthwise": "depthwise_conv2d", "norm": "batch_normalization"}
    numbers: Counter[str] = Counter()
    names: dict[str, str] = {}
    for parameter in architecture.parameters:
        name = classes.get(parameter.kind, parameter.kind)
        names[parameter.role] = f"{name}_{numbers[name]}" if numbers[name] else name
        numbers[name] += 1
    return names


def _layers(architecture: Architecture) -> Iterator[tuple[str, str | None, str]]:
    """Class, role (None without weights) and inner path of each layer, in depth order."""
    norm = ("batch_normalization", "") if isinstance(architecture, MixedNet) else _SUBSPECTRAL
    has_ring = isinstance(architecture, MixedNet) and architecture.frames > 1
    for parameter in depth_order(architecture):
        role = parameter.role
        if role == "attention" or (role == "dense" and has_ring and not _has_attention(architecture)):
            yield "stream", None, ""  # the ring buffer in front of the head
        if parameter.kind == "convolution" and is_streamed(role):
            yield "stream", role, "cell/"
        elif parameter.kind == "depthwise":
            if role.endswith("_depthwise0"):
                yield "stream", None, ""  # the ring buffer that all groups share
            yield "depthwise_conv2d", role, ""
        elif parameter.kind == "norm":
            yield norm[0], role, norm[1]
        else:
            yield ("conv2d" if parameter.kind == "convolution" else "dense"), role, ""


_SUBSPECTRAL: Final = ("sub_spectral_normalization", "batch_norm/")


def _has_attention(architecture: Architecture) -> bool:
    return not isinstance(architecture, Inception) and architecture.attention
