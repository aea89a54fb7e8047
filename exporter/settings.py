"""An architecture under the names that trainers give its settings, for YAML and JSON."""

from __future__ import annotations

from exporter.architecture import Architecture, Inception, MixedNet

Setting = int | bool | str | list[int] | list[list[int]]
"""A number, a switch, a name, one number a block, or the kernel sizes of each block."""


def architecture_settings(architecture: Architecture) -> dict[str, Setting]:
    """The settings that make up an architecture; `microwakeword`'s names, and ours where it has none."""
    if isinstance(architecture, MixedNet):
        return _mixednet_settings(architecture)
    return _inception_settings(architecture)


def _mixednet_settings(net: MixedNet) -> dict[str, Setting]:
    return {
        "architecture": "mixednet",
        "stride": net.stride,
        "spectrogram_length": net.training_slices,
        "first_conv_filters": net.first.filters if net.first else 0,
        "first_conv_kernel_size": net.first.kernel if net.first else 1,
        "first_conv_bias": bool(net.first and net.first.bias),
        "pointwise_filters": [block.filters for block in net.blocks],
        "mixconv_kernel_sizes": [list(block.kernels) for block in net.blocks],
        "repeat_in_block": [block.repeat for block in net.blocks],
        "residual_connection": [int(block.residual) for block in net.blocks],
        "residual_after_relu": net.residual_after_relu,
        "causal_padding": net.causal,
        "spatial_attention": net.attention,
        "pooled": net.pooling != "flat",
        "max_pool": net.pooling == "max",
    }


def _inception_settings(net: Inception) -> dict[str, Setting]:
    return {
        "architecture": "inception",
        "stride": net.stride,
        "spectrogram_length": net.training_slices,
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
    """The `training_config.yaml` that the official trainer would keep beside a checkpoint of this architecture.

    Lists are its comma-separated strings; settings that it has no flag for stand there only where they say something.
    """
    import yaml

    settings = architecture_settings(architecture)
    document: dict[str, object] = {name: settings.pop(name) for name in ("stride", "spectrogram_length")}
    flags: dict[str, object] = {"model_name": settings.pop("architecture"), "stride": document["stride"]}
    for name, value in settings.items():
        if isinstance(value, list):
            flags[name] = ", ".join(str(entry) for entry in value)
        elif value or name not in ("first_conv_bias", "residual_after_relu", "causal_padding"):
            flags[name] = int(value)
    text: str = yaml.safe_dump(document | {"flags": flags}, sort_keys=False)
    return text
