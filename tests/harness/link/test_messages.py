"""The registry: every message survives the wire, nothing malformed does, and what is generated from it is current."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.link.declaration import Fixed, Kind, Message, Records, Scalar, Sender, TextKind, messages
from harness.link.messages import Hello, Outputs, Sample
from mww.core.errors import WireFormatError
from tools.wire.__main__ import generated_files

CHECKOUT = Path(__file__).parents[3]


def values(kind: Kind) -> st.SearchStrategy[object]:
    if isinstance(kind, Scalar):
        if kind.letter == "f":
            return st.floats(width=32, allow_nan=False)
        bits = 8 * kind.size
        low = -(1 << (bits - 1)) if kind.letter.islower() and kind.name[0] == "i" else 0
        return st.integers(low, low + (1 << bits) - 1)
    if isinstance(kind, Fixed):
        return st.binary(min_size=kind.size, max_size=kind.size)
    if isinstance(kind, TextKind):
        return st.text("az09 é€\n", max_size=60)
    unit = kind.row.fixed_size() if isinstance(kind, Records) else 1
    return st.integers(0, 20).flatmap(lambda rows: st.binary(min_size=rows * unit, max_size=rows * unit))


def any_message() -> st.SearchStrategy[Message]:
    kinds = st.sampled_from(list(messages().values()))
    return kinds.flatmap(lambda kind: st.builds(kind, *(values(field.kind) for field in kind.layout)))


@given(any_message())
def test_every_message_decodes_to_what_was_encoded(message: Message) -> None:
    assert type(message).decode(message.encode()) == message


@given(st.sampled_from(list(messages().values())), st.binary(max_size=120))
def test_bytes_are_refused_or_mean_one_message(kind: type[Message], payload: bytes) -> None:
    try:
        message = kind.decode(payload)
    except WireFormatError:
        return
    assert type(message) is kind


def test_a_message_cut_short_or_too_long_is_refused() -> None:
    payload = Hello(1, 1, 7).encode()
    for wrong in (payload[:-1], payload + b"\0"):
        with pytest.raises(WireFormatError):
            Hello.decode(wrong)
    with pytest.raises(WireFormatError, match="within a Sample"):
        Outputs.decode(Outputs(0, 0, b"").encode() + bytes(Sample.fixed_size() - 1))


def test_a_value_that_no_field_holds_is_refused() -> None:
    with pytest.raises(WireFormatError, match="Hello"):
        Hello(256, 1, 0).encode()


def test_every_request_names_an_answer_of_the_device() -> None:
    answers = {item.__name__ for item in messages().values() if item.sender is Sender.DEVICE}
    requests = [item for item in messages().values() if item.sender is Sender.HOST]
    assert requests
    assert all(item.reply in answers for item in requests)


@pytest.mark.parametrize("path", generated_files(CHECKOUT / "firmware"), ids=lambda path: path.name)
def test_generated_files_are_current(path: Path) -> None:
    expected = generated_files(CHECKOUT / "firmware")[path]
    assert path.read_text(encoding="utf-8") == expected, "run python -m tools.wire"
