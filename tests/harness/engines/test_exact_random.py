"""The exact engine against TFLite Micro on random models; `make exact-campaign` runs many more of them."""

from __future__ import annotations

import os

import numpy as np
import pytest

from harness.engines.exact.engine import ExactModel
from harness.engines.process import EngineProcess
from mww.core.errors import EngineError
from tests.harness.engines.test_exact import every_tensor, frames_for, reference
from tests.support.needs import needs_tflm
from tests.support.random_models import random_model

MODELS = int(os.environ.get("MWW_EXACT_MODELS", "40"))
FIRST = int(os.environ.get("MWW_EXACT_FIRST", "0"))
CHUNK = 10
FRAMES = 40


@needs_tflm
@pytest.mark.parametrize("first", range(FIRST, FIRST + MODELS, CHUNK))
def test_every_tensor_of_random_models_is_the_same(first: int) -> None:
    taken = 0
    with EngineProcess("tflm") as tflm:
        for seed in range(first, first + CHUNK):
            model = random_model(seed)
            frames = frames_for(model, FRAMES, seed)
            for content in (model, every_tensor(model), every_tensor(model, 0.2)):
                try:
                    expected = reference(tflm, content, frames)
                except EngineError:
                    break  # what TFLite Micro refuses has no outputs to compare
                try:
                    exact = ExactModel(content, block=[512, 16, 1][seed % 3])
                except EngineError as error:
                    assert "leave int" in error.message, seed  # C does not define what TFLite Micro gives then
                    break
                cut = seed % FRAMES
                outputs = [exact.infer(frames[:cut]), exact.infer(frames[cut:])]
                assert np.array_equal(np.concatenate(outputs), expected), seed
                taken += 1
    assert taken > CHUNK
