"""TFLite Micro's fixed-point arithmetic on whole numbers, as the package `tflite-micro` is built: it rounds twice.

Sources: tensorflow/lite/kernels/internal/quantization_util.cc, common.h, kernels/kernel_util.cc, and gemmlowp's
fixedpoint.h. Arrays are int64, which holds every intermediate result of the C code exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from mww.tflite.schema import INTEGER_RANGES

Integers: TypeAlias = npt.NDArray[np.int64]

INT32_MAX: Final = 2**31 - 1
_HALF: Final = 1 << 30
_ONE: Final = 1 << 31

LEAST_SHIFT: Final = -23
"""The least shift for which the steps between results of a byte fit int64."""


def round_away(value: float) -> int:
    """C's `round`: halves are rounded away from zero."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


def quantize_multiplier(real: float) -> tuple[int, int]:
    """`QuantizeMultiplier`: a factor as a multiplier of 31 bits and a shift, positive to the left.

    Raises:
        ValueError: The factor is negative or not finite.
    """
    if not (math.isfinite(real) and real >= 0):
        raise ValueError(f"a scale factor of {real}")
    if real == 0:
        return 0, 0
    fraction, shift = math.frexp(real)
    multiplier = round_away(fraction * _ONE)
    if multiplier == _ONE:
        multiplier //= 2
        shift += 1
    return (multiplier, shift) if shift >= -31 else (0, 0)


def multiply(values: npt.ArrayLike, multiplier: npt.ArrayLike, shift: npt.ArrayLike) -> Integers:
    """`MultiplyByQuantizedMultiplier` with two roundings; arguments broadcast.

    Exact while `values << shift` fits int32, which callers ensure.
    """
    shift = np.asarray(shift, np.int64)
    product = (np.asarray(values, np.int64) << np.maximum(shift, 0)) * np.asarray(multiplier, np.int64)
    return divide_by_power(high_product(product), np.maximum(-shift, 0))


def high_product(product: Integers) -> Integers:
    """The second half of `SaturatingRoundingDoublingHighMul`: a 62-bit product divided by 2**31, halves upwards."""
    nudged = product + np.where(product >= 0, _HALF, 1 - _HALF)
    return np.where(nudged >= 0, nudged >> 31, -(-nudged >> 31))


def divide_by_power(values: npt.ArrayLike, exponent: npt.ArrayLike) -> Integers:
    """`RoundingDivideByPOT`: divided by 2**exponent, halves away from zero."""
    numbers, exponents = np.asarray(values, np.int64), np.asarray(exponent, np.int64)
    mask = (np.int64(1) << exponents) - 1
    threshold = (mask >> 1) + (numbers < 0)
    result: Integers = (numbers >> exponents) + ((numbers & mask) > threshold)
    return result


def least_input(result: Integers, multiplier: Integers, shift: Integers) -> Integers:
    """The least whole number that `multiply` takes to `result` or above; arguments broadcast.

    Exact for results of -256..256, multipliers above 0, and shifts from `LEAST_SHIFT` on.
    """
    right, left = np.maximum(-shift, 0), np.maximum(shift, 0)
    # The least value before the second rounding; halves go away from zero, so that 0 and below take one more.
    middle = np.where(right > 0, (result << right) - (np.int64(1) << np.maximum(right - 1, 0)), result)
    middle = middle + ((right > 0) & (result <= 0))
    # A product goes to `middle` or above from middle * 2**31 - 2**30 on: halves go upwards there.
    least: Integers = -((_HALF - middle * _ONE) // (multiplier << left))
    return least


_BY_CHANNEL: Final = ("multiplier", "shift", "bias", "least", "largest")


@dataclass(frozen=True, slots=True)
class Scaling:
    """The requantisation of each channel's sums to bytes; arrays are int64 `[channels]`.

    Attributes:
        multiplier: With 31 bits.
        shift: Positive to the left.
        bias: Added to a sum first.
        least: The least possible sum, without the bias.
        largest: The largest.
        zero_point: Of the output.
        low: The least output byte.
        high: The largest.
    """

    multiplier: Integers
    shift: Integers
    bias: Integers
    least: Integers
    largest: Integers
    zero_point: int
    low: int
    high: int

    def apply(self, sums: npt.NDArray[np.generic]) -> Integers:
        """The bytes of sums `[..., channels]`, by the integer arithmetic itself."""
        scaled = multiply(sums.astype(np.int64) + self.bias, self.multiplier, self.shift)
        return np.clip(scaled + self.zero_point, self.low, self.high)

    def overflow(self) -> str | None:
        """Why the C code would overflow int32, for which C defines no result; None where it does not."""
        reach = np.maximum(np.abs(self.least + self.bias), np.abs(self.largest + self.bias))
        if (reach > INT32_MAX).any():
            return "sums that leave int32"
        if ((reach << np.clip(self.shift, 0, 31)) > INT32_MAX).any() or (self.shift > 30).any():
            return "an output scale so fine that shifted sums leave int32"
        return None

    def channel(self, index: int) -> Scaling:
        """The scaling of a single channel."""
        return replace(self, **{name: getattr(self, name)[index : index + 1] for name in _BY_CHANNEL})

    @staticmethod
    def joined(parts: Sequence[Scaling]) -> Scaling | None:
        """A scaling with the channels of several; None where their outputs have different limits."""
        if len({(part.zero_point, part.low, part.high) for part in parts}) != 1:
            return None
        arrays: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _BY_CHANNEL}
        return replace(parts[0], **arrays)


def activation_range(activation: str, dtype: str, scale: float, zero_point: int) -> tuple[int, int]:
    """`CalculateActivationRangeQuantized`: the least and the largest output."""
    low, high = INTEGER_RANGES[dtype]

    def quantized(value: float) -> int:
        return zero_point + round_away(float(np.float32(value) / np.float32(scale)))

    if activation == "RELU":
        return max(low, quantized(0.0)), high
    if activation == "RELU6":
        return max(low, quantized(0.0)), min(high, quantized(6.0))
    if activation == "RELU_N1_TO_1":
        return max(low, quantized(-1.0)), min(high, quantized(1.0))
    return low, high


def mean_multiplier(multiplier: int, shift: int, count: int) -> tuple[int, int]:
    """The factor of a sum with the division by `count` in it (`QuantizedMeanOrSum`)."""
    extra = min(count.bit_length() - 1, 32, 31 + shift)
    if extra < 0:
        raise ValueError(f"a shift of {shift}")
    return (multiplier << extra) // count, shift - extra


LOGISTIC_ONE: Final = float(1 << 27)
"""The number 1 in the format of LOGISTIC's inputs, with 4 integer bits."""


def logistic_table(scale: float, zero_point: int) -> Integers:
    """The output of int8 LOGISTIC for each input -128..127, int64 `[256]`."""
    multiplier, shift = quantize_multiplier(scale * LOGISTIC_ONE)
    # CalculateInputRadius(4, shift, 31)
    radius = math.floor(float((1 << 4) - 1) * LOGISTIC_ONE / math.ldexp(1.0, shift))
    table = []
    for stored in range(-128, 128):
        value = stored - zero_point
        if value <= -radius or value >= radius:
            table.append(-128 if value <= -radius else 127)
            continue
        result = _logistic(int(multiply(value, multiplier, shift)))
        table.append(min(max(int(divide_by_power(result, 23)) - 128, -128), 127))
    return np.array(table, np.int64)


def _logistic(value: int) -> int:
    """`logistic` of gemmlowp, from 4 integer bits to none."""
    if value == 0:
        return INT32_MAX // 2 + 1
    positive = _one_over_one_plus(_exp_on_negative(-abs(value)))
    return positive if value > 0 else INT32_MAX - positive


def _high(left: int, right: int) -> int:
    """`SaturatingRoundingDoublingHighMul` of two int32."""
    return int(high_product(np.int64(left) * np.int64(right) + np.zeros((), np.int64)))


_EXP_MULTIPLIERS: Final = (
    (-2, 1672461947), (-1, 1302514674), (0, 790015084), (1, 290630308), (2, 39332535), (3, 720401),
)  # fmt: skip
"""n and exp(-2**n) with 31 bits (`exp_on_negative_values`)."""


def _exp_on_negative(value: int) -> int:
    """`exp_on_negative_values` of gemmlowp, for a number with 4 integer bits."""
    fraction_bits, quarter = 27, 1 << 25
    remainder = (value & (quarter - 1)) - quarter
    result = _exp_between(remainder << 4)
    rest = remainder - value
    for exponent, multiplier in _EXP_MULTIPLIERS:
        if rest & (1 << (fraction_bits + exponent)):
            result = _high(result, multiplier)
    return result


def _exp_between(value: int) -> int:
    """The exponential on -1/4..0, without integer bits (`exp_on_interval_between_negative_one_quarter_and_0_excl`)."""
    constant, third = 1895147668, 715827883
    moved = value + (1 << 28)
    square = _high(moved, moved)
    cube = _high(square, moved)
    fourth = int(divide_by_power(_high(square, square), 2))
    polynomial = int(divide_by_power(_high(fourth + cube, third) + square, 1))
    return min(constant + _high(constant, moved + polynomial), INT32_MAX)


def _one_over_one_plus(value: int) -> int:
    """1 / (1 + value) on 0..1 (`one_over_one_plus_x_for_x_in_0_1`)."""
    half = _half_sum(value, INT32_MAX)
    estimate = 1515870810 + _high(half, -1010580540)  # 48/17 and -32/17 with two integer bits
    for _ in range(3):
        error = (1 << 29) - _high(half, estimate)
        correction = _high(estimate, error)
        estimate += min(max(correction * 4, -_ONE), INT32_MAX)
    return min(estimate * 2, INT32_MAX)


def _half_sum(left: int, right: int) -> int:
    """`RoundingHalfSum`."""
    total = left + right
    nudged = total + (1 if total >= 0 else -1)
    return nudged // 2 if nudged >= 0 else -(-nudged // 2)
