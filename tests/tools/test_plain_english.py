from __future__ import annotations

from tools.plain_english import findings, names_in, phrases_in


def test_the_tree_is_free_of_the_worst_habits() -> None:
    assert list(findings()) == []


def test_what_is_refused() -> None:
    assert list(phrases_in("A\nNone where there is none.\n")) == [
        "2: 'there is none': write it does not exist; without one"
    ]
    assert list(names_in("def f():\n    found = 1\n")) == ["2: the name 'found': call it result, match, entry"]
    assert list(names_in("class A:\n    found: int\n")) == []
