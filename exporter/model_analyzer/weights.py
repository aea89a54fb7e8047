"""How the weights and biases of paired operators differ, as stored and as the numbers that they stand for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mww.tflite.model_file import ModelFile, Operator


@dataclass(frozen=True, slots=True)
class WeightDifference:
    """The constants of one operand of a pair of operators, as stored.

    Attributes:
        op: The operator.
        a: Its index in A.
        b: Its index in B.
        operand: Which input.
        values: Number of values.
        differing: Values that differ.
        largest: Largest difference of stored values.
        largest_real: Largest difference of the values that they stand for.
    """

    op: str
    a: int
    b: int
    operand: int
    values: int
    differing: int
    largest: float
    largest_real: float


def weight_differences(
    a: ModelFile, b: ModelFile, pairs: list[tuple[Operator, Operator]]
) -> tuple[int, tuple[WeightDifference, ...]]:
    """Count the values compared, and tell which constants differ; those of other shapes are not weights of the same."""
    compared = 0
    differences: list[WeightDifference] = []
    for item, other in pairs:
        for operand, both in enumerate(zip(item.inputs, other.inputs, strict=False)):
            with np.errstate(all="ignore"):  # a broken file can hold NaN or huge scales
                left, right = _constant(a, both[0]), _constant(b, both[1])
            if left is None or right is None or left[0].shape != right[0].shape:
                continue
            compared += left[0].size
            changed = left[0] != right[0]
            if not changed.any():
                continue
            largest = float(np.abs(left[0] - right[0]).max())
            real = float(np.abs(left[1] - right[1]).max())
            count = int(changed.sum())
            place = (item.op, item.index, other.index, operand)
            differences.append(WeightDifference(*place, left[0].size, count, largest, real))
    return compared, tuple(differences)


def _constant(model: ModelFile, index: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
    """The stored values of a constant, and the real ones, as float64 (exact for int32); None without any."""
    tensor = model.main.tensors[index] if index >= 0 else None
    if tensor is None or tensor.dtype not in ("INT8", "INT16", "INT32", "FLOAT32"):
        return None
    if model.buffers[tensor.buffer].size != tensor.nbytes or not tensor.elements:
        return None
    stored = model.constant(tensor).astype(np.float64)
    quantization = tensor.quantization
    if quantization is None:
        return stored, stored
    scales = np.asarray(quantization.scales)
    if quantization.per_channel:
        axis = quantization.dimension
        if not 0 <= axis < stored.ndim or stored.shape[axis] != scales.size:
            return stored, stored
        scales = scales.reshape([-1 if number == axis else 1 for number in range(stored.ndim)])
    return stored, (stored - quantization.zero_point) * scales
