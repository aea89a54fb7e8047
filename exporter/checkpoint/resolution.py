"""Determines a checkpoint's architecture from its shapes and the configuration, without guesses.

Where the two contradict each other, the error names both values; where a setting is in neither, the error asks for it
by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NoReturn, TypeVar

from exporter.network.architecture import (
    ATTENTION_KERNEL,
    Architecture,
    FirstConvolution,
    Inception,
    InceptionBlock,
    InceptionStem,
    MixBlock,
    MixedNet,
    Pooling,
)
from exporter.network.settings import INCEPTION, OURS, Setting, Settings
from mww.core.errors import CheckpointError, ConfigurationError

T = TypeVar("T")

_TOGETHER: Final = "give the configuration of this checkpoint's training"

_BLOCKS: Final = ("pointwise_filters", "mixconv_kernel_sizes", "repeat_in_block", "residual_connection")
_MIXEDNET: Final = ("stride", "first_conv_filters", *_BLOCKS)
_INCEPTION: Final = tuple(INCEPTION)
"""The settings that each network needs; three settings of Inception are the stems', the others the blocks'."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a checkpoint shows by itself.

    Attributes:
        settings: The settings that its layout and shapes determine.
        dense_inputs: Inputs of its dense layer.
        reading: Settings of the blocks that fit its shapes where the configuration says none; others may fit too, for a
            repeated block and two blocks can be the same network.
    """

    settings: Settings
    dense_inputs: int
    reading: Settings = field(default_factory=dict)


def resolve(configured: Settings, evidence: Evidence) -> Architecture:
    """Combine the settings of configuration and checkpoint.

    Raises:
        CheckpointError: The two contradict each other.
        ConfigurationError: Neither gives a setting that is needed, or it cannot be exported.
    """
    _compare_blocks(configured, evidence.reading)
    settings = _Settings({**evidence.reading, **_agreed(configured, evidence.settings)})
    inception = settings.need("architecture", str) == "inception"
    settings.need_all(_INCEPTION if inception else _MIXEDNET)
    if inception:
        return _inception(settings, evidence.dense_inputs)
    return _mixednet(settings, evidence.dense_inputs)


def _agreed(configured: Settings, result: Settings) -> dict[str, Setting]:
    for name in result.keys() & configured.keys():
        if result[name] != configured[name] and not _idle(name, configured, result):
            message = f"the checkpoint has {name} {_text(result[name])}, the configuration {_text(configured[name])}"
            raise CheckpointError(message, hint=_TOGETHER)
    return {**configured, **result}


def _compare_blocks(configured: Settings, reading: Settings) -> None:
    """Compare the configuration's blocks, with their repetitions, with the blocks that the shapes show.

    A block of kernel 1 has no depthwise convolution, so shapes with such a block cannot be read.
    """
    repeats = configured.get("repeat_in_block")
    kernels = configured.get("mixconv_kernel_sizes")
    if isinstance(kernels, list) and any(isinstance(block, list) and set(block) == {1} for block in kernels):
        return
    for name in ("pointwise_filters", "mixconv_kernel_sizes"):
        reported, result = configured.get(name), reading.get(name)
        if isinstance(reported, list) and isinstance(repeats, list) and len(reported) == len(repeats) and result:
            pairs = zip(reported, repeats, strict=True)
            repeated = [entry for entry, times in pairs if isinstance(times, int) for _ in range(min(times, 100))]
            if repeated != result:
                message = f"the checkpoint has {name} {_text(result)}, the configuration {_text(reported)}"
                raise CheckpointError(message, hint=_TOGETHER)


def _idle(name: str, configured: Settings, result: Settings) -> bool:
    """Whether a setting has no effect, because its part of the network does not exist."""
    return name == "first_conv_kernel_size" and not result.get(
        "first_conv_filters", configured.get("first_conv_filters")
    )


def _text(value: Setting) -> str:
    return ", ".join(str(entry) for entry in value) if isinstance(value, list) else str(value)


def _missing_settings(names: list[str]) -> ConfigurationError:
    listed = ", ".join(names)
    hint = f"put {listed} under model: into a YAML file, and give it with --config"
    return ConfigurationError(f"neither the checkpoint nor a configuration says {listed}", hint=hint)


class _Settings:
    """The missing settings, with name and type."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def get(self, name: str, kind: type[T]) -> T | None:
        value = self._settings.get(name)
        if value is not None and not isinstance(value, kind):
            raise ConfigurationError(
                f"{name} is {value}",
                hint="give the value of the training, with --config or as a flag of the architecture",
            )
        return value

    def need(self, name: str, kind: type[T]) -> T:
        value = self.get(name, kind)
        if value is None:
            raise _missing_settings([name])
        return value

    def need_all(self, names: tuple[str, ...]) -> None:
        if missing := [name for name in names if name not in self._settings]:
            raise _missing_settings(missing)

    def switch(self, name: str) -> bool:
        value = self.get(name, bool)
        return OURS[name] if value is None else value

    def columns(self, *names: str) -> list[tuple[int, ...]]:
        """A tuple for each block, from settings with one number for each block."""
        lists = {name: self.need(name, list) for name in names}
        lengths = {name: len(values) for name, values in lists.items()}
        if len(set(lengths.values())) > 1:
            counts = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise ConfigurationError(
                f"settings are for different numbers of blocks: {counts}",
                hint="give each setting of a block as often as there are blocks",
            )
        return list(zip(*lists.values(), strict=True))


def _mixednet(settings: _Settings, dense_inputs: int) -> MixedNet:
    blocks = tuple(
        MixBlock(filters, tuple(kernels), repeat, bool(residual))  # type: ignore[arg-type]
        for filters, kernels, repeat, residual in settings.columns(*_BLOCKS)
    )
    if not all(block.kernels for block in blocks):
        raise ConfigurationError(
            "a block has no kernel size", hint="give mixconv_kernel_sizes with at least one size for each block"
        )
    filters = settings.need("first_conv_filters", int)
    first = None
    if filters:
        kernel = settings.need("first_conv_kernel_size", int)
        first = FirstConvolution(filters, kernel, settings.switch("first_conv_bias"))
    stride = settings.need("stride", int)
    causal = settings.switch("causal_padding")
    lost = 0 if causal else sum(block.repeat * block.history for block in blocks)
    slices = settings.get("spectrogram_length", int)
    reported = None if slices is None else (slices - (first.kernel if first else 1)) // max(stride, 1) + 1 - lost
    width = blocks[-1].filters if blocks else 0
    pooling, frames, attention = _head(settings, dense_inputs, width, reported)
    return MixedNet(
        stride=stride,
        first=first,
        blocks=blocks,
        frames=frames,
        pooling=pooling,
        attention=attention,
        depthwise_bias=settings.switch("depthwise_bias"),
        residual_after_relu=settings.switch("residual_after_relu"),
        causal=causal,
    )


def _head(settings: _Settings, dense_inputs: int, width: int, reported: int | None) -> tuple[Pooling, int, bool]:
    """How the head pools, how many time steps reach it, and whether it has attention.

    Args:
        settings: All known settings.
        dense_inputs: Inputs of the checkpoint's dense layer.
        width: Channels that reach the head.
        reported: Time steps by the configuration's spectrogram length, if it has one.
    """
    attention = settings.get("spatial_attention", bool) or False
    if dense_inputs == width and reported == 1:
        return "flat", 1, False  # with one time step, the trainer adds neither pooling nor attention
    lost = ATTENTION_KERNEL - 1 if attention else 0
    if dense_inputs == width and settings.need("pooled", bool):
        if reported is None:
            settings.need("spectrogram_length", int)
        return ("max" if settings.need("max_pool", bool) else "average"), reported or 0, attention
    frames = _steps(dense_inputs, width) + lost
    if reported is not None and reported != frames:
        _disagree(frames, reported)
    if settings.get("pooled", bool):
        message = f"pooled is on, but the dense layer takes {dense_inputs} inputs and not {width}"
        raise CheckpointError(message, hint=_TOGETHER)
    return "flat", frames, attention


def _inception(settings: _Settings, dense_inputs: int) -> Inception:
    stems = settings.columns(*_INCEPTION[:3])
    blocks = tuple(InceptionBlock(*values) for values in settings.columns(*_INCEPTION[3:]))
    width = blocks[-1].filters if blocks else 0
    net = Inception(tuple(InceptionStem(*values) for values in stems), blocks, _steps(dense_inputs, width))
    slices = settings.get("spectrogram_length", int)
    if slices is not None and slices != net.training_slices:
        _disagree(net.frames, net.frames + slices - net.training_slices)
    return net


def _steps(dense_inputs: int, width: int) -> int:
    """The time steps that the dense layer sees."""
    if not width or dense_inputs % width:
        message = f"the dense layer takes {dense_inputs} inputs, which is not a multiple of {width} filters"
        raise CheckpointError(message, hint=_TOGETHER)
    return dense_inputs // width


def _disagree(frames: int, reported: int) -> NoReturn:
    raise CheckpointError(
        f"the dense layer sees {frames} time steps, the configuration's spectrogram_length leaves {reported}",
        hint=_TOGETHER,
    )


def check_shapes(architecture: Architecture, shapes: Mapping[str, tuple[tuple[int, ...], ...]]) -> None:
    """Compare a checkpoint's arrays, by role, with the architecture.

    Raises:
        CheckpointError: An array is missing or has another shape.
    """
    for parameter in architecture.parameters:
        result = shapes.get(parameter.role)
        if result != parameter.shapes:
            wanted = " and ".join(str(list(shape)) for shape in parameter.shapes)
            has = "nothing" if result is None else " and ".join(str(list(shape)) for shape in result)
            message = f"the architecture needs {wanted} for {parameter.role}, the checkpoint has {has}"
            raise CheckpointError(message, hint=_TOGETHER)
