"""What is converted directly is what TensorFlow's converter would have made of the same float model."""

from __future__ import annotations

import pytest

from exporter.calibration import create_default_representative_dataset
from exporter.checkpoint import Checkpoint
from exporter.converters import CONVERTERS, convert
from exporter.model_file import read_model
from exporter.phases import Phases
from tests.support.needs import needs_tensorflow
from tests.support.networks import ARCHITECTURES, random_weights
from tests.support.same_model import assert_same_model

pytestmark = needs_tensorflow


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_both_converters_give_the_same_model(name: str) -> None:
    architecture = ARCHITECTURES[name]
    checkpoint = Checkpoint(architecture, random_weights(architecture), "random")
    dataset = create_default_representative_dataset(stride=architecture.stride, clips=40)
    one, other = (read_model(convert(checkpoint, dataset, by, Phases()).content) for by in CONVERTERS)
    assert_same_model(one, other)
