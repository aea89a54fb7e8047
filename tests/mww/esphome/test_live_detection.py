from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mww.esphome.detection import LiveDetector, Recording

LEVELS = st.sampled_from([0, 1, 100, 126, 127, 128, 129, 246, 247, 248, 254, 255])
RUNS = st.lists(st.tuples(LEVELS, st.integers(1, 130)), max_size=10)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    runs=RUNS,
    byte=st.sampled_from([0, 1, 126, 127, 128, 247, 254, 255]),
    window=st.sampled_from([1, 2, 3, 5, 10, 150]),
    stride=st.sampled_from([1, 2, 3, 4, 7, 120]),
    cut=st.integers(0, 400),
)
def test_it_detects_what_the_whole_recording_does(
    runs: list[tuple[int, int]], byte: int, window: int, stride: int, cut: int
) -> None:
    outputs = np.array([value for value, length in runs for _ in range(length)], np.uint8)
    detector = LiveDetector(cutoff_byte=byte, window=window, stride=stride)
    live = []
    for part in (outputs[:cut], outputs[cut:]):
        for detection in detector.push(part):
            live.append((detection.inference, detection.slices, detection.average, detection.maximum))
            detector.reset()
    whole = Recording(outputs, window=window, stride=stride)
    slices = [check.slices for check in whole.checks(byte)]
    result = whole.detections(byte)
    assert live == [(d.inference, s, d.average, d.maximum) for d, s in zip(result, slices, strict=True)]
