"""What is converted directly is what TensorFlow's converter makes of the same network."""

from __future__ import annotations

import numpy as np
import pytest

from exporter.calibration.sets import create_default_representative_dataset
from exporter.checkpoint import Checkpoint
from exporter.conversion.converters import CONVERTERS, convert
from exporter.network.architecture import Architecture, FloatArray, Weights
from mww.core.progress import Phases
from mww.tflite.model_file import read_model
from tests.support.needs import needs_tensorflow
from tests.support.networks import ARCHITECTURES, random_weights
from tests.support.same_model import assert_same_model

pytestmark = needs_tensorflow


def _assert_same(architecture: Architecture, weights: Weights) -> None:
    checkpoint = Checkpoint(architecture, weights, "random")
    dataset = create_default_representative_dataset(stride=architecture.stride, clips=40)
    item, other = (read_model(convert(checkpoint, dataset, by, Phases()).content) for by in CONVERTERS)
    assert_same_model(item, other)


@pytest.mark.parametrize("name", ["without first convolution", "padded"])  # and default: see test_by_tensorflow
def test_both_converters_give_the_same_model(name: str) -> None:
    _assert_same(ARCHITECTURES[name], random_weights(ARCHITECTURES[name]))


@pytest.mark.parametrize("name", ["residual", "inception", "attention"])
def test_and_so_they_do_of_weights_that_training_leaves_behind(name: str) -> None:
    """Dead and all but dead filters, biases beyond all bounds, ties in rounding, and a dense layer without a bias."""
    architecture = ARCHITECTURES[name]
    random = np.random.default_rng(3)
    weights: dict[str, tuple[FloatArray, ...]] = dict(random_weights(architecture))
    for parameter in architecture.parameters:
        first, *others = (array.copy() for array in weights[parameter.role])
        if parameter.kind == "norm":
            first[random.random(len(first)) < 0.2] = 0
            first[random.random(len(first)) < 0.2] = random.choice([1e-5, 1e-7, 3e-10])
            others[0][random.random(len(first)) < 0.2] *= 1000
        else:
            first = np.round(first * 64) / 64
            first.flat[0] = 127 / 64
        if parameter.kind == "dense":
            others[0][:] = 0
        weights[parameter.role] = (first, *others)
    _assert_same(architecture, weights)
