"""Files that nobody vouches for: any bytes give values inside the file or one error."""

from __future__ import annotations

import struct

import flatbuffers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mww.tflite.flatbuffer import Buffer, MalformedError, Table


def written(number: int, text: str, values: list[int]) -> bytes:
    """A table of an int32, a string and a vector of int32, by the flatbuffers library."""
    builder = flatbuffers.Builder(64)
    string = builder.CreateString(text)
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        builder.PrependInt32(value)
    vector = builder.EndVector()
    builder.StartObject(3)
    builder.PrependInt32Slot(0, number, 0)
    builder.PrependUOffsetTRelativeSlot(1, string, 0)
    builder.PrependUOffsetTRelativeSlot(2, vector, 0)
    builder.Finish(builder.EndObject())
    return bytes(builder.Output())


int32 = st.integers(-(2**31), 2**31 - 1)


@given(int32, st.text(), st.lists(int32))
def test_what_the_library_writes_is_read_back(number: int, text: str, values: list[int]) -> None:
    table = Buffer(written(number, text, values)).root()
    assert table.int32(0) == number
    assert table.string(1) == text
    assert table.array(2, "<i4").tolist() == values
    assert table.int32(3, 7) == 7


def walk(table: Table, depth: int = 3) -> int:
    """Read every field as everything, as deep as the schema of a model goes."""
    seen = 0
    for number in range(4):
        for read in (table.int8, table.int32, table.uint64, table.string, table.span, table.has, table.boolean):
            try:
                read(number)
            except MalformedError:
                continue
            seen += 1
        try:
            seen += len(table.array(number, "<i8"))
            if depth:
                seen += sum(walk(child, depth - 1) for child in table.tables(number))
        except MalformedError:
            continue
    return seen


@given(st.binary(max_size=200), st.data())
def test_any_bytes_end_in_values_or_one_error(noise: bytes, data: st.DataObject) -> None:
    content = bytearray(written(1, "name", [1, 2, 3]) + noise)
    for _ in range(data.draw(st.integers(0, 6))):
        position = data.draw(st.integers(0, len(content) - 4))
        content[position : position + 4] = struct.pack("<I", data.draw(st.sampled_from([0, 1, 4, 2**31, 2**32 - 1])))
    try:
        walk(Buffer(bytes(content)).root())
    except MalformedError as error:
        assert str(error)


def test_a_vector_that_many_tables_share_is_paid_for_by_each() -> None:
    values = list(range(400))
    buffer = Buffer(written(0, "", values))
    root = buffer.root()
    with pytest.raises(MalformedError, match="more elements"):
        for _ in range(1000):
            root.array(2, "<i4")


def test_a_table_that_is_visited_without_end_runs_out() -> None:
    buffer = Buffer(written(0, "", []))
    with pytest.raises(MalformedError, match="more tables"):
        for _ in range(10_000):
            buffer.root()


@pytest.mark.parametrize("content", [b"", b"\0", b"\xff\xff\xff\xff", b"\4\0\0\0\0\0\0\x80", b"\0\0\0\0"])
def test_a_root_outside_the_file(content: bytes) -> None:
    with pytest.raises(MalformedError):
        Buffer(content).root()
