"""Activation ranges by role: read from a published model, stored in a file, and applied to a float model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np

from exporter.network.streaming_graph import StreamingGraph, read_streaming_graph
from mww.core.errors import CalibrationError, ModelFileError
from mww.core.fields import Fields
from mww.tflite.model_file import ModelFile

Ranges: TypeAlias = Mapping[str, tuple[float, float]]
"""The least and greatest value of an operator's output, by role (`input` for the features)."""

RANGES_SCHEMA: Final = "mww.calibration-ranges/1"

_HINT: Final = "mww recover --ranges-output writes one"
_MAX_FILE_SIZE: Final = 1024 * 1024
_LARGEST: Final = 1e9  # beyond what any activation has, and finite


def recovered_ranges(graph: StreamingGraph) -> Ranges:
    """The ranges from which an int8 model was quantised.

    Raises:
        ModelFileError: The model is not int8.
    """
    ranges: dict[str, tuple[float, float]] = {}
    for role, index in _outputs(graph).items():
        tensor = graph.model.main.tensors[index]
        if tensor.dtype != "INT8" or tensor.quantization is None:
            raise ModelFileError(f"tensor {index} is {tensor.dtype}", hint="only int8 models can be recovered")
        scale, zero_point = tensor.quantization.scale, tensor.quantization.zero_point
        if not 0 < scale <= _LARGEST / 255 or not -128 <= zero_point <= 127:
            message = f"tensor {index} has the scale {scale:g} and the zero point {zero_point}"
            raise ModelFileError(message, hint="mww verify lists the model's faults")
        ranges[role] = exact_range(scale, zero_point)
    return ranges


def exact_range(scale: float, zero_point: int) -> tuple[float, float]:
    """A range of float32 numbers that gives this scale to the last bit, if such a range exists.

    A scale is a range's width divided by 255 in float32; with the lower end at a multiple of the width's last place,
    the subtraction of the ends is exact.
    """
    width = np.float32(255 * np.float64(scale))
    near = (np.nextafter(width, np.float32(0)), width, np.nextafter(width, np.float32(np.inf)))
    width = min(near, key=lambda wide: abs(float(wide / np.float32(255)) - scale))
    place = float(np.spacing(width))
    low = round((-128 - zero_point) * scale / place) * place
    return low, low + float(width)


def _outputs(graph: StreamingGraph) -> dict[str, int]:
    outputs = {"input": graph.model.main.inputs[0]}
    return outputs | {site.role: site.operator.outputs[0] for site in graph.sites}


def ranges_of_tensors(model: ModelFile, ranges: Ranges) -> Mapping[int, tuple[float, float]]:
    """Convert ranges by role to ranges by tensor of a float streaming model, including tensors that are only moved.

    Raises:
        CalibrationError: They belong to another network.
    """
    graph = read_streaming_graph(model)
    outputs = _outputs(graph)
    if missing := sorted(outputs.keys() ^ ranges.keys()):
        message = f"the calibration ranges belong to another network: {', '.join(missing[:3])}"
        raise CalibrationError(message, hint="recover checkpoint and ranges from the same model")
    by_tensor = {index: ranges[role] for role, index in outputs.items()}
    moved = {copy: by_tensor[origin] for copy, origin in graph.origins.items() if origin in by_tensor}
    return {**by_tensor, **moved}


def ranges_document(ranges: Ranges) -> dict[str, object]:
    """The ranges as the JSON document for `mww export --calibration-ranges`."""
    return {"schema": RANGES_SCHEMA, "ranges": {role: list(limits) for role, limits in ranges.items()}}


def load_ranges(path: Path) -> Ranges:
    """Read the JSON document.

    Raises:
        CalibrationError: It cannot be read, or it is another kind of document.
    """
    document = Fields.read(path, hint=_HINT, most_bytes=_MAX_FILE_SIZE, error=CalibrationError)
    document.one_of("schema", (RANGES_SCHEMA,))
    ranges = document.fields("ranges")
    return {role: _range(ranges, role) for role in ranges}


def _range(ranges: Fields, role: str) -> tuple[float, float]:
    limits = ranges.value(role)
    if (
        not isinstance(limits, list)
        or len(limits) != 2
        or not all(type(limit) in (int, float) and abs(limit) <= _LARGEST for limit in limits)
        or limits[0] >= limits[1]
    ):
        ranges.refuse(role, f"a lower and a higher number, both up to {_LARGEST:g}")
    return float(limits[0]), float(limits[1])
