"""The places of each role's weights in the trainers' files.

Keras numbers microWakeWord's layers: those of a class in the order of the graph's depth, including layers without
weights; its TF checkpoints keep that order too. sarpel's paths contain the role.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, TypeAlias

from exporter.network.architecture import Architecture, FloatArray, Inception, MixedNet, Parameter

Drawer: TypeAlias = Literal["cell", "convolution", "depthwise", "norm", "dense"]
"""The path of the official trainer's layers of a class; `cell` is a convolution inside a `Stream` layer."""

Layer: TypeAlias = tuple[FloatArray, ...]
"""The arrays of a layer, in Keras's order."""

Drawers: TypeAlias = Mapping[Drawer, Sequence[Layer]]
"""The layers of each class, in depth order."""

KERAS_ORDER: Final = ("kernel", "depthwise_kernel", "gamma", "bias", "beta", "moving_mean", "moving_variance")
"""The arrays of a layer as Keras stores them."""

_INCEPTION_DEPTH_ORDER: Final = ("branch3a", "branch2a", "branch3b", "branch1", "branch2b", "branch3c", "output")
"""A block's convolutions, the farthest from the output first; equal distances in the order of the join."""

_STREAMED: Final = ("first", "attention", "stem", "branch2b", "branch3b", "branch3c")
"""The convolutions in time, which the trainer wraps in a `Stream` layer."""


def depth_order(architecture: Architecture) -> tuple[Parameter, ...]:
    """The layers with weights, in Keras' order of storage."""
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


def drawer(parameter: Parameter) -> Drawer:
    """The place of a layer in the official trainer's files."""
    if parameter.kind == "convolution" and parameter.role.rpartition("_")[2].startswith(_STREAMED):
        return "cell"
    return parameter.kind


def official_paths(architecture: Architecture) -> dict[str, str]:
    """Role to the HDF5 group of its arrays, such as `layers/stream/cell/vars`."""
    numbers: Counter[str] = Counter()
    paths: dict[str, str] = {}
    for layer, role, inner in _layers(architecture):
        if role:
            paths[role] = f"layers/{_numbered(layer, numbers[layer])}/{inner}vars"
        numbers[layer] += 1
    return paths


def official_names(architecture: Architecture) -> dict[str, str]:
    """Role to the layer's own name, numbered by Keras in the order of creation."""
    classes = {"convolution": "conv2d", "depthwise": "depthwise_conv2d", "norm": "batch_normalization"}
    numbers: Counter[str] = Counter()
    names: dict[str, str] = {}
    for parameter in architecture.parameters:
        name = classes.get(parameter.kind, parameter.kind)
        names[parameter.role] = _numbered(name, numbers[name])
        numbers[name] += 1
    return names


def _numbered(name: str, number: int) -> str:
    return f"{name}_{number}" if number else name


def _layers(architecture: Architecture) -> Iterator[tuple[str, str | None, str]]:
    """Class, role (None without weights) and inner path of each layer, in depth order."""
    mixednet = isinstance(architecture, MixedNet)
    places = {
        "cell": ("stream", "cell/"),
        "convolution": ("conv2d", ""),
        "depthwise": ("depthwise_conv2d", ""),
        "norm": ("batch_normalization", "") if mixednet else ("sub_spectral_normalization", "batch_norm/"),
        "dense": ("dense", ""),
    }
    for parameter in depth_order(architecture):
        if parameter.role in _ring_buffers(architecture) or parameter.role.endswith("_depthwise0"):
            yield "stream", None, ""
        layer, inner = places[drawer(parameter)]
        yield layer, parameter.role, inner


def _ring_buffers(architecture: Architecture) -> tuple[str, ...]:
    """The role after the head's ring buffer, whose `Stream` layer has no weights."""
    if isinstance(architecture, Inception) or architecture.frames == 1:
        return ()
    return ("attention",) if architecture.attention else ("dense",)


def sarpel_paths(net: MixedNet) -> dict[str, str]:
    """Role to the HDF5 group of its arrays, such as `blocks/residual_block_1/residual_proj/vars`."""
    paths = {"first": "initial_conv/cell/vars", "dense": "layers/dense/vars"}
    for number, block in enumerate(net.blocks):
        outer = f"blocks/{_numbered('residual_block', number)}"
        paths[f"block{number}_residual"] = f"{outer}/residual_proj/vars"
        paths[f"block{number}_residual_norm"] = f"{outer}/residual_bn/vars"
        for unit in range(block.repeat):
            role = f"block{number}_unit{unit}"
            inner = f"{outer}/mixconvs/{_numbered('mix_conv_block', unit)}"
            paths[f"{role}_pointwise"] = f"{inner}/pointwise/vars"
            paths[f"{role}_pointwise_norm"] = f"{inner}/bn/vars"
            for group in range(len(block.kernels)):
                layer = _numbered("depthwise_conv2d", group)
                paths[f"{role}_depthwise{group}"] = f"{inner}/depthwise_convs/{layer}/vars"
    return paths
