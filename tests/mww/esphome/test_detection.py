from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mww.core.errors import UsageError
from mww.esphome.detection import Detection, Recording, detect

RULE = {"cutoff": 0.97, "window": 5, "stride": 3}


class StreamingModel:
    """streaming_model.cpp's bookkeeping for one model, fed with outputs instead of features."""

    def __init__(self, outputs: Iterable[int], cutoff: int, window: int, stride: int) -> None:
        self.outputs, self.cutoff, self.stride = list(outputs), cutoff, stride
        self.ring = [0] * window
        self.last_n_index = 0
        self.ignore_windows = -100
        self.stride_step = 0
        self.inferences = 0
        self.unprocessed = False

    def perform_streaming_inference(self) -> None:
        self.stride_step %= self.stride
        self.stride_step += 1
        if self.stride_step >= self.stride and self.inferences < len(self.outputs):
            self.last_n_index += 1
            if self.last_n_index == len(self.ring):
                self.last_n_index = 0
            self.ring[self.last_n_index] = self.outputs[self.inferences]
            self.inferences += 1
            self.unprocessed = True
        if self.ring[self.last_n_index] < self.cutoff:
            self.ignore_windows = min(self.ignore_windows + 1, 0)

    def above(self) -> bool:
        return sum(self.ring) > self.cutoff * len(self.ring)


def slice_by_slice(
    word: StreamingModel, vad: StreamingModel | None, slices: int
) -> list[tuple[int, int, int, int, bool]]:
    """micro_wake_word.cpp's loop: (inference, slices, average, maximum, blocked) of each detection event."""
    events = []
    for consumed in range(1, slices + 1):
        word.perform_streaming_inference()
        if vad is not None:
            vad.perform_streaming_inference()
        if not word.unprocessed or word.ignore_windows < 0:
            continue
        word.unprocessed = False
        if word.above():
            blocked = vad is not None and not vad.above()
            average = sum(word.ring) // len(word.ring)
            events.append((word.inferences - 1, consumed, average, max(word.ring), blocked))
            if not blocked:
                word.ring = [0] * len(word.ring)
                word.ignore_windows = -100
    return events


def spans(values: st.SearchStrategy[int], longest: int) -> st.SearchStrategy[list[int]]:
    """Runs of one value each, as a wake word's outputs are, rather than noise that never fills a window."""
    runs = st.lists(st.tuples(values, st.integers(1, longest)), max_size=12)
    return runs.map(lambda parts: [value for value, length in parts for _ in range(length)])


LEVELS = st.sampled_from([0, 1, 100, 126, 127, 128, 129, 246, 247, 248, 254, 255])


@given(
    outputs=spans(LEVELS, 130),
    byte=st.sampled_from([0, 1, 126, 127, 128, 247, 254, 255]),
    window=st.sampled_from([1, 2, 3, 5, 10, 150]),
    stride=st.sampled_from([1, 2, 3, 4, 7, 120]),
    vad=st.none() | st.tuples(spans(st.sampled_from([0, 127, 128, 255]), 60), st.integers(1, 6), st.integers(1, 4)),
)
@example(outputs=[0] * 33 + [255] * 10, byte=247, window=5, stride=3, vad=None)
@example(outputs=[255] * 40, byte=247, window=5, stride=3, vad=None)
@example(outputs=[0] * 40 + [255] * 60 + [0] * 34 + [255] * 20, byte=247, window=5, stride=3, vad=None)
def test_it_gives_what_the_device_gives_slice_by_slice(
    outputs: list[int], byte: int, window: int, stride: int, vad: tuple[list[int], int, int] | None
) -> None:
    word = StreamingModel(outputs, byte, window, stride)
    voice = StreamingModel(vad[0], 127, vad[1], vad[2]) if vad else None
    expected = slice_by_slice(word, voice, len(outputs) * stride)
    result = detect(
        np.array(outputs, np.uint8),
        cutoff=(byte + 0.5) / 255 if byte < 255 else 1.0,
        window=window,
        stride=stride,
        vad_outputs=None if vad is None else np.array(vad[0], np.uint8),
        vad_window=vad[1] if vad else 5,
        vad_stride=vad[2] if vad else None,
    )
    assert result == [
        Detection(i, slices / 100, average, top, blocked) for i, slices, average, top, blocked in expected
    ]


def test_nothing_is_detected_in_the_first_second() -> None:
    quiet = [0] * 33
    (cold,) = detect([*quiet, 255], **(RULE | {"window": 1}))
    assert cold.time_s == pytest.approx(1.02)
    assert detect([255] * 500, **RULE) == []  # the count rises only while the newest output is below the cutoff


def test_the_count_may_run_out_in_the_middle_of_a_stride() -> None:
    """Two slices count before the first inference and three for each of 32 zeros: the next low output counts the last
    two, one slice after its own, and finds itself still pending in a ring that two loud ones have filled."""
    (result,) = detect([0] * 32 + [255, 255, 100] + [0] * 30, cutoff=150.5 / 255, window=3, stride=3)
    assert result == Detection(inference=34, time_s=106 / 100, average=203, maximum=255, vad_blocked=False)


def test_the_lead_in_is_not_counted_in_the_time() -> None:
    outputs = [0] * 50 + [255] * 10
    (plain,) = detect(outputs, **RULE)
    (led,) = detect(outputs, **RULE, lead_in=1.0)
    (slow,) = detect(outputs, **RULE, feature_step_size=20)
    assert led.time_s == plain.time_s - 1.0
    assert slow.time_s == 2 * plain.time_s
    assert plain.time_s == (plain.inference + 1) * 3 * 10 / 1000


def test_the_sum_must_be_above_the_threshold_not_at_it() -> None:
    assert detect([0] * 50 + [247] * 10 + [0] * 50, **RULE) == []
    (result,) = detect([0] * 50 + [247] * 4 + [248] + [0] * 50, **RULE)
    assert (result.average, result.maximum) == (247, 248)


def test_the_cutoff_is_truncated_to_a_byte() -> None:
    outputs = [0] * 50 + [247] * 9 + [248] + [0] * 9
    assert detect(outputs, cutoff=247.99 / 255, window=5, stride=3) == detect(
        outputs, cutoff=247 / 255, window=5, stride=3
    )


def test_a_cutoff_of_zero_never_fires() -> None:
    assert detect([255] * 200, cutoff=0.0, window=5, stride=3) == []


@pytest.mark.parametrize(
    "wrong",
    [{"cutoff": 1.01}, {"cutoff": math.nan}, {"window": 0}, {"stride": 0}, {"outputs": [256]}, {"outputs": [0.5]}],
)
def test_what_is_out_of_range_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        detect(**({"outputs": [0]} | RULE | wrong))  # type: ignore[arg-type]


def test_no_outputs_give_no_detections() -> None:
    assert detect(np.empty(0, np.uint8), **RULE) == []
    assert list(Recording([], window=150, stride=1).checks(100)) == []
