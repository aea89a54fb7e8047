"""The layers of a TF checkpoint (`ckpt-N`) of the official trainer, in the order of depth."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Final

from exporter.checkpoint.layouts import KERAS_ORDER, Drawer, Drawers, Layer
from exporter.checkpoint.tensor_bundle import Bundle, read_bundle
from exporter.network.architecture import MAX_WEIGHTS, FloatArray
from mww.core.errors import CheckpointError

_KEY: Final = re.compile(
    r"(?:model/)?(?:_operations/|_layers/|layer_with_weights-)(\d{1,5})/(cell/|batch_norm/)?"
    r"_?(kernel|depthwise_kernel|bias|gamma|beta|moving_mean|moving_variance)/\.ATTRIBUTES/VARIABLE_VALUE"
)
_PARTS: Final = ("cell", "batch_norm")
_VALUE: Final = "/.ATTRIBUTES/VARIABLE_VALUE"


def read_tf_checkpoint(prefix: Path) -> tuple[Drawers, bool]:
    """Read a checkpoint by its prefix, such as `restore/ckpt-3`.

    Returns:
        The layers of each class, and whether norms are sub-spectral.

    Raises:
        CheckpointError: It cannot be read, or is of another trainer.
    """
    try:
        return _layers(read_bundle(prefix), str(prefix))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0][:200]
        hint = "check that both the .index and the .data file exist and are complete"
        raise CheckpointError(f"{prefix} is not a readable checkpoint: {reason}", hint=hint) from error


def _layers(bundle: Bundle, name: str) -> tuple[Drawers, bool]:
    keys = _by_objects(bundle) or {key: key for key in bundle.entries}
    matches = {keys[name]: match for name in keys if (match := _KEY.fullmatch(name))}
    if sum(prod(bundle.entries[key].shape) for key in matches) > MAX_WEIGHTS:
        raise CheckpointError(
            f"{name} holds more numbers than any network for an ESP32", hint="give the checkpoint of a wake word"
        )
    numbered: dict[int, dict[str, FloatArray]] = defaultdict(dict)
    places: dict[int, str] = {}
    for key, match in matches.items():
        number = int(match[1])
        numbered[number][match[3]] = bundle.read(key)
        places[number] = match[2] or ""
    drawers: dict[Drawer, list[Layer]] = {"cell": [], "convolution": [], "depthwise": [], "norm": [], "dense": []}
    for number in sorted(numbered):
        arrays = numbered[number]
        layer = tuple(arrays[part] for part in KERAS_ORDER if part in arrays)
        drawers[_drawer(layer, places[number], arrays)].append(layer)
    if not drawers["dense"]:
        raise CheckpointError(
            f"{name} does not hold a wake word model", hint="give a checkpoint of the microWakeWord trainer"
        )
    return drawers, "batch_norm/" in places.values()


def _by_objects(bundle: Bundle) -> dict[str, str]:
    """The model's weights by their names in the model; empty where the checkpoint does not contain the names.

    Keras 3 stores trained variables under the optimiser's name; the model's own name is only in the graph of objects.
    """
    objects = bundle.objects()

    def members(place: int) -> Mapping[str, int]:
        return objects[place].members if place < len(objects) else {}

    model = members(0).get("model", 0)
    layers = members(model).get("_operations", members(model).get("_layers"))
    result: dict[str, str] = {}
    for number, layer in members(layers).items() if layers is not None else ():
        inner = {f"{part}/": members(layer)[part] for part in _PARTS if part in members(layer)}
        for part, place in {"": layer, **inner}.items():
            for name, variable in members(place).items():
                key = objects[variable].key if variable < len(objects) else None
                if key in bundle.entries:
                    result[f"_operations/{number}/{part}{name}{_VALUE}"] = str(key)
    return result if any(_KEY.fullmatch(name) for name in result) else {}


def _drawer(layer: Layer, place: str, arrays: dict[str, FloatArray]) -> Drawer:
    if "gamma" in arrays:
        return "norm"
    if place == "cell/":
        return "cell"
    if layer[0].ndim == 2:
        return "dense"
    if layer[0].ndim != 4:
        raise ValueError(f"a layer of shape {list(layer[0].shape)}")
    return "depthwise" if layer[0].shape[3] == 1 else "convolution"
