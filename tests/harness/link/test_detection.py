"""The firmware's detection rule against what ESPHome's own C++ gave; see fixtures/scripts/make_conformance.py."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from harness.link.client import LinkClient
from harness.link.model_table import ModelRecord
from mww.core.resources import fixtures_dir
from tests.support.host_board import BoardPort, ChainEngine

CASES: Any = json.loads((fixtures_dir() / "conformance" / "detection.json").read_text())["cases"]


class Playing(ChainEngine):
    """An engine that plays recorded outputs, one a frame."""

    recorded = b""
    position = 0

    def reset(self, _: object, slot: int) -> int:
        self.position = 0
        return 0

    def infer(self, _: object, slot: int, frames: object, n: int, profile: int, results: object) -> int:
        for index in range(n):
            results[index].output = self.recorded[self.position]  # type: ignore[index]
            self.position += 1
        return 0


def test_the_same_checks_fire_as_in_esphome() -> None:
    engine = Playing()
    port = BoardPort(engine=engine, max_payload=4096)
    events = 0
    with LinkClient(port, reopen=lambda: port) as board:
        for case in CASES:
            if case["vad"] or not 1 <= case["window"] <= 255:
                continue
            board.upload(0, ModelRecord(b"model" + bytes([case["stride"]]) + bytes(250), 22_860))
            board.open_model(0)
            board.arm_detection(0, cutoff=case["cutoff_byte"], window=case["window"])
            engine.recorded = bytes.fromhex(case["outputs"])
            board.reset(0)
            frames = np.zeros((len(engine.recorded), case["stride"], 40), np.int8)
            entries = [
                (item.inference, item.slices, item.average, item.maximum) for item in board.infer(frames).detections
            ]
            assert entries == [(e["inference"], e["slices"], e["average"], e["maximum"]) for e in case["detections"]]
            events += len(entries)
    port.end()
    assert events > 50
