"""The networks that can be exported, as frozen descriptions of their layers and weights.

Other modules read descriptions (from configuration, checkpoint, `.tflite`) and build networks from them. A *role* names
one layer's weights, the same in every module: `first`, `block0_unit1_depthwise2`, `dense`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import prod
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from mww.core.errors import ConfigurationError
from mww.esphome.contract import FEATURES

Pooling: TypeAlias = Literal["flat", "average", "max"]
Kind: TypeAlias = Literal["convolution", "depthwise", "norm", "dense"]
Shape: TypeAlias = tuple[int, ...]
FloatArray: TypeAlias = npt.NDArray[np.float32]
Weights: TypeAlias = Mapping[str, tuple[FloatArray, ...]]
"""The arrays of each layer by role, in Keras' order: kernel and bias, or gamma, beta, mean and variance."""

ATTENTION_KERNEL: Final = 4
"""Time steps of the spatial attention's convolution (microWakeWord, `mixednet.py`)."""

NORM_EPSILON: Final = 1e-3
"""Keras' default, which all trainers use."""

_MAX_BLOCKS: Final = 64
_MAX_SIZE: Final = 8192
MAX_WEIGHTS: Final = 4_000_000
"""Far more than an ESP32 can run, and low enough that a hostile file cannot request gigabytes."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """The weights of a layer: its role, kind, and the shapes of its arrays."""

    role: str
    kind: Kind
    shapes: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class FirstConvolution:
    """The strided convolution over the features; `kernel` in slices."""

    filters: int
    kernel: int
    bias: bool = False


@dataclass(frozen=True, slots=True)
class MixBlock:
    """`repeat` units of grouped depthwise convolutions, each with a pointwise convolution, norm and ReLU.

    Each group has its own kernel size.
    """

    filters: int
    kernels: tuple[int, ...]
    repeat: int = 1
    residual: bool = False

    @property
    def history(self) -> int:
        """Earlier time steps that a unit reads."""
        return max(self.kernels) - 1


@dataclass(frozen=True)
class MixedNet:
    """The MixedNet of both trainers.

    Attributes:
        stride: Slices a frame, which is the first convolution's stride.
        first: The first convolution, or None where the blocks start at the features.
        blocks: The mixed depthwise blocks.
        frames: Time steps that reach the head.
        pooling: How the head makes one vector of them.
        attention: Whether spatial attention stands before the head.
        depthwise_bias: Whether depthwise convolutions have a bias (microWakeWord's do).
        residual_after_relu: Whether a residual is added once a block, after its last ReLU, and not before each one.
        causal: Whether training pads each block with zeros in front (sarpel's does); streaming is the same.
    """

    stride: int
    first: FirstConvolution | None
    blocks: tuple[MixBlock, ...]
    frames: int
    pooling: Pooling = "flat"
    attention: bool = False
    depthwise_bias: bool = True
    residual_after_relu: bool = False
    causal: bool = False

    def __post_init__(self) -> None:
        sizes = [self.stride, self.frames]
        sizes += [self.first.filters, self.first.kernel] if self.first else []
        sizes += [size for block in self.blocks for size in (block.filters, block.repeat, *block.kernels)]
        _check_sizes(sizes, sum(block.repeat for block in self.blocks))
        for number, block in enumerate(self.blocks):
            self._check_block(number, block)
        if self.first is None and self.stride != 1:
            raise ConfigurationError(
                f"stride is {self.stride}, but the network has no first convolution that could take it",
                hint="without a first convolution the stride must be 1",
            )
        if self.attention and self.frames < ATTENTION_KERNEL:
            raise ConfigurationError(
                f"spatial attention needs {ATTENTION_KERNEL} time steps, there are {self.frames}",
                hint="turn spatial_attention off, or train with a longer spectrogram",
            )
        _check_weights(self)

    def _check_block(self, number: int, block: MixBlock) -> None:
        if not block.kernels:
            raise ConfigurationError(
                f"block {number} has no kernel sizes",
                hint="give each block at least one kernel size in mixconv_kernel_sizes",
            )
        if not self.causal and block.kernels[-1] != max(block.kernels):
            raise ConfigurationError(
                f"block {number} has kernel sizes {list(block.kernels)}", hint="put the largest kernel last"
            )
        for channels in (self.channels(number), block.filters)[: block.repeat]:
            if len(block.kernels) > channels:
                raise ConfigurationError(
                    f"block {number} splits {channels} channels into {len(block.kernels)} groups",
                    hint="give a number of filters that is a multiple of the number of kernel sizes",
                )

    def channels(self, block: int) -> int:
        """Channels that enter a block (or the head, one past the last block)."""
        if block > 0:
            return self.blocks[block - 1].filters
        return self.first.filters if self.first else FEATURES

    @property
    def attended_frames(self) -> int:
        """Time steps that pooling or the dense layer sees."""
        return self.frames - ATTENTION_KERNEL + 1 if self.attention else self.frames

    @property
    def dense_inputs(self) -> int:
        """Inputs of the dense layer."""
        return self.channels(len(self.blocks)) * (self.attended_frames if self.pooling == "flat" else 1)

    @property
    def training_slices(self) -> int:
        """Slices that the non-streaming network needs for an output."""
        lost = 0 if self.causal else sum(block.repeat * block.history for block in self.blocks)
        kernel = self.first.kernel if self.first else 1
        return (self.frames + lost - 1) * self.stride + kernel

    @property
    def phase(self) -> int:
        """Slices by which the non-streaming network's windows start later than the streaming network's frames."""
        return -self.first.kernel % self.stride if self.first else 0

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """Every layer with weights, in the order in which the trainers create them."""
        return tuple(self._parameters())

    def _parameters(self) -> Iterator[Parameter]:
        if self.first:
            kernel = (self.first.kernel, 1, FEATURES, self.first.filters)
            yield Parameter("first", "convolution", (kernel, (self.first.filters,)) if self.first.bias else (kernel,))
        for number, block in enumerate(self.blocks):
            if block.residual:
                yield _convolution(f"block{number}_residual", 1, self.channels(number), block.filters)
                yield _norm(f"block{number}_residual_norm", block.filters)
            for unit in range(block.repeat):
                yield from self._unit(f"block{number}_unit{unit}", block, self.channels(number + (unit > 0)))
        if self.attention:
            yield _convolution("attention", ATTENTION_KERNEL, 2, 1)
        yield Parameter("dense", "dense", ((self.dense_inputs, 1), (1,)))

    def _unit(self, role: str, block: MixBlock, channels: int) -> Iterator[Parameter]:
        if block.history:
            for group, (kernel, size) in enumerate(
                zip(block.kernels, split_channels(channels, len(block.kernels)), strict=True)
            ):
                weights = (kernel, 1, size, 1)
                shapes = (weights, (size,)) if self.depthwise_bias else (weights,)
                yield Parameter(f"{role}_depthwise{group}", "depthwise", shapes)
        yield _convolution(f"{role}_pointwise", 1, channels, block.filters)
        yield _norm(f"{role}_pointwise_norm", block.filters)


@dataclass(frozen=True, slots=True)
class InceptionStem:
    """A convolution in time with sub-spectral normalisation in `groups`, and ReLU."""

    filters: int
    kernel: int
    groups: int = 1


@dataclass(frozen=True, slots=True)
class InceptionBlock:
    """Three branches of `branch_filters` with zero, one and two convolutions in time, joined to `filters` outputs."""

    branch_filters: int
    filters: int
    kernel: int
    groups: int = 1
    dilation: int = 1

    @property
    def history(self) -> int:
        """Earlier time steps that a convolution reads."""
        return self.dilation * (self.kernel - 1)


@dataclass(frozen=True)
class Inception:
    """The Inception network of the version 1 models; one slice a frame, `frames` time steps in the dense layer."""

    stems: tuple[InceptionStem, ...]
    blocks: tuple[InceptionBlock, ...]
    frames: int

    def __post_init__(self) -> None:
        sizes = [self.frames]
        sizes += [size for stem in self.stems for size in (stem.filters, stem.kernel, stem.groups)]
        for block in self.blocks:
            sizes += [block.branch_filters, block.filters, block.kernel, block.groups, block.dilation]
        _check_sizes(sizes, len(self.blocks) + len(self.stems))
        pairs = [(stem.filters, stem.groups) for stem in self.stems]
        pairs += [(block.branch_filters, block.groups) for block in self.blocks]
        for filters, groups in pairs:
            if filters % groups:
                raise ConfigurationError(
                    f"{filters} filters cannot be normalised in {groups} equal groups",
                    hint="give a number of filters that is a multiple of the number of groups",
                )
        _check_weights(self)

    @property
    def stride(self) -> int:
        """Slices a frame."""
        return 1

    @property
    def phase(self) -> int:
        """Slices by which the non-streaming network's windows start later than the frames: none."""
        return 0

    @property
    def training_slices(self) -> int:
        """Slices that the non-streaming network takes to give one output."""
        lost = sum(stem.kernel - 1 for stem in self.stems) + sum(2 * block.history for block in self.blocks)
        return self.frames + lost

    @property
    def dense_inputs(self) -> int:
        """Inputs of the dense layer."""
        return self.frames * self._widths[-1]

    @property
    def _widths(self) -> tuple[int, ...]:
        """Channels before the first stem, and after each stem and block."""
        return FEATURES, *(stem.filters for stem in self.stems), *(block.filters for block in self.blocks)

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """Every layer with weights, in the order in which the trainer creates them."""
        return tuple(self._parameters())

    def _parameters(self) -> Iterator[Parameter]:
        steps = list(pairwise(self._widths))
        for number, (stem, (width, _)) in enumerate(zip(self.stems, steps, strict=False)):
            yield from _normed(f"stem{number}", stem.kernel, width, stem.filters, stem.groups)
        for number, (block, (width, _)) in enumerate(zip(self.blocks, steps[len(self.stems) :], strict=True)):
            inner = block.branch_filters
            for branch, (kernel, channels) in {
                "branch1": (1, width),
                "branch2a": (1, width),
                "branch2b": (block.kernel, inner),
                "branch3a": (1, width),
                "branch3b": (block.kernel, inner),
                "branch3c": (block.kernel, inner),
            }.items():
                yield from _normed(f"block{number}_{branch}", kernel, channels, inner, block.groups)
            yield from _normed(f"block{number}_output", 1, 3 * inner, block.filters, 1)
        yield Parameter("dense", "dense", ((self.dense_inputs, 1), (1,)))


Architecture: TypeAlias = MixedNet | Inception


def weight_count(architecture: Architecture) -> int:
    """Numbers in all arrays of all layers."""
    return sum(prod(shape) for parameter in architecture.parameters for shape in parameter.shapes)


def split_channels(channels: int, groups: int) -> tuple[int, ...]:
    """Channels of each group: equal shares, and the first also takes the remainder."""
    share = channels // groups
    return channels - share * (groups - 1), *(share,) * (groups - 1)


def _convolution(role: str, kernel: int, channels: int, filters: int) -> Parameter:
    return Parameter(role, "convolution", ((kernel, 1, channels, filters),))


def _norm(role: str, channels: int) -> Parameter:
    return Parameter(role, "norm", ((channels,),) * 4)


def _normed(role: str, kernel: int, channels: int, filters: int, groups: int) -> Iterator[Parameter]:
    """A convolution and its sub-spectral norm, whose channel c is normalised by entry c % groups."""
    yield _convolution(role, kernel, channels, filters)
    yield _norm(f"{role}_norm", groups if groups > 1 else filters)


def _check_sizes(sizes: list[int], blocks: int) -> None:
    if not 1 <= blocks <= _MAX_BLOCKS:
        raise ConfigurationError(
            f"{blocks} blocks; 1 to {_MAX_BLOCKS} can be exported",
            hint="check the lists in the configuration: each needs one entry for each block",
        )
    for size in sizes:
        if not 1 <= size <= _MAX_SIZE:
            raise ConfigurationError(
                f"a size in the architecture is {size}; 1 to {_MAX_SIZE} can be exported",
                hint="check the sizes in the configuration",
            )


def _check_weights(architecture: Architecture) -> None:
    total = weight_count(architecture)
    if total > MAX_WEIGHTS:
        raise ConfigurationError(
            f"the architecture has {total} weights; an ESP32 can hold at most {MAX_WEIGHTS}",
            hint="check the filters and kernel sizes in the configuration",
        )
