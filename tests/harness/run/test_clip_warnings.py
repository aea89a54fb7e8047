from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.check import check
from harness.run.summary import with_warnings
from mww.esphome.model import load_model


@pytest.mark.parametrize(
    ("value", "positive", "codes"),
    [
        (0, [], []),
        (0, ["clip"], ["constant-output"]),
        (7, [], ["constant-output"]),
        (255, [], ["constant-output", "never-below-cutoff"]),
    ],
)
def test_a_constant_output(models: Path, value: int, positive: list[str], codes: list[str]) -> None:
    model = load_model(models / "okay_nabu.json")
    random = np.random.default_rng(0)
    steady = np.cumsum(random.integers(-2, 3, (300, 40)), axis=0).clip(-128, 127).astype(np.int8)
    steady[:, ::3] = -128
    (result,) = check(model, {"clip": steady}).clips
    result.trace.outputs[:] = value
    (judged,) = with_warnings(model, [result], positive)
    assert [warning.code for warning in judged.warnings] == codes


def test_outputs_that_never_fall_below_the_cutoff(models: Path) -> None:
    model = load_model(models / "okay_nabu.json")
    (result,) = check(model, {"clip": np.full((300, 40), -128, np.int8)}).clips
    result.trace.outputs[:] = np.arange(len(result.trace.outputs)) % 20 + 230
    (judged,) = with_warnings(model, [result], [])
    assert [warning.code for warning in judged.warnings] == ["silence"]
