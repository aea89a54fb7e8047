from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mww.core.resources import published_models
from mww.tflite.model_file import read_model
from mww.verification import verify_esphome_compatibility
from mww.verification.bounds import output_bounds
from mww.verification.rules import Subject


@pytest.mark.parametrize("name", ["okay_nabu", "hey_jarvis", "alexa", "hey_mycroft"])
def test_a_published_model_can_give_every_byte(name: str) -> None:
    assert output_bounds(Subject(read_model(published_models() / f"{name}.tflite"))) == (0, 255)


def _set_bias(model: Any, op_code: int, value: int) -> None:
    """Give the last operator of a kind a bias that drowns its weights."""
    main = model.subgraphs[0]
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    chosen = [operator for operator in main.operators if codes[operator.opcodeIndex] == op_code]
    bias = main.tensors[chosen[-1].inputs[2]]
    model.buffers[bias.buffer].data = np.full(bias.shape, value, np.int32).tobytes()


_FULLY_CONNECTED, _CONV = 9, 3


@pytest.mark.parametrize(
    ("operator", "value", "bounds"),
    [(_FULLY_CONNECTED, -(2**24), (0, 0)), (_FULLY_CONNECTED, 2**24, (255, 255))],
)
def test_a_bias_that_drowns_the_weights(
    edit: Callable[[Callable[[Any], None]], Any], operator: int, value: int, bounds: tuple[int, int]
) -> None:
    path = edit(lambda model: _set_bias(model, operator, value))
    assert output_bounds(Subject(read_model(path))) == bounds
    failures = {check.id: check for check in verify_esphome_compatibility(path).checks if check.status != "pass"}
    assert "for any input" in failures["highest-output"].message
    assert "calibrat" not in failures["highest-output"].hint


def test_a_dead_layer_before_a_state(edit: Callable[[Callable[[Any], None]], Any]) -> None:
    low, high = output_bounds(Subject(read_model(edit(lambda model: _set_bias(model, _CONV, -(2**24))))))
    assert high - low <= 16  # the last convolution gives zeros, so that the classifier's bias is left, and rounding
