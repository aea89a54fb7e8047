"""Reads a `.keras` file: the architecture from its JSON, the weights as a `.weights.h5`.

The JSON is read as data. No layer is built from it, so no code in it ever runs.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from exporter.network.settings import Setting, Settings, parse_setting
from mww.core.errors import CheckpointError
from mww.core.readable import open_regular

_MAX_CONFIG: Final = 8 * 1024 * 1024
_MAX_WEIGHTS: Final = 256 * 1024 * 1024


_KERAS_2_SUM: Final = "__operators__.add"


@dataclass(frozen=True, slots=True)
class KerasArchive:
    """The two parts of a `.keras` file that are needed."""

    settings: Settings
    weights: bytes


def read_keras_archive(path: Path) -> KerasArchive:
    """Read a `.keras` file of either trainer.

    Raises:
        CheckpointError: It cannot be read, or holds another network.
    """
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            config = _read(archive, "config.json", _MAX_CONFIG)
            weights = _read(archive, "model.weights.h5", _MAX_WEIGHTS)
    except OSError as error:
        raise CheckpointError(
            f"cannot read {path}: {error.strerror or error}", hint="give a checkpoint that you may read"
        ) from error
    except (ValueError, KeyError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        hint = "was it copied whole?"
        raise CheckpointError(f"{path} is not a readable .keras file: {reason}", hint=hint) from error
    return KerasArchive(keras_settings(config, path), weights)


def keras_settings(config: str | bytes, path: Path) -> Settings:
    """The architecture in a Keras model's JSON, of Keras 2 or 3.

    Raises:
        CheckpointError: It is the JSON of another network.
    """
    try:
        return _settings(json.loads(config))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"the model in {path} is not a wake word that a known trainer made",
            hint="give the trainer's best_weights.weights.h5 with its training_config.yaml",
        ) from error


def _read(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    entry = archive.getinfo(name)
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} uses a compression that Keras never uses")
    if entry.file_size > limit:
        raise ValueError(f"{name} is larger than {limit} bytes")
    with archive.open(name) as file:
        return file.read(limit)


def _settings(config: Mapping[str, Any]) -> Settings:
    if config["class_name"] == "MixedNet":  # sarpel's model is a single class, and its arguments define it
        return _sarpel(config["config"])
    if config["class_name"] != "Functional":
        raise ValueError(f"a model of class {str(config['class_name'])[:60]}")
    graph = _Graph(config["config"]["layers"])
    if graph.of("SubSpectralNormalization"):
        return _inception(graph)
    return _mixednet(graph)


def _sarpel(arguments: Mapping[str, Any]) -> Settings:
    names = {"residual_connections": "residual_connection"}
    wanted = ("stride", "first_conv_filters", "first_conv_kernel_size", "pointwise_filters", "mixconv_kernel_sizes")
    reported = {names.get(name, name): arguments[name] for name in (*wanted, "repeat_in_block", "residual_connections")}
    return {name: parse_setting(name, value) for name, value in reported.items()}


class _Graph:
    """The layers of a functional model, and their connections."""

    def __init__(self, layers: list[Mapping[str, Any]]) -> None:
        self.layers = {layer["name"]: layer for layer in layers}
        self.inputs = {layer["name"]: list(_sources(layer["inbound_nodes"])) for layer in layers}

    def of(self, *classes: str) -> list[Mapping[str, Any]]:
        """The layers of some classes, in the order of the file."""
        return [layer for layer in self.layers.values() if layer["class_name"] in classes]

    @property
    def sums(self) -> list[str]:
        """The names of the layers that add two others; Keras 2 has no separate layer class for it."""
        lambdas = (layer["name"] for layer in self.of("TFOpLambda") if layer["config"]["function"] == _KERAS_2_SUM)
        return [*(layer["name"] for layer in self.of("Add")), *lambdas]

    def back(self, name: str, *classes: str) -> str:
        """Follow the first inputs back to a layer of one of the classes."""
        for _ in self.layers:
            if self.layers[name]["class_name"] in classes:
                return name
            name = self.inputs[name][0]
        raise ValueError(f"no {' or '.join(classes)} in front of {name[:60]}")

    @property
    def cells(self) -> list[Mapping[str, Any]]:
        """The arguments of the convolutions inside `Stream` layers."""
        cells = [layer["config"]["cell"] for layer in self.of("Stream")]
        return [cell["config"] for cell in cells if cell["class_name"] == "Conv2D"]

    def common(self, architecture: str) -> dict[str, Setting]:
        """The settings that both networks store in the same way."""
        (features,) = self.of("InputLayer")
        shape = features["config"].get("batch_shape") or features["config"]["batch_input_shape"]
        length = parse_setting("spectrogram_length", shape[1])
        return {"architecture": architecture, "spectrogram_length": length}


def _sources(node: object) -> Iterator[str]:
    """The names of a node's input layers, in order."""
    if isinstance(node, Mapping):
        history = node.get("config", {}).get("keras_history") if node.get("class_name") == "__keras_tensor__" else None
        if history:
            yield history[0]
        else:
            for entry in node.values():
                yield from _sources(entry)
    elif isinstance(node, list) and len(node) in (3, 4) and list(map(type, node[:3])) == [str, int, int]:
        yield node[0]  # of Keras 2: name, node, tensor, keyword arguments
        yield from _sources(node[3:])
    elif isinstance(node, list):
        for entry in node:
            yield from _sources(entry)


def _mixednet(graph: _Graph) -> Settings:
    settings = graph.common("mixednet")
    first = [cell for cell in graph.cells if cell.get("activation") != "sigmoid"]
    settings["stride"] = parse_setting("stride", first[0]["strides"][0] if first else 1)
    pools = [layer for layer in graph.of("AveragePooling2D", "MaxPooling2D") if layer["config"]["pool_size"][1] == 1]
    settings |= {"pooled": bool(pools), "max_pool": bool(pools) and pools[-1]["class_name"] == "MaxPooling2D"}
    residuals = {}
    for add in graph.sums:
        pointwise, projection = (graph.back(name, "Conv2D") for name in graph.inputs[add])
        residuals[pointwise] = projection
    blocks: list[tuple[str | None, int, list[int]]] = []
    repeats: list[int] = []
    for layer in graph.of("Conv2D"):
        if layer["name"] in residuals.values():
            continue
        residual = residuals.get(layer["name"])
        block = (residual, layer["config"]["filters"], _kernels(graph, layer["name"]))
        if residual and blocks and blocks[-1] == block:
            repeats[-1] += 1
        else:
            blocks.append(block)
            repeats.append(1)
    return settings | {
        "pointwise_filters": parse_setting("pointwise_filters", [filters for _, filters, _ in blocks]),
        "mixconv_kernel_sizes": parse_setting("mixconv_kernel_sizes", [kernels for _, _, kernels in blocks]),
        "residual_connection": [int(residual is not None) for residual, _, _ in blocks],
        "repeat_in_block": repeats,
    }


def _kernels(graph: _Graph, pointwise: str) -> list[int]:
    """Kernel sizes of the depthwise convolutions before a pointwise convolution."""
    source = graph.inputs[pointwise][0]
    feeding = graph.inputs[source] if graph.layers[source]["class_name"] == "Concatenate" else [source]
    for _ in graph.layers:  # a cycle would never end
        if not feeding or any(graph.layers[name]["class_name"] != "StridedDrop" for name in feeding):
            break
        feeding = [graph.inputs[name][0] for name in feeding]
    if any(graph.layers[name]["class_name"] != "DepthwiseConv2D" for name in feeding):
        return [1]
    return [graph.layers[name]["config"]["kernel_size"][0] for name in feeding]


def _inception(graph: _Graph) -> Settings:
    """Shapes show everything but the dilation, which the three convolutions in time of a block share."""
    blocks = len(graph.of("Concatenate"))
    dilations = [cell["dilation_rate"][0] for cell in graph.cells]
    heads = dilations[len(dilations) - 3 * blocks :: 3]
    return graph.common("inception") | {"cnn2_dilation": parse_setting("cnn2_dilation", heads)}
