"""The model partition: what is written is found, what is damaged is left out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.link.model_table import SECTOR_SIZE, ModelRecord, partition_image
from mww.core.errors import ModelPartitionError
from tests.support.partition import read_partition

records = st.builds(ModelRecord, st.binary(min_size=1, max_size=3 * SECTOR_SIZE), st.integers(0, 2**32 - 1))


@given(st.lists(st.none() | records, max_size=4))
def test_a_partition_holds_what_was_put_in(models: list[ModelRecord | None]) -> None:
    image = partition_image(models, 1 << 20)
    assert len(image) % SECTOR_SIZE == 0
    assert read_partition(image) == (*models, *[None] * (4 - len(models)))


def test_a_damaged_model_is_left_out_and_the_other_stays() -> None:
    first, second = ModelRecord(b"first", 1), ModelRecord(b"second", 2)
    image = bytearray(partition_image([first, second], 1 << 20))
    image[2 * SECTOR_SIZE] ^= 1
    assert read_partition(bytes(image)) == (None, second, None, None)


@given(st.binary(max_size=300))
def test_no_table_means_no_models(noise: bytes) -> None:
    assert read_partition(noise) == (None,) * 4


def test_models_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ModelPartitionError, match="bytes of a partition of 8192"):
        partition_image([ModelRecord(b"x", 0)], 2 * SECTOR_SIZE)
    with pytest.raises(ModelPartitionError, match="4 slots"):
        partition_image([ModelRecord(b"x", 0)] * 5, 1 << 20)
