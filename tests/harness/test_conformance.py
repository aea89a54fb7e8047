"""The rule and the quantiser against what ESPHome's own C++ gave; see fixtures/scripts/make_conformance.py."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from mww.core.resources import fixtures_dir
from mww.esphome.contract import cutoff_of
from mww.esphome.detection import Detection, detect
from mww.esphome.frontend import quantize_features
from mww.esphome.releases import read_releases

VECTORS: Any = json.loads((fixtures_dir() / "conformance" / "detection.json").read_text())


def test_the_vectors_are_of_the_esphome_that_the_contract_was_read_from() -> None:
    assert VECTORS["esphome"] in read_releases()
    fired = [event for case in VECTORS["cases"] for event in case["detections"]]
    assert sum(event["vad_blocked"] for event in fired) > 100
    assert sum(not event["vad_blocked"] for event in fired) > 100
    assert any(event["slices"] % case["stride"] for case in VECTORS["cases"] for event in case["detections"])


@pytest.mark.parametrize("first", range(0, len(VECTORS["cases"]), 50))
def test_the_same_checks_fire_as_in_esphome(first: int) -> None:
    for case in VECTORS["cases"][first : first + 50]:
        vad = case["vad"] or {"outputs": "", "cutoff_byte": 0, "window": 1, "stride": 1}
        result = detect(
            np.frombuffer(bytes.fromhex(case["outputs"]), np.uint8),
            cutoff=cutoff_of(case["cutoff_byte"]),
            window=case["window"],
            stride=case["stride"],
            vad_outputs=np.frombuffer(bytes.fromhex(vad["outputs"]), np.uint8) if case["vad"] else None,
            vad_cutoff=cutoff_of(vad["cutoff_byte"]),
            vad_window=vad["window"],
            vad_stride=vad["stride"],
        )
        expected = [
            Detection(e["inference"], e["slices"] * 10 / 1000, e["average"], e["maximum"], e["vad_blocked"])
            for e in case["detections"]
        ]
        assert result == expected


def test_every_raw_feature_quantises_as_in_esphome() -> None:
    with np.load(fixtures_dir() / "conformance" / "quantizer.npz") as archive:
        expected = archive["int8_of_raw"]
    assert np.array_equal(quantize_features(np.arange(65536, dtype=np.uint16)), expected)
