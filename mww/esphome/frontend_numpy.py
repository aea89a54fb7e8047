"""The device's audio front-end in numpy, equal bit by bit: at any step, and where `pymicro-features` has no wheel.

The arithmetic is that of TensorFlow's `experimental/microfrontend` and of kissfft with 16-bit numbers, with the
settings of ESPHome's micro_wake_word (`preprocessor_settings.h`). It is vectorised over slices; only the noise estimate
goes from one slice to the next.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from mww.esphome.contract import FEATURE_STEP_MS, FEATURES, SAMPLE_RATE

Integers: TypeAlias = npt.NDArray[np.int64]

WINDOW: Final = 480
"""Samples of a slice's window: 30 ms."""
_BLOCK: Final = 128
"""Slices in a block."""

_FFT: Final = 512
_WINDOW_BITS: Final = 12
_FILTER_BITS: Final = 12
_NOISE_BITS: Final = 14
_SMOOTHING_BITS: Final = 10
_CORRECTION_BITS: Final = 3  # log2 of the FFT's size less half of the filter bits
_GAIN_BITS: Final = 21
_STRENGTH, _OFFSET = 0.95, 80.0
_SNR_BITS: Final = 12
_OUTPUT_BITS: Final = 6
_LOG_SHIFT: Final = 6
_LOG_COEFFICIENT: Final = 45426  # ln 2 with 16 bits

_UINT32: Final = 2**32 - 1
_UINT16: Final = 2**16 - 1


@dataclass(frozen=True, slots=True)
class FrontendSettings:
    """The settings of the device's front-end; the defaults are micro_wake_word's (`preprocessor_settings.h`).

    Attributes:
        step_ms: Milliseconds from one slice to the next.
        gain_control: Whether PCAN is on (`enable_pcan`).
        even_smoothing: How fast the noise estimate of features 0, 2, ... follows the sound, 0..1.
        odd_smoothing: The same for features 1, 3, ...
        min_signal_remaining: Share of the sound that noise reduction always leaves; 1 turns it off.
        log: Whether the result is a logarithm (`enable_log`).
    """

    step_ms: int = FEATURE_STEP_MS
    gain_control: bool = True
    even_smoothing: float = 0.025
    odd_smoothing: float = 0.06
    min_signal_remaining: float = 0.05
    log: bool = True


DEFAULT_SETTINGS: Final = FrontendSettings()


class NumpyFrontend:
    """A stream: samples in, features out."""

    def __init__(self, settings: FrontendSettings = DEFAULT_SETTINGS) -> None:
        self._settings = settings
        self._step = SAMPLE_RATE * settings.step_ms // 1000
        self._waiting = np.empty(0, np.int16)
        self._estimate = np.zeros(FEATURES, np.int64)

    def process(self, samples: bytes) -> npt.NDArray[np.uint16]:
        """Take the next samples, 16-bit, and return the features uint16 `[slices, 40]` that they complete."""
        audio = np.concatenate([self._waiting, np.frombuffer(samples, "<i2")])
        number = max(0, (len(audio) - WINDOW) // self._step + 1)
        self._waiting = audio[number * self._step :]
        features = np.empty((number, FEATURES), np.uint16)
        for first in range(0, number, _BLOCK):
            last = min(first + _BLOCK, number)
            part = audio[first * self._step : (last - 1) * self._step + WINDOW]
            windows = np.lib.stride_tricks.sliding_window_view(part, WINDOW)[:: self._step]
            features[first:last] = self._features(windows)
        return features

    def _features(self, windows: npt.NDArray[np.int16]) -> Integers:
        weighted = (windows.astype(np.int32) * _coefficients()) >> _WINDOW_BITS
        # The C code takes absolute values in 16 bits, where -32768 stays negative and is never the largest.
        largest = np.where(weighted == -32768, 0, np.abs(weighted)).max(axis=1)
        shift = 15 - _bits(largest)
        padded = np.zeros((len(windows), _FFT), np.int16)
        padded[:, :WINDOW] = (weighted << shift[:, None]).astype(np.int16)
        real, imaginary = _real_fft(padded.astype(np.int32))
        energy = real.astype(np.float64) ** 2 + imaginary.astype(np.float64) ** 2
        signal = _root((energy @ filters()).astype(np.int64)) >> shift[:, None]
        signal, estimate = self._reduce_noise(signal)
        if self._settings.gain_control:
            signal = _shrink(signal * _gain(estimate) >> (_GAIN_BITS - _CORRECTION_BITS - _SNR_BITS))
        return _log(signal) if self._settings.log else np.minimum(signal, _UINT16)

    def _reduce_noise(self, signal: Integers) -> tuple[Integers, Integers]:
        """Subtract the estimated noise, and update the estimate for each slice."""
        settings = self._settings
        even, odd = _fixed(settings.even_smoothing, _NOISE_BITS), _fixed(settings.odd_smoothing, _NOISE_BITS)
        smoothing = np.where(np.arange(FEATURES) % 2 == 0, even, odd)
        scaled = (signal << _SMOOTHING_BITS) & _UINT32
        estimates, fresh, kept = np.empty_like(scaled), scaled * smoothing, (1 << _NOISE_BITS) - smoothing
        estimate = self._estimate
        for row, new in zip(estimates, fresh, strict=True):
            np.multiply(estimate, kept, out=row)
            np.add(row, new, out=row)
            np.right_shift(row, _NOISE_BITS, out=row)
            estimate = row
        self._estimate = estimate.copy()
        least = signal * _fixed(settings.min_signal_remaining, _NOISE_BITS) >> _NOISE_BITS
        return np.maximum((scaled - np.minimum(estimates, scaled)) >> _SMOOTHING_BITS, least), estimates


def _fixed(value: float, bits: int) -> int:
    return int(np.float32(value) * np.float32(1 << bits))


def _bits(values: Integers | npt.NDArray[np.int32]) -> Integers:
    """The number of bits of integers below 2**53, 0 for 0."""
    return np.frexp(values.astype(np.float64))[1].astype(np.int64)


@cache
def _coefficients() -> npt.NDArray[np.int32]:
    """The Hann window with 12 bits."""
    angle = np.float32(np.float32(math.pi) * np.float32(2) / np.float32(WINDOW))
    angles = (angle * (np.arange(WINDOW, dtype=np.float32) + np.float32(0.5))).astype(np.float32)
    cosine = np.cos(angles.astype(np.float64)).astype(np.float32)
    window = np.float32(0.5) - np.float32(0.5) * cosine
    coefficients: npt.NDArray[np.int32] = np.floor(window * np.float32(1 << _WINDOW_BITS) + np.float32(0.5)).astype(
        np.int32
    )
    return coefficients


@cache
def _twiddles(number: int, *, shifted: bool) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Cosines and sines of kissfft's phases, of 15 bits; shifted are those that split a real transform."""
    index = np.arange(number)
    phases = [-math.pi * ((i + 1) / number + 0.5) if shifted else -2 * math.pi * i / number for i in index]
    cosine, sine = ([math.floor(0.5 + 32767 * f(phase)) for phase in phases] for f in (math.cos, math.sin))
    return np.array(cosine, np.int32), np.array(sine, np.int32)


Complex: TypeAlias = tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]


def _round(values: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    rounded: npt.NDArray[np.int32] = (values + (1 << 14)) >> 15
    return rounded


def _times(left: Complex, right: Complex) -> Complex:
    return (
        _round(left[0] * right[0] - left[1] * right[1]),
        _round(left[0] * right[1] + left[1] * right[0]),
    )


def _real_fft(samples: npt.NDArray[np.int32]) -> Complex:
    """The transform of 512 real numbers, `[slices, 257]`: a complex one of 256, split (`kiss_fftr`)."""
    half = _FFT // 2
    real, imaginary = _fft(samples[:, 0::2], samples[:, 1::2])
    cosine, sine = (part[: half // 2] for part in _twiddles(half, shifted=True))
    forward = [_round(part * (32767 // 2)) for part in (real, imaginary)]
    k, mirrored = np.arange(1, half // 2 + 1), half - np.arange(1, half // 2 + 1)
    ahead = forward[0][:, k], forward[1][:, k]
    # The C code negates before it divides: rounding is not symmetric.
    behind = forward[0][:, mirrored], _round(-imaginary[:, mirrored] * (32767 // 2))
    total = ahead[0] + behind[0], ahead[1] + behind[1]
    turned = _times((ahead[0] - behind[0], ahead[1] - behind[1]), (cosine, sine))
    spectrum = np.zeros((len(samples), half + 1), np.int32), np.zeros((len(samples), half + 1), np.int32)
    spectrum[0][:, 0], spectrum[0][:, half] = forward[0][:, 0] + forward[1][:, 0], forward[0][:, 0] - forward[1][:, 0]
    # At the middle both halves write the same place, the second last.
    spectrum[0][:, k], spectrum[1][:, k] = (total[0] + turned[0]) >> 1, (total[1] + turned[1]) >> 1
    spectrum[0][:, mirrored], spectrum[1][:, mirrored] = (total[0] - turned[0]) >> 1, (turned[1] - total[1]) >> 1
    return spectrum


def _fft(real: npt.NDArray[np.int32], imaginary: npt.NDArray[np.int32]) -> Complex:
    """A complex transform of 256 = 4 * 4 * 4 * 4 (`kf_bfly4`), each stage divided by 4."""
    slices, number = real.shape
    parts = [
        part.reshape(slices, 4, 4, 4, 4).transpose(0, 4, 3, 2, 1).reshape(slices, number) for part in (real, imaginary)
    ]
    cosine, sine = _twiddles(number, shifted=False)
    width = 1
    while width < number:
        groups = [_round(part * (32767 // 4)).reshape(slices, -1, 4, width) for part in parts]
        step = np.arange(width) * (number // (4 * width))
        first, *turned = (
            (groups[0][:, :, q], groups[1][:, :, q])
            if q == 0
            else _times((groups[0][:, :, q], groups[1][:, :, q]), (cosine[step * q], sine[step * q]))
            for q in range(4)
        )
        second, third, fourth = turned
        apart = first[0] - third[0], first[1] - third[1]
        joined = first[0] + third[0], first[1] + third[1]
        outer = second[0] + fourth[0], second[1] + fourth[1]
        inner = second[0] - fourth[0], second[1] - fourth[1]
        results = (
            (joined[0] + outer[0], joined[1] + outer[1]),
            (apart[0] + inner[1], apart[1] - inner[0]),
            (joined[0] - outer[0], joined[1] - outer[1]),
            (apart[0] - inner[1], apart[1] + inner[0]),
        )
        parts = [np.stack([result[part] for result in results], axis=2).reshape(slices, number) for part in (0, 1)]
        width *= 4
    return parts[0], parts[1]


# fmt: off
_WIDTHS: Final = (
    1, 2, 1, 2, 2, 2, 2, 2, 3, 2, 3, 3, 3, 3, 3, 4, 4, 3, 5, 4, 5, 5, 5, 5, 6, 6, 7, 7, 7, 8, 8, 9, 9, 9, 11, 10,
    12, 12, 13, 13, 15,
)
"""Frequencies in each of the 41 half triangles of the mel scale, from 125 to 7500 Hz (`filterbank_util.cc`)."""
WEIGHTS: Final = (
    1377, 2852, 321, 1971, 3701, 1408, 3281, 1124, 3124, 1087, 3201, 1272, 3488, 1655, 3963, 2218, 513, 2943, 1314,
    3817, 2258, 731, 3332, 1866, 430, 3117, 1734, 377, 3141, 1833, 548, 3381, 2139, 918, 3814, 2632, 1470, 325,
    3294, 2185, 1092, 15, 3049, 2003, 972, 4051, 3048, 2058, 1082, 118, 3263, 2324, 1398, 482, 3674, 2782, 1899,
    1028, 167, 3411, 2570, 1738, 915, 102, 3393, 2598, 1810, 1032, 261, 3594, 2840, 2093, 1353, 621, 3993, 3275,
    2564, 1861, 1163, 473, 3885, 3207, 2536, 1870, 1211, 557, 4006, 3364, 2727, 2096, 1471, 850, 235, 3721, 3117,
    2517, 1922, 1331, 746, 165, 3685, 3113, 2546, 1983, 1424, 870, 320, 3869, 3327, 2789, 2255, 1725, 1198, 676,
    157, 3737, 3226, 2717, 2213, 1711, 1214, 719, 228, 3836, 3352, 2870, 2392, 1917, 1445, 976, 510, 46, 3682, 3225,
    2770, 2319, 1870, 1424, 980, 539, 101, 3762, 3329, 2898, 2471, 2045, 1622, 1202, 784, 368, 4050, 3639, 3231,
    2824, 2420, 2018, 1618, 1220, 825, 432, 40, 3747, 3360, 2975, 2592, 2211, 1832, 1455, 1079, 706, 335, 4061,
    3693, 3328, 2964, 2601, 2241, 1882, 1526, 1170, 817, 465, 115, 3863, 3516, 3171, 2827, 2486, 2145, 1807, 1469,
    1134, 800, 467, 136, 3903, 3575, 3248, 2923, 2599, 2277, 1956, 1636, 1318, 1002, 686, 372, 60, 3844, 3534, 3226,
    2918, 2612, 2307, 2004, 1702, 1401, 1101, 802, 505, 209, 4010, 3716, 3423, 3132, 2841, 2552, 2264, 1977, 1692,
    1407, 1123, 841, 560, 279, 0,
)
"""The falling weight of each of those frequencies, with 12 bits; as computed with the `log1pf` of Sun's fdlibm, which
newlib has (the C library of the devices) and glibc had up to 2.40. It does not always round correctly: numbers, so that
they are the same everywhere. A chip whose compiler fuses multiplications and additions (an S3 may) can have the weight
of 4656.25 Hz, 2471, as 2470."""
# fmt: on
_FIRST_FREQUENCY: Final = 5


@cache
def filters() -> npt.NDArray[np.float64]:
    """The weight of each frequency in each feature, `[257, 40]`: a falling side, and what is left of 1 in the next."""
    weights = np.zeros((_FFT // 2 + 1, FEATURES + 2))
    channels = np.repeat(np.arange(FEATURES + 1), _WIDTHS)
    frequencies = _FIRST_FREQUENCY + np.arange(len(channels))
    weights[frequencies, channels] = WEIGHTS
    weights[frequencies, channels + 1] = (1 << _FILTER_BITS) - np.array(WEIGHTS)
    return np.ascontiguousarray(weights[:, 1 : FEATURES + 1])


def _root(values: Integers) -> Integers:
    """Square roots, rounded (`Sqrt64`, whose 32-bit half stops at 65535)."""
    root = np.sqrt(values.astype(np.float64)).astype(np.int64)
    root -= root * root > values
    root += (root + 1) * (root + 1) <= values
    up = (values - root * root > root) & ~((root == _UINT16) & (values <= _UINT32))
    rounded: Integers = root + up
    return rounded


@cache
def _gains() -> npt.NDArray[np.int64]:
    """The gain at the start of each interval of the noise estimate with what it takes to interpolate, `[33, 3]`."""

    def gain(estimate: int) -> int:
        value = np.float32(estimate) / np.float32(1 << (_SMOOTHING_BITS - _CORRECTION_BITS))
        power = np.float32(float(value + np.float32(_OFFSET)) ** float(np.float32(-_STRENGTH)))
        scaled = np.float32(1 << _GAIN_BITS) * power
        return 32767 if scaled > 32767 else int(scaled + np.float32(0.5))

    table = np.zeros((33, 3), np.int64)
    table[0, 0], table[1, 0] = gain(0), gain(1)
    for bits in range(2, 33):
        start = 1 << (bits - 1)
        end = 2 * start - 1 if bits == 32 else 2 * start
        first, middle, last = gain(start), gain(start + start // 2), gain(end)
        slope = 4 * (middle - first) - (last - first)
        table[bits] = first, slope, last - first - slope
    return table


def _gain(estimate: Integers) -> Integers:
    """`WideDynamicFunction`: quadratic interpolation between powers of two."""
    bits = _bits(estimate)
    first, slope, curve = np.moveaxis(_gains()[bits], -1, 0)
    fraction = np.where(bits < 11, estimate << np.maximum(11 - bits, 0), estimate >> np.maximum(bits - 11, 0)) & 0x3FF
    moved = ((curve * fraction) >> 5) + (slope << 5)
    result: Integers = first + ((moved * fraction + (1 << 14)) >> 15)
    return np.where(estimate <= 2, first, result)


def _shrink(ratio: Integers) -> Integers:
    """`PcanShrink`: quadratic for small ratios of signal to noise, linear above."""
    small = ratio * ratio >> (2 + 2 * _SNR_BITS - _OUTPUT_BITS)
    large = (ratio >> (_SNR_BITS - _OUTPUT_BITS)) - (1 << _OUTPUT_BITS)
    return np.where(ratio < 2 << _SNR_BITS, small, large)


# fmt: off
_LOG_TABLE: Final = np.array([
    0, 224, 442, 654, 861, 1063, 1259, 1450, 1636, 1817, 1992, 2163, 2329, 2490, 2646, 2797, 2944, 3087, 3224, 3358,
    3487, 3611, 3732, 3848, 3960, 4068, 4172, 4272, 4368, 4460, 4549, 4633, 4714, 4791, 4864, 4934, 5001, 5063, 5123,
    5178, 5231, 5280, 5326, 5368, 5408, 5444, 5477, 5507, 5533, 5557, 5578, 5595, 5610, 5622, 5631, 5637, 5640, 5641,
    5638, 5633, 5626, 5615, 5602, 5586, 5568, 5547, 5524, 5498, 5470, 5439, 5406, 5370, 5332, 5291, 5249, 5203, 5156,
    5106, 5054, 5000, 4944, 4885, 4825, 4762, 4697, 4630, 4561, 4490, 4416, 4341, 4264, 4184, 4103, 4020, 3935, 3848,
    3759, 3668, 3575, 3481, 3384, 3286, 3186, 3084, 2981, 2875, 2768, 2659, 2549, 2437, 2323, 2207, 2090, 1971, 1851,
    1729, 1605, 1480, 1353, 1224, 1094, 963, 830, 695, 559, 421, 282, 142, 0, 0], np.int64)
"""The difference between log2 and a straight line between powers of two, at 128 places, with 16 bits (`log_lut.cc`)."""
# fmt: on


def _log(values: Integers) -> Integers:
    """The natural logarithm times 64, as a uint16; 0 for values up to 1 (`LogScaleApply`)."""
    scaled = np.maximum((values << _CORRECTION_BITS) & _UINT32, 1)
    power = _bits(scaled) - 1
    fraction = scaled - (np.int64(1) << power)
    fraction = np.where(power < 16, fraction << np.maximum(16 - power, 0), fraction >> np.maximum(power - 16, 0))
    segment = fraction >> 9
    start, end = _LOG_TABLE[segment], _LOG_TABLE[segment + 1]
    log2 = (power << 16) + fraction + start + ((end - start) * (fraction - (segment << 9)) >> 16)
    natural = (_LOG_COEFFICIENT * log2 + (1 << 15)) >> 16
    limited: Integers = np.minimum(((natural << _LOG_SHIFT) + (1 << 15)) >> 16, _UINT16)
    return limited
