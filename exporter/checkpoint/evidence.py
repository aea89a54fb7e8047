"""The architecture that a checkpoint's shapes show, and what they leave open.

Shapes do not show the stride, the pooling of a head with one vector, residual connections between equal channels, or a
dilation; for these `exporter.checkpoint.resolution` uses the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Final

from exporter.checkpoint.layouts import Drawer
from exporter.checkpoint.resolution import Evidence
from exporter.network.architecture import ATTENTION_KERNEL, Shape, split_channels
from exporter.network.settings import Setting, Settings
from mww.core.errors import CheckpointError
from mww.esphome.contract import FEATURES

Drawers = Mapping[Drawer, Sequence[tuple[Shape, ...]]]
"""Shapes of the arrays of each layer, in the trainer's order."""

_ATTENTION: Final = (ATTENTION_KERNEL, 1, 2, 1)


def official_evidence(drawers: Drawers, *, subspectral: bool) -> Evidence:
    """Evidence from the official trainer's layers.

    Raises:
        CheckpointError: The layers do not belong to a network that can be exported.
    """
    dense = drawers["dense"]
    if len(dense) != 1 or len(dense[0]) != 2 or dense[0][0][1:] != (1,):
        raise CheckpointError(
            "the checkpoint has no dense layer with one output", hint="give the checkpoint of a wake word model"
        )
    if subspectral:
        return Evidence(_inception(drawers), dense[0][0][0], _subspectral_groups(drawers))
    settings = _mixednet(drawers)
    channels = settings["first_conv_filters"] or FEATURES
    return Evidence(settings, dense[0][0][0], _blocks(int(channels), drawers))


def _mixednet(drawers: Drawers) -> dict[str, int | bool | str]:
    cells = drawers["cell"]
    firsts = [cell for cell in cells if cell[0] != _ATTENTION]
    settings: dict[str, int | bool | str] = {
        "architecture": "mixednet",
        "first_conv_filters": 0,
        "spatial_attention": len(firsts) < len(cells),
    }
    if firsts:
        kernel, _, _, filters = firsts[0][0]
        settings |= {"first_conv_filters": filters, "first_conv_kernel_size": kernel}
        settings["first_conv_bias"] = len(firsts[0]) > 1
    else:
        settings["stride"] = 1  # no other layer could take another array
    if drawers["depthwise"]:
        settings["depthwise_bias"] = len(drawers["depthwise"][0]) > 1
    return settings


@dataclass(frozen=True, slots=True)
class _Block:
    """A reading of some layers as a block of one unit."""

    kernels: tuple[int, ...]
    filters: int
    residual: bool


def _blocks(channels: int, drawers: Drawers) -> Settings:
    """The settings common to all readings of the layers as blocks; empty without a reading."""
    depthwise = [shapes[0] for shapes in drawers["depthwise"]]
    pointwise = [shapes[0] for shapes in drawers["convolution"]]

    @cache
    def read(deep: int, point: int) -> tuple[tuple[_Block, ...], ...]:
        """Up to two readings of the layers from here on; more than two add nothing."""
        if deep == len(depthwise) and point == len(pointwise):
            return ((),)
        entering = pointwise[point - 1][3] if point else channels
        kernels = _group(entering, depthwise[deep:])
        results: list[tuple[_Block, ...]] = []
        for residual in (False, True):
            used = pointwise[point : point + 1 + residual]
            if kernels and len(used) == 1 + residual and len(set(used)) == 1 and used[0][2] == entering:
                block = _Block(kernels, used[0][3], residual)
                results += [(block, *rest) for rest in read(deep + len(kernels), point + 1 + residual)]
        return tuple(results[:2])

    readings = read(0, 0)
    columns: dict[str, list[Setting]] = {
        "pointwise_filters": [[block.filters for block in blocks] for blocks in readings],
        "mixconv_kernel_sizes": [[list(block.kernels) for block in blocks] for blocks in readings],
        "residual_connection": [[int(block.residual) for block in blocks] for blocks in readings],
        "repeat_in_block": [[1] * len(blocks) for blocks in readings if not _may_repeat(blocks)],
    }
    return {
        name: results[0]
        for name, results in columns.items()
        if results and all(other == results[0] for other in results)
    }


def _group(channels: int, depthwise: Sequence[Shape]) -> tuple[int, ...]:
    """Kernel sizes of the depthwise convolutions that share these channels; empty without such convolutions."""
    for groups in range(1, len(depthwise) + 1):
        sizes = tuple(shape[2] for shape in depthwise[:groups])
        if sum(sizes) >= channels:
            fits = groups <= channels and sizes == split_channels(channels, groups)
            return tuple(shape[0] for shape in depthwise[:groups]) if fits else ()
    return ()


def _may_repeat(blocks: tuple[_Block, ...]) -> bool:
    """Whether a block may be a repetition of a residual block before it."""
    return any(
        former.residual and not block.residual and (former.kernels, former.filters) == (block.kernels, block.filters)
        for former, block in pairwise(blocks)
    )


def _inception(drawers: Drawers) -> dict[str, Setting]:
    stems, heads, joins = _inception_parts(drawers)
    return {
        "architecture": "inception",
        "stride": 1,
        "cnn1_filters": [stem[3] for stem in stems],
        "cnn1_kernel_sizes": [stem[0] for stem in stems],
        "cnn2_filters1": [head[3] for head in heads],
        "cnn2_filters2": [join[3] for join in joins],
        "cnn2_kernel_sizes": [head[0] for head in heads],
    }


def _inception_parts(drawers: Drawers) -> tuple[list[Shape], list[Shape], list[Shape]]:
    """Stems, the first convolution in time and the last of each block: a block has three in time and four others."""
    cells = [cell[0] for cell in drawers["cell"]]
    joins = [convolution[0] for convolution in drawers["convolution"]][3::4]
    stems = cells[: max(0, len(cells) - 3 * len(joins))]
    return stems, cells[len(stems) :: 3], joins


def _subspectral_groups(drawers: Drawers) -> Settings:
    """A norm with as many entries as filters has one group, or as many as filters, which is equivalent."""
    stems, heads, _ = _inception_parts(drawers)
    norms = [norm[0][0] for norm in drawers["norm"]]

    def groups(convolutions: list[Shape], entries: list[int]) -> list[int]:
        pairs = zip(convolutions, entries, strict=False)
        return [1 if entry == convolution[3] else entry for convolution, entry in pairs]

    return {
        "cnn1_subspectral_groups": groups(stems, norms),
        "cnn2_subspectral_groups": groups(heads, norms[len(stems) :: 7]),
    }
