"""The features that a target's own front-end made, against this computer's, as both come."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from mww.esphome.contract import FEATURES
from mww.esphome.frontend import Slices

_NONE: Final = np.empty((0, FEATURES), np.int8)
_KEPT: Final = 60_000
"""Slices, ten minutes, that are kept to find out why they differ."""


@dataclass(frozen=True, slots=True)
class FeatureMismatch:
    """A slice that differs: its index from 0, and the 40 features of each side; None where that made no such slice."""

    slice: int
    expected: tuple[int, ...] | None
    found: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class FeatureResult:
    """What became of a clip's features: `sha256` of the target's int8 slices, and how many slices differ."""

    sha256: str
    mismatches: int
    first_mismatch: FeatureMismatch | None


@dataclass(frozen=True, slots=True)
class HeardFeatures:
    """The same, with the target's slices from the beginning where any differs, as many as are kept."""

    result: FeatureResult
    slices: Slices = field(repr=False)


class FeatureComparison:
    """Compares slices that come block by block; what is kept does not grow beyond ten minutes' worth.

    Slices that one side is ahead wait for the other's.
    """

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._waiting: tuple[Slices, Slices] = (_NONE, _NONE)
        self._compared = self._mismatches = 0
        self._first: FeatureMismatch | None = None
        self._kept: list[Slices] = []
        self._left = _KEPT

    def add(self, expected: Slices, found: Slices) -> None:
        """Take the next slices of both sides."""
        self._digest.update(np.ascontiguousarray(found).tobytes())
        if self._left:
            self._kept.append(found[: self._left])
            self._left -= len(self._kept[-1])
        host, device = (np.concatenate(pair) for pair in zip(self._waiting, (expected, found), strict=True))
        both = min(len(host), len(device))
        wrong = np.flatnonzero((host[:both] != device[:both]).any(axis=1))
        if len(wrong):
            at = int(wrong[0])
            first = FeatureMismatch(self._compared + at, _numbers(host[at]), _numbers(device[at]))
            self._first = self._first or first
        self._mismatches += len(wrong)
        self._compared += both
        self._waiting = host[both:], device[both:]

    def so_far(self) -> FeatureResult:
        """How the slices differ that both sides have made."""
        return FeatureResult(self._digest.hexdigest(), self._mismatches, self._first)

    def result(self) -> HeardFeatures:
        """How all slices differ, at the end: those that one side alone has made differ too."""
        host, device = self._waiting
        alone = len(host) + len(device)
        mismatches, first = self._mismatches + alone, self._first
        if alone and first is None:
            sides = (_numbers(side[0]) if len(side) else None for side in (host, device))
            first = FeatureMismatch(self._compared, *sides)
        slices = np.concatenate([_NONE, *self._kept]) if mismatches else _NONE
        return HeardFeatures(FeatureResult(self._digest.hexdigest(), mismatches, first), slices)


def _numbers(features: npt.NDArray[np.int8]) -> tuple[int, ...]:
    return tuple(int(feature) for feature in features)
