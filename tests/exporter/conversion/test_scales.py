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
from exporter.conversion.folding import neutral_variance, reciprocal_root
from exporter.conversion.recovered_ranges import exact_range
from exporter.network.architecture import NORM_EPSILON

finite = st.floats(-1e4, 1e4, width=32)
counts = st.integers(1, 40)


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


@given(finite, finite)
def test_a_recovered_range_gives_the_same_scale_again(one: float, other: float) -> None:
    low, high = sorted((one, other))
    quantization = activation_scale(low, high)
    again = activation_scale(*exact_range(quantization.scale, quantization.zero_point))
    assert again.scale == quantization.scale
    assert again.zero_point == quantization.zero_point


@given(st.lists(st.floats(2**-20, 2**20, width=32), min_size=1, max_size=20))
def test_the_root_of_the_trainers_wheels_is_near_the_root(values: list[float]) -> None:
    array = np.array(values, np.float32)
    np.testing.assert_allclose(reciprocal_root(array), 1 / np.sqrt(array.astype(np.float64)), rtol=3e-7)


def test_the_root_is_that_of_tensorflow_on_an_intel_processor() -> None:
    values = (np.arange(1, 12, dtype=np.float32) / np.float32(7)) ** 2  # a vector of 8, and three one by one
    expected = [
        0x40E00000,
        0x40600000,
        0x40155555,
        0x3FE00000,
        0x3FB33333,
        0x3F955555,
        0x3F7FFFFE,
        0x3F600000,
        0x3F471C72,
        0x3F333333,
        0x3F22E8BA,
    ]
    assert reciprocal_root(values).view(np.uint32).tolist() == expected


@given(counts)
def test_a_neutral_norm_changes_nothing(entries: int) -> None:
    variance = neutral_variance(entries)
    assert reciprocal_root(variance + np.float32(NORM_EPSILON)).tolist() == [1] * entries
