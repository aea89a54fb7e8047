"""The arithmetic of quantisation where it is easily got wrong."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.conversion.direct.scales import (
    activation_scale,
    bias_scales,
    quantised_bias,
    quantised_operand,
    quantised_weights,
    weight_scales,
)

finite = st.floats(-1e4, 1e4, width=32)


@given(finite, finite)
def test_an_activation_s_range_holds_zero_exactly(one: float, other: float) -> None:
    low, high = sorted((one, other))
    quantization = activation_scale(low, high)
    assert quantization.scale > 0
    assert -128 <= quantization.zero_point <= 127
    ends = (quantization.zero_point + 128) * quantization.scale, (127 - quantization.zero_point) * quantization.scale
    assert ends[0] >= -min(low, 0) - quantization.scale
    assert ends[1] >= max(high, 0) - quantization.scale


def test_the_input_s_anchors_give_the_device_s_scale() -> None:
    quantization = activation_scale(0, 26)
    assert (quantization.scale, quantization.zero_point) == (float(np.float32(26) / np.float32(255)), -128)


def test_a_dead_layer_has_a_scale_all_the_same() -> None:
    assert activation_scale(0, 0).scale == pytest.approx(2e-6 / 255)


def test_weights_round_halves_away_from_zero() -> None:
    weights = np.array([[127, 0.5, -0.5, 2.5]], np.float32)
    assert quantised_weights(weights, weight_scales(weights, 0), 0).tolist() == [[127, 1, -1, 3]]


def test_each_channel_has_its_own_scale_and_a_dead_one_the_smallest() -> None:
    weights = np.array([[127, -1], [0, 0]], np.float32)
    scales = weight_scales(weights, 0)
    assert scales.tolist() == [1, pytest.approx(0.5e-6 / 127)]
    assert quantised_weights(weights, scales, 0).tolist() == [[127, -1], [0, 0]]


def test_a_bias_too_large_for_its_filter_makes_the_filter_s_scale_grow() -> None:
    bias = np.array([5, 5], np.float32)
    scales, grown = bias_scales(bias, 0.1, np.array([0.01, 1e-9]))
    assert grown[0] == 0.01
    assert grown[1] == pytest.approx(5 / (2**30 - 1) / 0.1)
    assert quantised_bias(bias, scales).tolist() == [5000, 2**30]


@given(st.lists(finite, min_size=1, max_size=8))
def test_a_constant_operand_is_off_by_half_a_step_at_most(values: list[float]) -> None:
    array = np.array(values, np.float32)
    quantised, quantization = quantised_operand(array)
    real = (quantised.astype(float) - quantization.zero_point) * quantization.scale
    assert np.abs(real - array).max() <= quantization.scale * 1.001
