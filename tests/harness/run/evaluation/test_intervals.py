"""Intervals against published tables, and against their own definition."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.run.evaluation.statistics import binomial_proportion, poisson_rate


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [(0, 0.0, 3.6889), (1, 0.0253, 5.5716), (5, 1.6235, 11.6683), (10, 4.7954, 18.3904), (20, 12.2165, 30.8884)],
)
def test_poisson_intervals_are_the_tables(count: int, low: float, high: float) -> None:
    result = poisson_rate(count, 1.0)
    assert (result.low, result.high) == pytest.approx((low, high), abs=6e-5)


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [(0, 10, 0.0, 0.3085), (10, 10, 0.6915, 1.0), (8, 10, 0.4439, 0.9748), (50, 100, 0.3983, 0.6017)],
)
def test_binomial_intervals_are_the_tables(hits: int, trials: int, low: float, high: float) -> None:
    result = binomial_proportion(hits, trials)
    assert (result.low, result.high) == pytest.approx((low, high), abs=6e-5)


def test_a_rate_is_per_hour_and_keeps_its_resolution() -> None:
    result = poisson_rate(1, 5.3)
    assert result.rate == pytest.approx(0.1887, abs=1e-4)
    assert result.high == pytest.approx(5.5716 / 5.3, abs=1e-4)


def test_without_time_or_trials_nothing_is_claimed() -> None:
    nothing = poisson_rate(0, 0.0)
    assert (nothing.rate, nothing.low, nothing.high) == (None, None, None)
    assert (binomial_proportion(0, 0).value, binomial_proportion(0, 0).low) == (None, 0.0)


@given(st.integers(0, 2000), st.floats(0.01, 1000))
def test_the_upper_end_is_where_so_few_events_become_too_rare(count: int, hours: float) -> None:
    result = poisson_rate(count, hours)
    assert result.low is not None and result.high is not None and result.rate is not None
    assert result.low <= result.rate <= result.high
    mean = result.high * hours
    tail = math.fsum(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(count + 1))
    assert tail == pytest.approx(0.025, rel=1e-6)
