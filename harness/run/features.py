"""Compares the features of a target's own front-end with this computer's, block by block."""

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
"""Slices that are kept to find the cause of differences: ten minutes."""


@dataclass(frozen=True, slots=True)
class FeatureMismatch:
    """A slice that differs.

    Attributes:
        slice: Its index, from 0.
        expected: The 40 features of this computer, as a model takes them; None where it made no such slice.
        found: Those of the target.
    """

    slice: int
    expected: tuple[int, ...] | None
    found: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class FeatureResult:
    """The comparison of a clip's features.

    Attributes:
        sha256: Over the int8 slices that the target's own front-end made.
        mismatches: Slices that differ from this computer's, or that only one side made.
        first_mismatch: The first of them; None without one.
    """

    sha256: str
    mismatches: int
    first_mismatch: FeatureMismatch | None


@dataclass(frozen=True, slots=True)
class HeardFeatures:
    """The same comparison, with the kept slices of the target from the clip's beginning if a slice differs."""

    result: FeatureResult
    slices: Slices = field(repr=False)


class FeatureComparison:
    """Compares slices block by block; at most ten minutes of slices are kept.

    Slices of the side that is ahead wait for the other side.
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
        """The comparison of the slices that both sides have."""
        return FeatureResult(self._digest.hexdigest(), self._mismatches, self._first)

    def result(self) -> HeardFeatures:
        """The comparison of all slices, at the end: slices of one side only differ too."""
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
