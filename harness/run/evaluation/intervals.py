"""Rates and proportions with the exact intervals that their counts allow: pure arithmetic.

A bare rate says nothing of its resolution: five hours without a false accept are compatible with 0.7 an hour.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

CONFIDENCE: Final = 0.95
_HALVINGS: Final = 60  # a double has no more digits than that


@dataclass(frozen=True, slots=True)
class Rate:
    """Events an hour.

    Attributes:
        count: Events seen.
        hours: In this time.
        rate: Events an hour; None where there was no time.
        low: Lower end of the exact Poisson interval; None where there was no time.
        high: Upper end.
    """

    count: int
    hours: float
    rate: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Proportion:
    """Hits among trials.

    Attributes:
        hits: Of the trials.
        trials: In all.
        value: Hits over trials; None where there were no trials.
        low: Lower end of the exact binomial (Clopper-Pearson) interval, 0 without trials.
        high: Upper end, 1 without trials.
    """

    hits: int
    trials: int
    value: float | None
    low: float
    high: float


@lru_cache(maxsize=4096)  # a sweep asks for the same few counts again and again
def poisson_rate(count: int, hours: float, *, confidence: float = CONFIDENCE) -> Rate:
    """The rate of `count` events in `hours`, with its exact Poisson interval."""
    if hours <= 0:
        return Rate(count, 0.0, None, None, None)
    tail = (1 - confidence) / 2
    low = 0.0 if count == 0 else _solve(lambda mean: 1 - _poisson_cdf(count - 1, mean), tail, 0, count)
    top = count + 10 * math.sqrt(count + 1) + 10
    high = _solve(lambda mean: 1 - _poisson_cdf(count, mean), 1 - tail, count, top)
    return Rate(count, hours, count / hours, low / hours, high / hours)


@lru_cache(maxsize=4096)
def binomial_proportion(hits: int, trials: int, *, confidence: float = CONFIDENCE) -> Proportion:
    """The proportion of `hits` among `trials`, with its exact binomial interval."""
    if trials == 0:
        return Proportion(0, 0, None, 0.0, 1.0)
    tail = (1 - confidence) / 2
    low = 0.0 if hits == 0 else _solve(lambda p: 1 - _binomial_cdf(hits - 1, trials, p), tail, 0, 1)
    high = 1.0 if hits == trials else _solve(lambda p: 1 - _binomial_cdf(hits, trials, p), 1 - tail, 0, 1)
    return Proportion(hits, trials, hits / trials, low, high)


def _solve(rising: Callable[[float], float], value: float, low: float, high: float) -> float:
    """Where a rising function takes a value, by halving."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < value else (low, middle)
    return (low + high) / 2


def _log_factorials(last: int) -> npt.NDArray[np.float64]:
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, last + 1, dtype=np.float64)))])


def _poisson_cdf(count: int, mean: float) -> float:
    """P(X <= count)."""
    if mean <= 0:
        return 1.0
    events = np.arange(count + 1)
    return float(np.exp(events * math.log(mean) - mean - _log_factorials(count)).sum())


def _binomial_cdf(hits: int, trials: int, p: float) -> float:
    """P(X <= hits)."""
    if not 0 < p < 1:
        return 1.0 if p <= 0 else float(hits >= trials)
    logs = _log_factorials(trials)
    k = np.arange(hits + 1)
    ways = logs[trials] - logs[k] - logs[trials - k]
    return float(np.exp(ways + k * math.log(p) + (trials - k) * math.log1p(-p)).sum())
