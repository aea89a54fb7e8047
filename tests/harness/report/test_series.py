"""Charts are small and keep every peak."""

from __future__ import annotations

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from harness.report.plots import HEIGHT, columns_where, downsample, line, round_ticks

_bytes = arrays.arrays(np.uint8, st.integers(0, 700))


@given(_bytes, st.integers(1, 60))
def test_downsampling_keeps_the_extremes_of_every_column(values: np.ndarray, columns: int) -> None:
    drawn = downsample(values, columns)
    assert len(drawn) <= 2 * columns
    if len(values) <= 2 * columns:
        assert np.array_equal(drawn, values)
        return
    width = -(-len(values) // columns)
    for index, start in enumerate(range(0, len(values), width)):
        column = values[start : start + width]
        assert {column.min(), column.max()} == set(drawn[2 * index : 2 * index + 2].tolist())


@given(_bytes)
def test_a_path_goes_through_every_value(values: np.ndarray) -> None:
    """Draw the path again with a turtle."""
    heights: list[int] = []
    for word, numbers in re.findall(r"([Mlh])([-\d ]+)", line(values)):
        parts = [int(part) for part in numbers.split()]
        if word == "M":
            heights.append(parts[1])
        elif word == "h":
            heights += [heights[-1]] * parts[0]
        else:
            heights.append(heights[-1] + parts[1])
    assert heights == [HEIGHT - int(value) for value in values]


@given(arrays.arrays(np.bool_, st.integers(0, 300)), st.integers(1, 50))
def test_a_difference_is_never_lost_from_the_strip(wrong: np.ndarray, columns: int) -> None:
    boxes = {int(place) for place in re.findall(r"M(\d+) ", columns_where(wrong, columns))}
    assert boxes == {int(place) * columns // len(wrong) for place in np.flatnonzero(wrong)}


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_are_few_round_and_inside(low: float, span: float) -> None:
    ticks = round_ticks(low, low + span)
    assert len(ticks) <= 8
    assert all(low - 1e-6 * span <= tick <= low + span + 1e-6 * span for tick in ticks)
