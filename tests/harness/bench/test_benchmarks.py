"""Each benchmark works, in small, and compares what is the same. No figure is looked at: this machine is not quiet."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.bench.catalog import BENCHMARKS, Measured, find_benchmarks, measure
from harness.bench.measuring import Goal, Plan, Row
from harness.bench.programs import bare, run
from harness.bench.table import SCHEMA, bench_document, bench_page, describe_machine, former_benchmarks
from harness.cli import execute as run_cli
from harness.cli import mww
from mww.core.errors import BenchmarkError, InputError, MissingPackageError, UsageError

ROW = Row("ours", "theirs", "s", (1.0, 4.0, 2.0), (2.0, 4.0, 8.0), "ratio", Goal("at most", 0.5), "nothing")


@pytest.mark.parametrize("name", BENCHMARKS)
@pytest.mark.slow
def test_each_measures_something_positive_against_something_that_does_the_same(name: str) -> None:
    results: list[str] = []
    measured = measure(BENCHMARKS[name], quick=True, report=results.append)
    assert measured.problem is None
    assert measured.rows
    for row in measured.rows:
        assert len(row.own) == 1
        assert len(row.reference) == (0 if row.comparison == "value" else 1)
        assert all(value > 0 for value in (*row.own, *row.reference))
        assert row.same
    document = bench_document([measured], describe_machine(), quick=True)
    assert name in bench_page(json.loads(json.dumps(document)))


def test_the_figure_is_the_median_of_the_repetitions_ratios() -> None:
    assert ROW.figures == (0.5, 1.0, 0.25)
    assert ROW.figure == 0.5
    assert ROW.holds
    assert ROW.undisturbed == 0.5


def test_both_sides_take_turns(tmp_path: Path) -> None:
    done: list[str] = []
    Plan(3, False, tmp_path, lambda what: None).by_turns(lambda: done.append("A"), lambda: done.append("B"))
    assert done == list("ABABAB")


def test_a_side_that_fails_is_an_error_with_its_last_words() -> None:
    with pytest.raises(BenchmarkError) as caught:
        run(bare("tflm_loop", "absent.tflite", "absent.npz"))
    assert "absent.tflite" in str(caught.value.hint)


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError):
        find_benchmarks(["swiftness"])


def test_the_verb_prints_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(mww, ["bench", "--quick", "worker", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == SCHEMA
    assert [item["name"] for item in document["benchmarks"]] == ["worker"]


def test_a_benchmark_that_cannot_be_measured_is_told_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = MissingPackageError("the published models are not here", hint="get them")

    def missing() -> Path:
        raise absent

    monkeypatch.setattr("harness.bench.smaller.published_models", missing)
    assert run_cli(mww, ["bench", "--quick", "smaller", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["schema"] == "mww.error/1"
    assert run_cli(mww, ["bench", "--quick", "smaller", "worker", "--json"]) == 2
    first, second = json.loads(capsys.readouterr().out)["benchmarks"]
    assert first["error"]["code"] == absent.code
    assert second["rows"]


def test_figures_that_mean_nothing_are_not_written(tmp_path: Path) -> None:
    assert run_cli(mww, ["bench", "--quick", "--write", str(tmp_path / "page.md")]) == 2
    assert not list(tmp_path.iterdir())


def test_a_goal_that_is_missed_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    missed = Row("ours", "theirs", "s", (1.0,), (1.0,), "ratio", Goal("at most", 0.5), "nothing")
    measured = Measured(BENCHMARKS["emulator"], (ROW, missed), 1.0, 0.5)
    document = bench_document([measured], describe_machine(), quick=False)
    assert document["holds"] is False
    assert "**does not hold**" in bench_page(json.loads(json.dumps(document)))


def test_what_is_not_measured_again_stays_in_the_order_of_the_catalogue(tmp_path: Path) -> None:
    machine, path = describe_machine(), tmp_path / "bench.json"
    older = [Measured(BENCHMARKS[name], (ROW,), 1.0, 0.5) for name in ("start", "emulator")]
    path.write_text(json.dumps({"schema": SCHEMA, **bench_document(older, machine, quick=False)}))
    newer = [Measured(BENCHMARKS["emulator"], (ROW,), 2.0, 0.5)]
    document = bench_document(newer, machine, quick=False, former=former_benchmarks(path, machine))
    assert [(item["name"], item["seconds"]) for item in document["benchmarks"]] == [("emulator", 2.0), ("start", 1.0)]


def test_figures_of_another_machine_are_not_mixed_in(tmp_path: Path) -> None:
    machine, path = describe_machine(), tmp_path / "bench.json"
    document = bench_document([], replace(machine, cores=machine.cores + 1), quick=False)
    path.write_text(json.dumps({"schema": SCHEMA, **document}))
    with pytest.raises(InputError):
        former_benchmarks(path, machine)
    assert former_benchmarks(tmp_path / "absent.json", machine) == ()


def test_the_page_in_the_docs_is_that_of_the_figures_beside_it() -> None:
    docs = Path(__file__).parents[3] / "docs"
    document = json.loads((docs / "benchmarks.json").read_bytes())
    assert (docs / "benchmarks.md").read_text() == bench_page(document)
