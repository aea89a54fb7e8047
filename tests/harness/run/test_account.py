"""What a run says of the arena."""

from __future__ import annotations

from pathlib import Path

import pytest
from pymicro_wakeword import __file__ as package

from harness.run.summary import judge_arena
from harness.targets.base import ArenaUse, TargetInfo
from mww.esphome.model import load_model

ALEXA = Path(package).parent / "models" / "alexa.json"


@pytest.mark.parametrize(
    "versions, predicted",
    [
        ((("esp-tflite-micro", "1.3.3~1"), ("esp-nn", "1.1.2")), 22140),
        ((("esp-tflite-micro", "1.3.3~1"), ("esp-nn", "1.2.1")), 30108),
        ((("esp-tflite-micro", "1.3.3~1"), ("esp-nn", "9.0.0")), None),
        ((("tflite-micro", "0.dev"),), 22140),
    ],
)
def test_the_prediction_is_for_the_versions_that_the_board_tells(
    versions: tuple[tuple[str, str], ...], predicted: int | None
) -> None:
    info = TargetInfo("device", "esp32s3", "tflm", versions)
    arena = judge_arena(load_model(ALEXA), info, ArenaUse(used=22140, size=22176, source="measured"))
    assert arena.predicted == predicted
