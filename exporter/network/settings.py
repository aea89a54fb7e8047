"""The settings of an architecture under the trainers' names, for YAML and JSON.

`exporter.checkpoint.resolution` combines them with a checkpoint's shapes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from exporter.network.architecture import Architecture, Inception, MixedNet
from mww.core.errors import ConfigurationError
from mww.core.readable import shown

Setting: TypeAlias = int | bool | str | list[int] | list[list[int]]
"""A number, a switch, a name, a number for each block, or the kernel sizes of each block."""

Settings: TypeAlias = Mapping[str, Setting]

_Kind: TypeAlias = Literal["name", "number", "switch", "numbers", "kernels"]

COMMON: Final[Mapping[str, _Kind]] = {"architecture": "name", "stride": "number", "spectrogram_length": "number"}

MIXEDNET: Final[Mapping[str, _Kind]] = {
    "first_conv_filters": "number",
    "first_conv_kernel_size": "number",
    "first_conv_bias": "switch",
    "pointwise_filters": "numbers",
    "mixconv_kernel_sizes": "kernels",
    "repeat_in_block": "numbers",
    "residual_connection": "numbers",
    "depthwise_bias": "switch",
    "residual_after_relu": "switch",
    "causal_padding": "switch",
    "spatial_attention": "switch",
    "pooled": "switch",
    "max_pool": "switch",
}

INCEPTION: Final[Mapping[str, _Kind]] = {
    "cnn1_filters": "numbers",
    "cnn1_kernel_sizes": "numbers",
    "cnn1_subspectral_groups": "numbers",
    "cnn2_filters1": "numbers",
    "cnn2_filters2": "numbers",
    "cnn2_kernel_sizes": "numbers",
    "cnn2_subspectral_groups": "numbers",
    "cnn2_dilation": "numbers",
}

ALL: Final[Mapping[str, _Kind]] = {**COMMON, **MIXEDNET, **INCEPTION}

OURS: Final[Mapping[str, bool]] = {
    "first_conv_bias": False,
    "depthwise_bias": True,
    "residual_after_relu": False,
    "causal_padding": False,
}
"""Settings without a flag in the official trainer, with the trainer's values."""

_LIST: Final = re.compile(r"[\d\s,\[\]()]{1,2000}")


def architecture_settings(architecture: Architecture) -> dict[str, Setting]:
    """The settings of an architecture."""
    common: dict[str, Setting] = {
        "architecture": "mixednet" if isinstance(architecture, MixedNet) else "inception",
        "stride": architecture.stride,
        "spectrogram_length": architecture.training_slices,
    }
    if isinstance(architecture, MixedNet):
        return common | _mixednet_settings(architecture)
    return common | _inception_settings(architecture)


def _mixednet_settings(net: MixedNet) -> dict[str, Setting]:
    return {
        "first_conv_filters": net.first.filters if net.first else 0,
        "first_conv_kernel_size": net.first.kernel if net.first else 1,
        "first_conv_bias": bool(net.first and net.first.bias),
        "pointwise_filters": [block.filters for block in net.blocks],
        "mixconv_kernel_sizes": [list(block.kernels) for block in net.blocks],
        "repeat_in_block": [block.repeat for block in net.blocks],
        "residual_connection": [int(block.residual) for block in net.blocks],
        "depthwise_bias": net.depthwise_bias,
        "residual_after_relu": net.residual_after_relu,
        "causal_padding": net.causal,
        "spatial_attention": net.attention,
        "pooled": net.pooling != "flat",
        "max_pool": net.pooling == "max",
    }


def _inception_settings(net: Inception) -> dict[str, Setting]:
    return {
        "cnn1_filters": [stem.filters for stem in net.stems],
        "cnn1_kernel_sizes": [stem.kernel for stem in net.stems],
        "cnn1_subspectral_groups": [stem.groups for stem in net.stems],
        "cnn2_filters1": [block.branch_filters for block in net.blocks],
        "cnn2_filters2": [block.filters for block in net.blocks],
        "cnn2_kernel_sizes": [block.kernel for block in net.blocks],
        "cnn2_subspectral_groups": [block.groups for block in net.blocks],
        "cnn2_dilation": [block.dilation for block in net.blocks],
    }


def trainer_configuration(architecture: Architecture) -> str:
    """The `training_config.yaml` that the official trainer would write beside a checkpoint of this architecture.

    Lists are comma-separated strings; settings without a flag are included only where they differ.
    """
    import yaml

    settings = architecture_settings(architecture)
    document: dict[str, object] = {name: settings.pop(name) for name in ("stride", "spectrogram_length")}
    flags: dict[str, object] = {"model_name": settings.pop("architecture"), "stride": document["stride"]}
    for name, value in settings.items():
        if isinstance(value, list):
            flags[name] = ", ".join(str(entry) for entry in value)
        elif value != OURS.get(name):
            flags[name] = int(value)
    text: str = yaml.safe_dump(document | {"flags": flags}, sort_keys=False)
    return text


def parse_setting(name: str, value: object) -> Setting:
    """Convert a setting's value to its type; lists may also be the trainers' strings.

    Raises:
        ConfigurationError: The value has another type.
    """
    kind = ALL[name]
    if kind == "name":
        return _parse_architecture(name, value)
    if kind in ("number", "switch"):
        number = _parse_number(name, value)
        if kind == "switch" and number not in (0, 1):
            raise ConfigurationError(f"{name} is {number}", hint="write 1 for on or 0 for off")
        return bool(number) if kind == "switch" else number
    if kind == "numbers":
        return [_parse_number(name, entry) for entry in _parse_list(name, value)]
    return _parse_kernels(name, value)


def _parse_kernels(name: str, value: object) -> list[list[int]]:
    """A list of kernel sizes for each block; the trainers write a single block without the outer list."""
    entries = _parse_list(name, value)
    if isinstance(value, str) and value.strip().startswith("[") and all(isinstance(entry, int) for entry in entries):
        entries = [entries]
    for entry in entries:
        if not isinstance(entry, list):
            raise ConfigurationError(
                f"{name} is {shown(value)}", hint="write a list for each block: [5], [7, 11], [23]"
            )
    return [[_parse_number(name, number) for number in _parse_list(name, entry)] for entry in entries]


def _parse_architecture(name: str, value: object) -> str:
    if value not in ("mixednet", "inception"):
        raise ConfigurationError(f"{name} is {shown(value)}", hint="mixednet and inception can be exported")
    return str(value)


def _parse_number(name: str, value: object) -> int:
    if isinstance(value, str) and re.fullmatch(r"\s*\d{1,6}\s*", value):
        return int(value)
    if not isinstance(value, (int, bool)) or not 0 <= value < 10**6:
        raise ConfigurationError(
            f"{name} is {shown(value)}, not a whole number from 0", hint="write a whole number, such as 3"
        )
    return int(value)


def _parse_list(name: str, value: object) -> list[object]:
    """A list, tuple, single number, or the trainers' notation: `64, 64` or `[5], [7, 11]`."""
    if isinstance(value, str) and _LIST.fullmatch(value):
        try:
            value = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
            raise ConfigurationError(
                f"{name} is {shown(value)}, which is not a list", hint="write a list, such as [64, 64]"
            ) from error
    if isinstance(value, (list, tuple)) and len(value) <= 1000:
        return [list(entry) if isinstance(entry, tuple) else entry for entry in value]
    if isinstance(value, int):
        return [value]
    raise ConfigurationError(
        f"{name} is {shown(value)}, not a list such as 64, 64", hint="write numbers with commas between them"
    )
