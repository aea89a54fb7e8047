"""Parsed values are taken by their type; a wrong one is named by its file and key, with what to do."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mww.core.errors import CalibrationError, InputError
from mww.core.fields import Fields

_FAULTS: list[tuple[Any, Callable[[Fields], object], str]] = [
    ([], lambda it: it, "x.yaml must be an object (keys with values), not []"),
    (None, lambda it: it, "x.yaml must be an object (keys with values), but is empty"),
    ({3: 1}, lambda it: it, "x.yaml has the key 3, which is not text"),
    ({"a": {"b": 1}}, lambda it: it.fields("a").text("b"), "x.yaml: a.b must be text, not 1"),
    ({"a": {}}, lambda it: it.fields("a").text("b"), "x.yaml: a.b must be text, but is missing"),
    ({"a": [{}, 3]}, lambda it: list(it.items("a")), "x.yaml: a[1] must be an object (keys with values), not 3"),
    (
        {"a": [3]},
        lambda it: list(it.items("a", "board")),
        "x.yaml: board 1 must be an object (keys with values), not 3",
    ),
    ({"a": [{}]}, lambda it: next(it.items("a", "board")).flag("b"), "x.yaml: board 1: b must be true or false, "),
    ({"a": [{}, {}]}, lambda it: list(it.items("a", most=1)), "x.yaml: a must be a list of at most 1 entries, not ["),
    ({"a": "xyz"}, lambda it: it.text("a", longest=2), "x.yaml: a must be text of at most 2 characters, not 'xyz'"),
    ({"a": "d"}, lambda it: it.one_of("a", ("b", "c", "e")), "x.yaml: a must be b, c or e, not 'd'"),
    ({"a": True}, lambda it: it.whole("a"), "x.yaml: a must be a whole number, not True"),
    ({"a": 1 << 63}, lambda it: it.whole("a"), "x.yaml: a must be a whole number, not 9223372036854775808"),
    ({"a": 0}, lambda it: it.whole("a", 1), "x.yaml: a must be a whole number of at least 1, not 0"),
    ({"a": 9}, lambda it: it.whole("a", 1, 8), "x.yaml: a must be a whole number from 1 to 8, not 9"),
    ({"a": math.nan}, lambda it: it.number("a"), "x.yaml: a must be a number, not nan"),
    ({"a": 10**400}, lambda it: it.number("a"), "x.yaml: a must be a number, not 1000"),
    ({"a": 2}, lambda it: it.number("a", 0, 1.5), "x.yaml: a must be a number from 0 to 1.5, not 2"),
    ({"a": ["b", ""]}, lambda it: it.words("a", hint="h"), "x.yaml: a must be a list of words, not ['b', '']"),
    ({"a": 1, "b": ""}, lambda it: it.only(("a", "b", "c"), required=("a", "b", "c")), "x.yaml has no b, no c"),
    ({"nmae": 1}, lambda it: it.only(("name", "chip")), "x.yaml has the unknown key 'nmae'"),
    ({"a": 1}, lambda it: it.refuse("a", "larger"), "x.yaml: a must be larger, not 1"),
]


@pytest.mark.parametrize(("value", "read", "message"), _FAULTS, ids=[message for _, _, message in _FAULTS])
def test_a_fault_is_named_by_its_file_and_key(value: object, read: Callable[[Fields], object], message: str) -> None:
    with pytest.raises(CalibrationError) as caught:
        read(Fields("x.yaml", value, hint="make another", error=CalibrationError))
    assert caught.value.message.startswith(message)
    assert caught.value.hint


def test_an_unknown_key_gets_the_nearest_or_all_known_keys() -> None:
    for key, hint in (("nmae", "did you mean name?"), ("x", "known keys: name, chip")):
        with pytest.raises(InputError) as caught:
            Fields("x.yaml", {key: 1}, hint="make another").only(("name", "chip"))
        assert caught.value.hint == hint


def test_how_to_write_a_value_is_no_hint_where_it_is_missing() -> None:
    for value, hint in ((3, "put it in quotes"), (None, "make another")):
        with pytest.raises(InputError) as caught:
            Fields("x.yaml", {"a": value}, hint="make another").text("a", hint="put it in quotes")
        assert caught.value.hint == hint


@pytest.mark.parametrize("content", ["", "{", '{"a": NaN}', "[" * 100_000, "[]", "{}" + " " * 100_000])
def test_a_file_that_is_not_one_json_object_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"x\.json(:| is not readable JSON| must be an object)"):
        Fields.read(path, hint="make another", most_bytes=2048)
    with pytest.raises(InputError, match="cannot read"):
        Fields.read(tmp_path / "absent.json", hint="make another", most_bytes=2048)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["a", "b"]), _JSON))
def test_a_value_is_taken_as_it_is_or_refused(values: dict[str, object]) -> None:
    fields = Fields.parse(json.dumps(values), "x.json", hint="make another")
    readers = (fields.text, fields.whole, fields.number, fields.flag, lambda key: list(fields.items(key)))
    for key, given_value in values.items():
        for reader in readers:
            try:
                value = reader(key)
            except InputError as error:
                assert error.message.startswith("x.json: ")
            else:
                assert len(value) == len(given_value) if isinstance(value, list) else value == given_value  # type: ignore[arg-type]
