"""Trained weights by role, from and to the checkpoints of the known trainers; the layout is recognised."""

from __future__ import annotations

import io
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np

from exporter.checkpoint.evidence import official_evidence
from exporter.checkpoint.hdf5 import h5py_module, read_hdf5
from exporter.checkpoint.keras_archive import keras_settings, read_keras_archive
from exporter.checkpoint.layouts import (
    Drawer,
    Drawers,
    Layer,
    depth_order,
    drawer,
    official_names,
    official_paths,
    sarpel_paths,
)
from exporter.checkpoint.resolution import Evidence, check_shapes, resolve
from exporter.checkpoint.tf_checkpoint import read_tf_checkpoint
from exporter.network.architecture import Architecture, FloatArray, MixedNet, Parameter, Weights
from exporter.network.settings import Setting, Settings
from mww.core.errors import CheckpointError
from mww.core.file_kinds import HDF5, KERAS, TEXT, FileKind, kind_of
from mww.core.readable import is_file, is_folder, open_regular

_KINDS: Final = "a trainer's .weights.h5, .h5, .keras or ckpt-N"
_BUNDLE: Final = re.compile(r"\.(index|data-\d{5}-of-\d{5})$")
_BEST: Final = (
    *("best_weights.weights.h5", "best_weights.index"),  # the latter with Keras 2
    *("last_weights.weights.h5", "last_weights.index"),
)

_WORDS: Final[Mapping[Drawer, str]] = {
    "cell": "convolutions in time",
    "convolution": "pointwise convolutions",
    "depthwise": "depthwise convolutions",
    "norm": "norms",
    "dense": "dense layers",
}

_CKPT: Final = re.compile(r"ckpt-(\d{1,9})\.index")
_ARRAY: Final = re.compile(r"(.+/vars)/(\d{1,2})")

_OFFICIAL: Final[Mapping[str, Drawer]] = {
    "stream/cell": "cell",
    "conv2d": "convolution",
    "depthwise_conv2d": "depthwise",
    "batch_normalization": "norm",
    "sub_spectral_normalization/batch_norm": "norm",
    "dense": "dense",
}
_OFFICIAL_PATH: Final = re.compile(r"layers/([a-z0-9_]*?[a-z])(?:_(\d{1,4}))?(/.+)?/vars")
_RANKS: Final[Mapping[Drawer, int]] = {"cell": 4, "convolution": 4, "depthwise": 4, "norm": 1, "dense": 2}

_SARPEL_DEPTHWISE: Final = re.compile(
    r"blocks/residual_block(?:_(\d{1,3}))?/mixconvs/mix_conv_block(?:_(\d{1,3}))?"
    r"/depthwise_convs/depthwise_conv2d(?:_(\d{1,3}))?/vars"
)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A network with its weights, and the layout of its checkpoint."""

    architecture: Architecture
    weights: Weights
    layout: str


def best_weights(path: Path) -> Path:
    """The checkpoint in the official trainer's folder: the best weights, else the last, else its newest ckpt-N.

    Raises:
        CheckpointError: The folder has none of them.
    """
    if not is_folder(path) or kind_of(path) is not None:
        return path
    for name in _BEST:
        for folder in (path, path / "train"):
            if is_file(folder / name):
                return folder / name
    indexes = [*(path / "restore").glob("ckpt-*.index"), *path.glob("ckpt-*.index")]
    numbered = {index: _CKPT.fullmatch(index.name) for index in indexes}
    restored = [(int(match[1]), index) for index, match in numbered.items() if match]
    if not restored:
        raise CheckpointError(
            f"{path} is a folder without a trainer's weights",
            hint="give the trainer's train_dir, with best_weights.weights.h5, or the checkpoint itself",
        )
    return max(restored)[1].with_suffix("")


def load_checkpoint(path: Path, configured: Settings) -> Checkpoint:
    """Read a checkpoint.

    Args:
        path: A `.weights.h5`, `.h5` or `.keras` file, or a TF checkpoint's prefix or `.index` file.
        configured: The settings of a configuration.

    Raises:
        CheckpointError: It cannot be read, contradicts the configuration, or holds no network that can be exported.
        ConfigurationError: Neither it nor the configuration says something.
    """
    index = path.parent / f"{_BUNDLE.sub('', path.name)}.index"
    if is_file(index):
        drawers, subspectral = read_tf_checkpoint(index.with_suffix(""))
        return from_drawers(drawers, subspectral, configured)
    kind = kind_of(path)
    if kind not in (HDF5, KERAS):
        raise _not_a_checkpoint(path, kind)
    if kind is KERAS:
        archive = read_keras_archive(path)
        return from_arrays(read_hdf5(archive.weights, str(path)).arrays, configured, str(path), archive.settings)
    content = read_hdf5(path, str(path))
    recorded = keras_settings(content.config, path) if content.config is not None else {}
    return from_arrays(content.arrays, configured, str(path), recorded)


def _not_a_checkpoint(path: Path, kind: FileKind | None) -> CheckpointError:
    if kind is not None and kind is not TEXT:
        return CheckpointError(f"{path} is not a checkpoint but {kind.name}", hint=kind.way_on("checkpoint"))
    hint = f"give {_KINDS}"
    try:
        open_regular(path).close()
    except OSError as error:
        return CheckpointError(f"cannot read {path}: {error.strerror}", hint=hint)
    return CheckpointError(f"{path} is not a checkpoint of a known trainer", hint=hint)


def from_arrays(
    arrays: Mapping[str, FloatArray], configured: Settings, name: str, recorded: Settings = MappingProxyType({})
) -> Checkpoint:
    """Take the arrays of a `.weights.h5` file, by path; `recorded` are the settings stored with them.

    Raises:
        CheckpointError: As `load_checkpoint`.
        ConfigurationError: As `load_checkpoint`.
    """
    layers = _layers(arrays)
    if any(path.startswith("blocks/") for path in layers):
        evidence = _sarpel_evidence(layers)
        architecture = resolve(configured, replace(evidence, settings={**evidence.settings, **recorded}))
        assert isinstance(architecture, MixedNet)
        paths = sarpel_paths(architecture)
        weights = {p.role: layers[paths[p.role]] for p in architecture.parameters if paths[p.role] in layers}
        return _checked(architecture, weights, "sarpel")
    drawers, subspectral = _official_drawers(layers, name)
    return from_drawers(drawers, subspectral, configured, recorded)


def from_drawers(
    drawers: Drawers, subspectral: bool, configured: Settings, recorded: Settings = MappingProxyType({})
) -> Checkpoint:
    """Take the layers of the official trainer; `recorded` are the settings stored with them."""
    shapes: dict[Drawer, list[tuple[tuple[int, ...], ...]]] = {
        name: [_shapes(layer) for layer in layers] for name, layers in drawers.items()
    }
    evidence = official_evidence(shapes, subspectral=subspectral)
    architecture = resolve(configured, replace(evidence, settings={**evidence.settings, **recorded}))
    wanted: dict[Drawer, list[Parameter]] = defaultdict(list)
    for parameter in depth_order(architecture):
        wanted[drawer(parameter)].append(parameter)
    weights: dict[str, Layer] = {}
    for place, layers in drawers.items():
        if len(layers) != len(wanted[place]):
            message = f"the checkpoint has {len(layers)} {_WORDS[place]}, the architecture {len(wanted[place])}"
            raise CheckpointError(message, hint="give the configuration of this checkpoint's training")
        weights |= {parameter.role: layer for parameter, layer in zip(wanted[place], layers, strict=True)}
    return _checked(architecture, weights, "microwakeword")


def _shapes(layer: Layer) -> tuple[tuple[int, ...], ...]:
    return tuple(array.shape for array in layer)


def _checked(architecture: Architecture, weights: Weights, layout: str) -> Checkpoint:
    check_shapes(architecture, {role: _shapes(layer) for role, layer in weights.items()})
    for parameter in architecture.parameters:
        layer = weights[parameter.role]
        if not all(np.isfinite(array).all() for array in layer):
            raise CheckpointError(f"the weights of {parameter.role} hold NaN or infinity", hint="did training diverge?")
        if parameter.kind == "norm" and layer[3].min() < 0:
            raise CheckpointError(f"the variance of {parameter.role} is negative", hint="was the file copied whole?")
    return Checkpoint(architecture, weights, layout)


def _layers(arrays: Mapping[str, FloatArray]) -> dict[str, Layer]:
    """The arrays of each layer, by the path of its `vars`; without those of optimisers and metrics."""
    result: dict[str, dict[int, FloatArray]] = defaultdict(dict)
    for path, array in arrays.items():
        match = _ARRAY.fullmatch(path)
        if match and not path.startswith(("optimizer", "metrics")):
            result[match[1]][int(match[2])] = array
    return {path: tuple(numbered[n] for n in sorted(numbered)) for path, numbered in result.items()}


def _official_drawers(layers: Mapping[str, Layer], name: str) -> tuple[Drawers, bool]:
    """The layers of each class in their order, and whether norms are sub-spectral."""
    numbered: dict[Drawer, list[tuple[int, Layer]]] = {place: [] for place in _WORDS}
    subspectral = False
    for path, layer in layers.items():
        match = _OFFICIAL_PATH.fullmatch(path)
        place = _OFFICIAL.get(f"{match[1]}{match[3] or ''}") if match else None
        if match is None or place is None or layer[0].ndim != _RANKS[place]:
            raise CheckpointError(
                f"{name} has {path[:80]!r}, which no known trainer's wake word has",
                hint="give a checkpoint of microWakeWord's trainer: .weights.h5, .keras, or a TensorFlow checkpoint",
            )
        subspectral = subspectral or match[1] == "sub_spectral_normalization"
        numbered[place].append((int(match[2] or 0), layer))
    in_order = {place: sorted(item, key=lambda entry: entry[0]) for place, item in numbered.items()}
    return {place: [layer for _, layer in item] for place, item in in_order.items()}, subspectral


def _sarpel_evidence(layers: Mapping[str, Layer]) -> Evidence:
    """Sarpel's paths name every role, so only the stride is open."""
    kernels: dict[int, dict[int, dict[int, int]]] = defaultdict(lambda: defaultdict(dict))
    for path, layer in layers.items():
        if match := _SARPEL_DEPTHWISE.fullmatch(path):
            block, unit, group = (int(number or 0) for number in match.groups())
            kernels[block][unit][group] = layer[0].shape[0]
    dense, first = layers.get("layers/dense/vars"), layers.get("initial_conv/cell/vars")
    if dense is None or dense[0].ndim != 2:
        raise CheckpointError("the checkpoint has no dense layer", hint="is it a wake word model?")
    settings: dict[str, Setting] = {
        "architecture": "mixednet",
        "first_conv_filters": first[0].shape[-1] if first else 0,
        "mixconv_kernel_sizes": [[units[0][g] for g in sorted(units[0])] for _, units in sorted(kernels.items())],
        "repeat_in_block": [len(units) for _, units in sorted(kernels.items())],
        "depthwise_bias": False,
        "residual_after_relu": True,
        "causal_padding": True,
        "spatial_attention": False,
    }
    outer = [f"blocks/residual_block{f'_{block}' if block else ''}" for block in sorted(kernels)]
    points = [layers.get(f"{path}/mixconvs/mix_conv_block/pointwise/vars") for path in outer]
    settings["pointwise_filters"] = [point[0].shape[-1] if point else 0 for point in points]
    settings["residual_connection"] = [int(f"{path}/residual_proj/vars" in layers) for path in outer]
    if first:
        settings |= {"first_conv_kernel_size": first[0].shape[0], "first_conv_bias": len(first) > 1}
    return Evidence(settings, dense[0].shape[0])


def weights_file(architecture: Architecture, weights: Weights) -> bytes:
    """The weights as a `.weights.h5` file with the official trainer's layout."""
    names = official_names(architecture)
    content = io.BytesIO()
    with h5py_module().File(content, "w") as file:
        for role, path in official_paths(architecture).items():
            group = file.create_group(path)
            group.attrs["name"] = names[role]
            for number, array in enumerate(weights[role]):
                group.create_dataset(str(number), data=array)
    return content.getvalue()
