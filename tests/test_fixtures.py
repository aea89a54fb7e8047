"""The clips that travel with the product."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.check import check
from harness.cli.demo import LEAD_IN


@pytest.mark.parametrize("word", ["okay_nabu", "alexa", "hey_mycroft", "hey_jarvis"])
def test_each_shipped_clip_is_detected_by_its_published_model(word: str, clips: Path, models: Path) -> None:
    result = check(models / f"{word}.json", [clips / word, clips / "negative"], lead_in=LEAD_IN)
    assert result.evaluation is not None
    assert result.evaluation.at.recall.trials == 3
    assert not result.evaluation.missed
    assert not result.evaluation.woken_by
