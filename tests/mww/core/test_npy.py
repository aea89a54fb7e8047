"""A header of a `.npy` array is that of numbers, as numpy writes it, or a ValueError; nothing else comes of it."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mww.core.npy import read_npy_header
from tests.support.examples import examples

KEYS = st.one_of(st.sampled_from(["descr", "fortran_order", "shape"]), st.text(max_size=5), st.integers(), st.none())
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers(2**62, 2**80),
        st.floats(),
        st.text(max_size=8),
        st.sampled_from(["<f4", "|u1", "|V0", "<U0", "|O", ">i8", "<f0", "<i99", "|S0"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.tuples(inner, inner), st.dictionaries(KEYS, inner, max_size=3)
    ),
    max_leaves=8,
)


def header(text: str, version: tuple[int, int] = (1, 0)) -> bytes:
    """A header as the format has it."""
    content = text.encode("utf-8", "replace")
    length = struct.pack("<H" if version == (1, 0) else "<I", len(content))
    return b"\x93NUMPY" + bytes(version) + length + content


@given(dtype=st.one_of(hnp.integer_dtypes(), hnp.floating_dtypes(), hnp.boolean_dtypes()), data=st.data())
def test_what_numpy_writes_is_read(dtype: np.dtype[np.generic], data: st.DataObject) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4))
    array = np.zeros(shape, dtype, order=data.draw(st.sampled_from(["C", "F"])))
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array)
    stream.seek(0)
    read = read_npy_header(stream)
    assert (read.dtype, read.shape, read.size) == (array.dtype, array.shape, array.nbytes)
    assert stream.tell() + array.nbytes == len(stream.getvalue())


@given(descr=VALUES, order=VALUES, shape=VALUES)
@example(descr="<f4", order=False, shape=(True,))
@example(descr="<f4", order=False, shape=(2**63,))
@example(descr="<f4", order=False, shape=(2**40, 2**40))
@example(descr=("<f4", (2,)), order=False, shape=(1,))
@example(descr=[("a", "<f4")], order=False, shape=(1,))
@example(descr="<f4", order=0, shape=(1,))
def test_values_of_any_type_are_numbers_of_a_bounded_size_or_refused(
    descr: object, order: object, shape: object
) -> None:
    check(header(repr({"descr": descr, "fortran_order": order, "shape": shape})))


@settings(max_examples=examples(60))
@given(
    st.one_of(
        st.binary(max_size=64),
        VALUES.map(lambda value: header(repr(value))),
        st.text(max_size=60).map(header),
        st.text("([{,}]):'\"0", max_size=200).map(lambda text: header(text, (3, 0))),
    )
)
@example(header("(" * 9000))
@example(header("{" + "9" * 5000 + ": 1}"))
@example(header("{[]: 1}"))
@example(header(" " * 20_000))
@example(b"\x93NUMPY\x02\x00\xff\xff\xff\xff")
def test_anything_else_is_refused(content: bytes) -> None:
    check(content)


def check(content: bytes) -> None:
    try:
        read = read_npy_header(io.BytesIO(content))
    except ValueError as error:
        assert len(str(error)) < 120
        return
    assert read.dtype.kind in "biuf"
    assert read.dtype.itemsize > 0
    assert 0 <= read.size < 2**63


def test_python_objects_are_never_numbers() -> None:
    with pytest.raises(ValueError, match="not numbers"):
        read_npy_header(io.BytesIO(header("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}")))
