"""Errors carry facts: they do not change, they travel, and each has a hint."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mww.core.errors import DeviceError, ErrorFacts, LinkError, MwwError, RebootedError, UnhintedError


class _CaughtError(UnhintedError):
    """Always caught by the caller."""

    code = "caught"


@given(st.text(), st.text(), st.text(), st.none() | st.integers(0, 2**31))
def test_facts_survive_json(code: str, message: str, hint: str, inference: int | None) -> None:
    facts = ErrorFacts(code, message, hint, inference)
    assert ErrorFacts.from_json(facts.to_json()) == facts


def test_an_error_without_a_hint_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="needs a hint"):
        RebootedError("the board rebooted", hint="")
    assert _CaughtError("nobody reads it").facts == ErrorFacts("caught", "nobody reads it")


def test_another_error_is_made_and_the_first_stays() -> None:
    first = DeviceError("the interpreter failed", slug="inference-failed", detail=7, hint="look at its log")
    second = first.at_inference(12).with_hint("reset it")
    assert (first.inference, first.hint, str(first)) == (None, "look at its log", "the interpreter failed")
    assert isinstance(second, DeviceError)
    assert (second.detail, second.facts) == (
        7,
        ErrorFacts("inference-failed", "the interpreter failed", "reset it", 12),
    )
    assert str(second.with_message("it failed")) == "it failed at inference 12"


def test_errors_travel_between_processes() -> None:
    sent = DeviceError("refused", slug="no-model", detail=3, hint="flash a model").at_inference(4)
    received = pickle.loads(pickle.dumps(sent))
    assert (type(received), received.facts, received.code) == (DeviceError, sent.facts, "no-model")
    assert received.detail == sent.detail


def test_the_error_of_another_process_keeps_its_code() -> None:
    facts = ErrorFacts("hung", "it stopped", "reset it", 3)
    error: MwwError = LinkError.from_facts(facts)
    assert (type(error), error.code, error.facts) == (LinkError, "hung", facts)
