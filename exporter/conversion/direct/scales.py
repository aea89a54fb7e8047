"""The converter's arithmetic of quantisation, to the last bit: scales, zero points, and rounded constants.

From tensorflow 2.19.1, `mlir/lite/quantization/common/quantization_lib/quantization_utils.cc` with
`legacy_float_scale`, and `mlir/tools/optimize/quantization_utils.cc`.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from exporter.network.architecture import FloatArray
from mww.tflite.model_file import Quantization

Doubles: TypeAlias = npt.NDArray[np.float64]
Floats: TypeAlias = npt.NDArray[np.floating[Any]]

_LOW, _HIGH = -128, 127

_NARROWEST: Final = 1e-6
"""Ranges of constants up to this are widened to it (`ExpandVerySmallRange`), of activations by it to both sides."""

_SAME_SCALE: Final = 1e-3
"""A dense layer's scale that grew by at most this much counts as the scale of its range (`QuantizeLegacy`)."""

_GREATEST_BIAS: Final = 2**30 - 1
"""The largest bias, so that an accumulator does not overflow; scales grow where a bias would be larger
(`SetBiasParamsWithAdjustments`).
"""

_GREATEST_INT32: Final = 2**31 - 1


def activation_scale(low: float, high: float) -> Quantization:
    """Scale and zero point of a calibrated range, which is extended to contain zero (`ConvertStatsToQDQs`)."""
    low, high = min(float(np.float32(low)), 0.0), max(float(np.float32(high)), 0.0)
    if high - low < _NARROWEST:
        low, high = low - _NARROWEST, high + _NARROWEST
    return _asymmetric(low, high)


def weight_scales(weights: FloatArray, dimension: int | None) -> Doubles:
    """Symmetric scales of weights, one for each entry of a dimension, or a single one; float32 numbers."""
    axes = tuple(axis for axis in range(weights.ndim) if axis != dimension)
    greatest = np.abs(weights).max(axis=axes).astype(np.float64).reshape(-1)
    greatest = np.where(2 * greatest > _NARROWEST, greatest, np.maximum(greatest, _NARROWEST / 2))
    scales: FloatArray = greatest.astype(np.float32) / np.float32(_HIGH)
    return scales.astype(np.float64)


def bias_scales(bias: FloatArray, input_scale: float, scales: Doubles) -> tuple[Doubles, Doubles]:
    """Scales of a bias and of the weights, which grow where a bias would overflow an accumulator."""
    product = (input_scale * scales).astype(np.float32).astype(np.float64)
    greatest = np.abs(bias).astype(np.float64)
    if len(product) == 1:
        greatest = greatest.max(keepdims=True)
    large = greatest / product > _GREATEST_BIAS
    grown = np.where(large, greatest / _GREATEST_BIAS, product)
    return grown, np.where(large, grown / input_scale, scales)


def quantised_weights(weights: FloatArray, scales: Doubles, dimension: int | None) -> npt.NDArray[np.int8]:
    """Quantise weights with their scales, using the rounded reciprocal as the converter does."""
    if dimension is None:
        scaled = _scaled_dense(weights, float(scales[0]))
    else:
        inverse = _reciprocal(scales)
        scaled = weights * inverse.reshape([-1 if axis == dimension else 1 for axis in range(weights.ndim)])
    return np.clip(_rounded(scaled), -_HIGH, _HIGH).astype(np.int8)


def _scaled_dense(weights: FloatArray, scale: float) -> Floats:
    greatest = np.float32(np.abs(weights).max())
    own = float(greatest / np.float32(_HIGH))
    grown = scale != weight_scales(weights, None)[0]
    if greatest and (own == scale or (grown and abs(own - scale) <= _SAME_SCALE)):
        near: FloatArray = weights * (np.float32(_HIGH) / greatest)
        return near
    scaled: Doubles = weights.astype(np.float64) / scale
    return scaled


def _reciprocal(scales: Doubles) -> FloatArray:
    inverse: FloatArray = (1.0 / scales.astype(np.float32).astype(np.float64)).astype(np.float32)
    return inverse


def quantised_bias(bias: FloatArray, scales: Doubles) -> npt.NDArray[np.int32]:
    """Quantise a bias with its scales."""
    rounded = _rounded(bias * _reciprocal(scales)).astype(np.float64)
    return np.clip(rounded, -_GREATEST_INT32, _GREATEST_INT32).astype(np.int32)


def quantised_operand(values: FloatArray) -> tuple[npt.NDArray[np.int8], Quantization]:
    """Quantise the constant operand of an addition or multiplication, with its own range."""
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    if high - low <= _NARROWEST:
        low, high = min(low, -_NARROWEST / 2), max(high, _NARROWEST / 2)
    quantization = _asymmetric(low, high)
    scaled = values.astype(np.float64) / quantization.scale + quantization.zero_point
    return np.clip(_rounded(scaled), _LOW, _HIGH).astype(np.int8), quantization


def _asymmetric(low: float, high: float) -> Quantization:
    """`DownCastScale`: the scale by float32, the zero point by float64 rounded through float32."""
    scale = float((np.float32(high) - np.float32(low)) / np.float32(_HIGH - _LOW))
    zero_point = _rounded(np.array(_LOW - low / scale, np.float32))
    return Quantization((scale,), (int(np.clip(zero_point, _LOW, _HIGH)),), 0)


def _rounded(values: Floats) -> Floats:
    """Round to the nearest integer, halves away from zero, as `std::round`."""
    whole = np.trunc(values)
    rounded: Floats = np.where(np.abs(values - whole) >= 0.5, whole + np.sign(values), whole)
    return rounded
