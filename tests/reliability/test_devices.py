from __future__ import annotations

import pytest

from benchmarks.reliability.devices import LIES, STRANGERS, try_lies, try_strangers


@pytest.mark.parametrize("name", LIES)
@pytest.mark.slow
def test_a_board_that_lies_ends_in_a_result_or_one_error(name: str) -> None:
    assert [lost for lost in try_lies(name, 2, seed=7) if lost] == []


@pytest.mark.parametrize("name", STRANGERS)
def test_what_is_no_board_is_one_error_in_time(name: str) -> None:
    assert try_strangers(name) is None
