from __future__ import annotations

import pytest

from benchmarks.reliability.devices import try_preludes
from benchmarks.reliability.faults import FAULTS, try_deaths, try_faults, try_renaming


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.slow
def test_a_fault_costs_no_more_than_the_clip_that_it_hits(kind: str) -> None:
    assert [lost for lost in try_faults(kind, 1, seed=7) if lost] == []


@pytest.mark.slow
def test_a_board_that_comes_back_under_another_name_goes_on() -> None:
    assert [lost for lost in try_renaming(1, seed=7) if lost] == []


def test_a_board_that_dies_is_done_without() -> None:
    assert [lost for lost in try_deaths(1, seed=7) if lost] == []


def test_garbage_before_the_first_frame_is_passed_over() -> None:
    assert [lost for lost in try_preludes(5, seed=7) if lost] == []
