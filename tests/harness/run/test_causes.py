"""A planted fault is not only found, but named: with it, the golden engine gives the same wrong outputs."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.check import check
from harness.run.results import Problem, RunResult
from harness.virtual.process import VirtualBoard

FIRST = 93  # inferences of the first clip, with a second of lead-in


def _run(models: Path, clips: Path, fault: str) -> RunResult:
    with VirtualBoard(faults=(fault,)) as board:
        return check(models / "okay_nabu.json", clips / "okay_nabu", target=board.port, lead_in=1.0)


def _only(result: RunResult) -> Problem:
    assert result.verdict == "fail"
    (problem,) = result.problems
    return problem


def test_a_reset_that_does_not_reset(models: Path, clips: Path) -> None:
    result = _run(models, clips, "noreset")
    problem = _only(result)
    assert problem.code == "reset"
    assert "does not restore the streaming state" in problem.message
    assert problem.clips == tuple(clip.name for clip in result.clips[1:] if clip.status == "fail") != ()
    assert result.clips[0].status == "pass"


def test_slices_that_are_exchanged(models: Path, clips: Path) -> None:
    result = _run(models, clips, f"swap={FIRST + 55}")
    problem = _only(result)
    assert result.clips[0].inferences == FIRST
    assert (problem.code, problem.clips) == ("slice-order", (result.clips[1].name,))
    assert "frame 55 " in problem.message


def test_an_output_that_is_damaged(models: Path, clips: Path) -> None:
    result = _run(models, clips, f"wrong={FIRST + 12}")
    problem = _only(result)
    largest = result.clips[1].max_abs_difference
    assert (problem.code, problem.inference) == ("output" if largest and largest > 1 else "rounding", 12)


def test_a_kernel_that_rounds_otherwise(models: Path, clips: Path) -> None:
    result = _run(models, clips, "round=30")
    problem = _only(result)
    assert (problem.code, problem.inference, len(problem.clips)) == ("rounding", 29, 3)
    assert result.proposed_allowance is not None
    assert sorted(result.proposed_allowance.clips.values()) == [2, 3, 3]


@pytest.mark.parametrize("operator", ["CONV_2D", "ASSIGN_VARIABLE"])
def test_a_wrong_kernel(models: Path, clips: Path, operator: str) -> None:
    problem = _only(_run(models, clips, f"kernel={operator}"))
    assert problem.code == "arithmetic"
    assert problem.message.startswith(f"{operator}, operator ")
    assert f"mww bisect {models / 'okay_nabu.json'} --wav {clips}" in str(problem.hint)


def test_without_a_search_a_wrong_kernel_gives_the_line_that_finds_it(models: Path, clips: Path) -> None:
    with VirtualBoard(faults=("kernel=LOGISTIC",)) as board:
        result = check(models / "okay_nabu.json", clips / "okay_nabu", target=board.port, lead_in=1.0, bisect=False)
    problem = _only(result)
    assert (problem.code, "LOGISTIC" in problem.message) == ("arithmetic", False)
    assert str(problem.hint).endswith(f"--lead-in 1 --target {board.port}")


def test_a_rule_that_detects_otherwise(models: Path, clips: Path) -> None:
    problem = _only(_run(models, clips, "detect=40"))
    assert (problem.code, problem.inference, len(problem.clips)) == ("detection", 39, 3)


def test_a_wrong_arena(models: Path, clips: Path) -> None:
    problem = _only(_run(models, clips, "arena=5000"))
    assert (problem.code, problem.clips) == ("arena", ())
    assert "its manifest says 37000, and 34508 are predicted" in problem.message
