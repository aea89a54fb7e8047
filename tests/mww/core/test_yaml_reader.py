"""YAML gives plain values or one error with a line, whatever the file holds."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mww.core.errors import ConfigurationError
from mww.core.yaml_reader import MAX_BYTES, MAX_VALUES, parse_yaml, read_yaml
from tests.support.examples import examples

_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(blacklist_categories=["Cs"]), max_size=20)
)
_DOCUMENTS = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_TAGS = (
    "!!bool",
    "!!int",
    "!!float",
    "!!timestamp",
    "!!null",
    "!!binary",
    "!!set",
    "!!omap",
    "!!python/tuple",
    "!x",
    "!",
)
_BODIES = (
    "1",
    "-",
    "_",
    "0x",
    "0b",
    "09",
    "1:60",
    ".inf",
    "-.NaN",
    "1e999",
    "9" * 5000,
    "2026-02-31",
    "2026-13-99 25:00",
)


def _parse(text: str, *, tuples: bool = False) -> object:
    return parse_yaml(text.encode(), "file.yaml", ConfigurationError, "look at the example", tuples=tuples)


@settings(deadline=None)
@given(_DOCUMENTS)
def test_what_pyyaml_writes_is_read_back(document: object) -> None:
    assert _parse(yaml.safe_dump(document)) == document


@settings(deadline=None, max_examples=examples(100))
@given(
    st.lists(
        st.sampled_from(
            [*_TAGS, *_BODIES, "[", "]", "{", "}", ": ", "- ", "\n", " ", "&a ", "*a ", "'", '"\\ud800"', "<<"]
        )
    )
)
def test_anything_is_plain_values_or_the_one_error(pieces: list[str]) -> None:
    for tuples in (False, True):
        try:
            value = _parse("".join(pieces), tuples=tuples)
        except ConfigurationError as error:
            assert "file.yaml" in error.message
            assert "\n" not in error.message
            assert error.hint
        else:
            _check(value)


def _check(value: object) -> None:
    """Hold a value to the kinds that are promised."""
    if isinstance(value, list):
        for item in value:
            _check(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            _check(key)
            _check(item)
    elif isinstance(value, float):
        assert math.isfinite(value)
    elif isinstance(value, int):
        assert -(1 << 63) <= value < 1 << 63
    elif isinstance(value, str):
        value.encode()
    else:
        assert value is None


@pytest.mark.parametrize("tag", _TAGS[:-1])
def test_no_tag_makes_a_value_of_a_body_that_is_not_its(tag: str) -> None:
    for body in (*_BODIES, "abc", "[1]", "{a: 1}"):
        try:
            _check(_parse(f"a: 1\nb: {tag} {body}"))
        except ConfigurationError as error:
            assert "line 2" in error.message, body


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 9223372036854775808", "line 2: '9223372036854775808' does not fit into 64 bits"),
        ("a: .inf", "line 1: '.inf' is not a finite number"),
        ("a: 1.0e+999", "line 1: '1.0e+999' is not a finite number"),
        ("mac: 11:22:33", "number of base 60"),
        ("a: 2026-07-01 10:00:00", "is a time"),
        ("a: !!python/tuple [1]", "the tag !!python/tuple is not read"),
        ("a: 1\na: 2", "line 2: 'a' is given twice"),
        ("? [1]\n: 2", "a key is a list"),
        ("a: &x [*x]", "has no anchor before it"),
        ("<<: {a: 1}", "merge keys"),
        ("a: 1\n---\nb: 2", "second document"),
        ("[" * 40, "nested more than 32 deep"),
    ],
)
def test_what_is_refused_says_the_line_and_what_to_do(text: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        _parse(text)
    assert words in error.value.message
    assert error.value.hint


def test_plain_values() -> None:
    assert _parse(
        "a: 010\nb: 0x1F\nc: 1_000\nd: yes\ne: ~\nf: 2026-07-01\ng: !!float 1\nh: 1.5e+3\ni: -0b11\nj: *k".replace(
            "\nj: *k", ""
        )
    ) == {
        "a": 8,
        "b": 31,
        "c": 1000,
        "d": True,
        "e": None,
        "f": "2026-07-01",
        "g": 1.0,
        "h": 1500.0,
        "i": -3,
    }
    assert _parse("!!python/tuple [1, !!python/tuple [2]]", tuples=True) == [1, [2]]
    assert _parse("") is None


def test_aliases_count_what_they_stand_for() -> None:
    assert _parse("a: &x [1, 2]\nb: *x") == {"a": [1, 2], "b": [1, 2]}
    laughs = "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))
    with pytest.raises(ConfigurationError, match=f"more than {MAX_VALUES} values"):
        _parse(laughs)


def test_a_file_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(ConfigurationError, match="larger than"):
        read_yaml(path, ConfigurationError, "a hint")
    with pytest.raises(ConfigurationError, match="cannot read"):
        read_yaml(tmp_path / "absent.yaml", ConfigurationError, "a hint")
