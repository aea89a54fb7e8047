"""Norms of a trained network, folded into the convolutions before them, as inference wants them.

TensorFlow's converter would fold them too, but with a reciprocal root that is approximate and differs between the lanes
of a vector unit; computed here, the same checkpoint gives the same model on every machine.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from exporter.network.architecture import NORM_EPSILON, Architecture, FloatArray, Weights


def fold_norms(architecture: Architecture, weights: Weights) -> Weights:
    """Fold every norm that has one entry a filter: its convolution gets another kernel, and a bias.

    A sub-spectral norm, whose entries alternate over the filters, stays: as scale and shift under its own role.
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
            folded[role] = ((kernel * scale).astype(np.float32), shift.astype(np.float32))
        else:
            folded[parameter.role] = (scale.astype(np.float32), shift.astype(np.float32))
    return folded


def _scale_and_shift(norm: tuple[FloatArray, ...]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    gamma, beta, mean, variance = (array.astype(np.float64) for array in norm)
    scale = gamma / np.sqrt(variance + NORM_EPSILON)
    return scale, beta - mean * scale
