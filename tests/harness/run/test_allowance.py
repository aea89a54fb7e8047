"""An allowance takes what was accepted, on what it was accepted for, and no more."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.run.allowances import Allowance, Difference, propose, usage
from harness.targets.base import TargetInfo

INFO = TargetInfo("device", "esp32s3", "tflm", (("esp-tflite-micro", "1.3.3~1"), ("esp-nn", "1.1.2")))
ALLOWED = Allowance(
    model="okay_nabu",
    model_sha256="5a" * 32,
    chip="esp32s3",
    versions=dict(INFO.versions),
    max_difference=1,
    clips={"a.wav": 3, "b.wav": 1},
    reason="the S3's assembly rounds half up",
    by="jane",
    date="2026-07-01",
)


@pytest.mark.parametrize(
    ("difference", "taken"),
    [
        (Difference("a.wav", 3, 1), True),
        (Difference("a.wav", 4, 1), False),
        (Difference("a.wav", 3, 2), False),
        (Difference("other.wav", 1, 1), False),
        (Difference("other.wav", 0, 0), True),
    ],
)
def test_it_takes_so_many_outputs_of_its_clips_by_so_much(difference: Difference, taken: bool) -> None:
    assert ALLOWED.takes(difference) is taken


def test_it_lapses_with_any_version_and_with_the_model() -> None:
    assert ALLOWED.lapse("5a" * 32, INFO) is None
    bumped = replace(INFO, versions=(("esp-tflite-micro", "1.3.3~1"), ("esp-nn", "1.2.0")))
    assert ALLOWED.lapse("5a" * 32, bumped) == "esp-nn is 1.2.0, not 1.1.2"
    assert "the model is c3c3c3" in str(ALLOWED.lapse("c3" * 32, INFO))
    assert replace(ALLOWED, versions={"esp-tflite-micro": "1.3.3~1"}).lapse("5a" * 32, bumped) is None


def test_it_is_nobody_else_s_business() -> None:
    reported = dict(INFO.versions)
    assert ALLOWED.concerns("okay_nabu", "5a" * 32, "esp32s3", reported)
    assert ALLOWED.concerns("okay_nabu", "c3" * 32, "esp32s3", reported)  # to tell that it has lapsed
    assert not ALLOWED.concerns("okay_nabu", "5a" * 32, "esp32", reported)
    assert not ALLOWED.concerns("alexa", "c3" * 32, "esp32s3", reported)
    assert not ALLOWED.concerns("okay_nabu", "5a" * 32, "esp32s3", {"tflite-micro": "1"})  # another kind of target


@pytest.mark.parametrize(
    ("seen", "state", "found"),
    [
        ([Difference("a.wav", 2, 1)], "used", {"a.wav": 2, "b.wav": None}),
        ([Difference("a.wav", 0, 0), Difference("c.wav", 9, 9)], "unused", {"a.wav": 0, "b.wav": None}),
        ([], "unused", {"a.wav": None, "b.wav": None}),
        ([Difference("a.wav", 1, 1), Difference("b.wav", 2, 1)], "exceeded", {"a.wav": 1, "b.wav": 2}),
        ([Difference("b.wav", 1, 7)], "exceeded", {"a.wav": None, "b.wav": 1}),
    ],
)
def test_what_became_of_it(seen: list[Difference], state: str, found: dict[str, int | None]) -> None:
    use = usage(ALLOWED, None, seen)
    assert (use.state, use.found) == (state, found)
    assert usage(ALLOWED, "esp-nn is 1.2.0, not 1.1.2", seen).state == "lapsed"


SEEN = st.builds(Difference, st.text(), st.integers(0, 1000), st.integers(0, 255))


@given(st.lists(SEEN, unique_by=lambda item: item.clip))
def test_what_is_proposed_takes_what_was_seen_and_nothing_else(seen: list[Difference]) -> None:
    seen = [replace(item, largest=max(1, item.largest) if item.differing else 0) for item in seen]
    proposed = propose("okay_nabu", "5a" * 32, INFO, seen, reason="", by="", date="2026-07-01")
    assert proposed.lapse("5a" * 32, INFO) is None
    for item in seen:
        assert proposed.takes(item)
        assert not proposed.takes(replace(item, differing=item.differing + 1, largest=1))
