"""The file of allowances is read back as it was written, and anything else in it is refused by its place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.run.allowances import (
    DEFAULT_NAME,
    Allowance,
    AllowanceError,
    allowance_fields,
    find_allowances,
    merged,
    read_allowances,
    render,
)
from tests.harness.run.test_allowance import ALLOWED

TEXT = st.text(st.characters(blacklist_categories=("Cs",)), max_size=40)
ALLOWANCES = st.builds(
    Allowance,
    model=TEXT,
    model_sha256=TEXT,
    chip=st.sampled_from(["esp32", "esp32s3"]),
    versions=st.dictionaries(TEXT, TEXT, min_size=1, max_size=3),
    max_difference=st.integers(1, 255),
    clips=st.dictionaries(TEXT, st.integers(1, 10_000), max_size=4),
    reason=TEXT,
    by=TEXT,
    date=TEXT,
)


@settings(deadline=None, max_examples=50)
@given(st.lists(ALLOWANCES, max_size=3))
def test_what_is_written_reads_the_same(tmp_path_factory: pytest.TempPathFactory, allowances: list[Allowance]) -> None:
    path = tmp_path_factory.getbasetemp() / DEFAULT_NAME
    path.write_text(render(allowances), encoding="utf-8")
    assert list(read_allowances(path).allowances) == allowances


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("chip", "esp8266", "chip must be esp32, "),
        ("versions", {}, "no version"),
        ("versions", {"esp-nn": 1.2}, "1.2"),
        ("versions", ["esp-nn"], "versions must be an object"),
        ("clips", {"a.wav": 0}, "clips.a.wav must be a whole number of at least 1, not 0"),
        ("clips", {"a.wav": True}, "must be a whole number"),
        ("max_difference", -1, "must be a whole number"),
        ("reason", None, "reason must be text, but is missing"),
        ("reason", "x" * 5000, "must be text of at most 4096 characters"),
        ("raeson", "typo", "raeson"),
    ],
)
def test_what_is_no_allowance_is_refused_by_its_place(tmp_path: Path, key: str, value: object, said: str) -> None:
    path = tmp_path / DEFAULT_NAME
    path.write_text(yaml.safe_dump({"allowances": [{**allowance_fields(ALLOWED), key: value}]}))
    with pytest.raises(AllowanceError, match=said) as caught:
        read_allowances(path)
    assert "allowance 1" in caught.value.message


@pytest.mark.parametrize("content", ["", "[]", "allowances: 3", "boards: []", "a: [", "&a [*a]", "\0", "- - - -"])
def test_what_is_no_such_file_is_one_error(tmp_path: Path, content: str) -> None:
    path = tmp_path / DEFAULT_NAME
    path.write_text(content)
    with pytest.raises(AllowanceError):
        read_allowances(path)
    with pytest.raises(AllowanceError, match="cannot read"):
        read_allowances(tmp_path / "absent.yaml")


def test_a_bare_date_is_one(tmp_path: Path) -> None:
    path = tmp_path / DEFAULT_NAME
    path.write_text(render([ALLOWED]).replace("'2026-07-01'", "2026-07-01"))
    assert read_allowances(path).allowances == (ALLOWED,)


def test_a_new_one_takes_the_place_of_those_for_the_same_model_and_chip() -> None:
    elsewhere = replace(ALLOWED, chip="esp32")
    lapsed = replace(ALLOWED, versions={**ALLOWED.versions, "esp-nn": "1.0.0"})
    virtual = replace(ALLOWED, versions={"tflite-micro": "1"})
    new = replace(ALLOWED, clips={"b.wav": 7}, max_difference=2, reason="looked at again")
    current = replace(ALLOWED, clips={"a.wav": 3, "b.wav": 1, "c.wav": 2}, max_difference=5)
    former = [elsewhere, lapsed, virtual, current]  # a.wav was compared and is right now; c.wav was not there
    kept = replace(new, clips={"c.wav": 2, "b.wav": 7}, max_difference=5)
    assert merged(former, new, ["a.wav", "b.wav"]) == (elsewhere, virtual, kept)
    nothing = replace(new, clips={}, max_difference=0)
    assert merged([ALLOWED, elsewhere], nothing, ["a.wav", "b.wav"]) == (elsewhere,)


def test_it_is_looked_for_beside_the_golden_and_then_here(tmp_path: Path) -> None:
    golden, here = tmp_path / "goldens" / "g.npz", tmp_path / "here"
    golden.parent.mkdir()
    here.mkdir()
    assert find_allowances(None, golden.parent, here) is None
    (here / DEFAULT_NAME).touch()
    assert find_allowances(None, golden.parent, here) == here / DEFAULT_NAME
    (golden.parent / DEFAULT_NAME).touch()
    assert find_allowances(None, golden.parent, here) == golden.parent / DEFAULT_NAME
    assert find_allowances(tmp_path / "given.yaml", golden.parent, here) == tmp_path / "given.yaml"
