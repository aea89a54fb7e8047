"""What a matrix makes of its findings: what changed, what is lost, and whether it holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.matrix.findings import Finding, changes, holds


def column(*answers: bool | None, chip: str = "esp32s3") -> list[Finding]:
    """A finding a row, of one model and chip; what is said goes with the answer."""
    return [Finding("nabu", row, chip, "arena", held, str(held), str(held)) for row, held in enumerate(answers)]


@pytest.mark.parametrize(
    "answers, verdict",
    [
        ((), True),
        ((True, True), True),
        ((False, True), True),  # repaired
        ((True, False), False),
        ((True, False, True), False),  # lost on the way
        ((False, False), False),  # never held
        ((None, None), True),  # nothing to hold
        ((True, None, False), False),
    ],
)
def test_a_matrix_holds_where_nothing_is_lost_and_everything_holds_in_the_end(
    answers: tuple[bool | None, ...], verdict: bool
) -> None:
    assert holds(column(*answers)) == verdict


@given(st.lists(st.booleans(), min_size=1))
def test_the_verdict_is_that_of_the_worst_column(answers: list[bool]) -> None:
    good = column(*(True for _ in answers), chip="esp32")
    assert holds([*column(*answers), *good]) == holds(column(*answers))
    lost = [change for change in changes(column(*answers)) if change.lost]
    assert holds(column(*answers)) == (not lost and answers[-1])


def test_a_change_names_both_rows_and_what_became_of_it() -> None:
    result = changes(column(True, True, False, True))
    assert [(item.before.row, item.after.row, item.lost, item.regained) for item in result] == [
        (1, 2, True, False),
        (2, 3, False, True),
    ]


def test_a_figure_that_moved_is_a_change_and_no_loss() -> None:
    before, after = column(True, True)
    moved = Finding(after.model, after.row, after.chip, "arena", True, "30,112", "30112")
    (change,) = changes([before, moved])
    assert not change.lost
    assert not change.regained
