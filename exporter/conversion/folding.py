"""Folds the norms of a trained network into the convolutions before them, for inference.

TensorFlow's converter would fold them too, in float32 and with the approximate reciprocal root of the processor that it
runs on. Here it is that of Intel's processors on every machine, to the last bit: the same checkpoint gives the same
model everywhere, which is the model of the trainer's own conversion on such a processor.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from exporter.network.architecture import NORM_EPSILON, Architecture, FloatArray, Weights

_LANES: Final = 8
"""Floats in an AVX vector; TensorFlow's wheels are compiled for AVX."""


def fold_norms(architecture: Architecture, weights: Weights) -> Weights:
    """Fold every norm with one entry for each filter: its convolution gets a new kernel and a bias.

    A sub-spectral norm, whose entries alternate over the filters, stays as scale and shift under its own role.
    """
    folded = {parameter.role: weights[parameter.role] for parameter in architecture.parameters}
    for parameter in architecture.parameters:
        if parameter.kind != "norm":
            continue
        role = parameter.role.removesuffix("_norm")
        scale, shift = _scale_and_shift(weights[parameter.role])
        (kernel,) = weights[role]
        if kernel.shape[-1] == len(scale):
            del folded[parameter.role]
            folded[role] = (kernel.astype(np.float32) * scale, shift)
        else:
            folded[parameter.role] = (scale, shift)
    return folded


def neutral_variance(entries: int) -> FloatArray:
    """A variance, float32 [entries], with which a norm folds exactly to its gamma and beta."""
    variance = np.full(entries, 1 - NORM_EPSILON, np.float32)
    scale, _ = _scale_and_shift((np.ones_like(variance), variance, variance, variance))
    return np.where(scale == 1, variance, np.nextafter(variance, np.float32(0)))


def _scale_and_shift(norm: tuple[FloatArray, ...]) -> tuple[FloatArray, FloatArray]:
    gamma, beta, mean, variance = (array.astype(np.float32) for array in norm)
    scale: FloatArray = gamma * reciprocal_root(variance + np.float32(NORM_EPSILON))
    shift: FloatArray = beta - mean * scale
    return scale, shift


def reciprocal_root(values: FloatArray) -> FloatArray:
    """1 / sqrt of each, as TensorFlow's wheels compute it: in vectors of 8, and the rest one by one.

    Eigen's `generic_rsqrt_newton_step` of AVX without FMA (tensorflow 2.19.1): one step of Newton's method.
    """
    whole = len(values) // _LANES * _LANES
    vectors, rest = values[:whole], values[whole:]
    root = _estimated_root(vectors)
    half = root * np.float32(-0.5)
    refined = half * ((vectors * root) * root - np.float32(1)) + root
    result: FloatArray = np.concatenate([refined, np.float32(1) / np.sqrt(rest)]).astype(np.float32)
    return result


def _estimated_root(values: FloatArray) -> FloatArray:
    """RSQRTPS of Intel's processors: the middle of each of 1,024 steps per power of two, to 13 bits (measured)."""
    mantissa, exponent = np.frexp(values.astype(np.float64))
    doublings = 1 + (exponent + 1) % 2  # what is left is a power of four
    mantissa = np.ldexp(mantissa, doublings)  # in [1, 4)
    step = np.where(mantissa >= 2, 2.0**-9, 2.0**-10)
    root = 1 / np.sqrt((np.floor(mantissa / step) + 0.5) * step)
    scaled: FloatArray = np.ldexp(np.round(root * 2.0**13) / 2.0**13, (doublings - exponent) // 2).astype(np.float32)
    return scaled
