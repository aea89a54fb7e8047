"""Two runs are equal when the same came out, whatever they ran on; a run.json is anybody's file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.cli import execute as run_cli
from harness.cli import mww
from harness.report.bundle import write_report
from harness.report.run_document import read_runs, run_document
from harness.run.results import RunResult
from mww.core.errors import InputError
from tests.support.run_results import altered, clip, mixed_run, run, speech


def _write(path: Path, *results: RunResult) -> str:
    path.write_text(json.dumps(run_document(results)))
    return str(path)


def test_a_new_library_with_the_same_outputs_is_no_difference(
    tmp_path: Path, mixed: RunResult, capsys: pytest.CaptureFixture[str]
) -> None:
    newer = replace(mixed, target=replace(mixed.target, versions=(("esphome", "2026.7.0"), ("esp-nn", "1.1.2"))))
    a, b = _write(tmp_path / "a.json", mixed), _write(tmp_path / "b.json", newer)
    assert run_cli(mww, ["compare-runs", a, b, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["equal"]) == ("mww.compare-runs/1", True)
    (only,) = document["runs"][0]["conditions"]
    assert only == {"what": "versions.esphome", "a": "2026.6.5", "b": "2026.7.0"}


def test_every_kind_of_difference_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = speech(6, 2.0, 4.5)
    before = run([clip("same", outputs, outputs), clip("moved", outputs, outputs), clip("gone", outputs, outputs)])
    moved = clip("moved", altered(outputs, *range(60, 80)), outputs)
    moved = replace(moved, detections=moved.detections[:1])
    assert before.arena is not None
    after = replace(
        run([clip("same", outputs, outputs), moved, clip("new", outputs, outputs)]),
        arena=replace(before.arena, used=23_000),
    )
    a, b = write_report(tmp_path / "a", [before]), _write(tmp_path / "b.json", after)
    assert run_cli(mww, ["compare-runs", str(a.parent), b, "--json"]) == 1
    (result,) = json.loads(capsys.readouterr().out)["runs"]
    assert {change["what"] for change in result["results"]} == {"verdict", "arena.used"}
    clips = {entry["name"]: {change["what"] for change in entry["changes"]} for entry in result["clips"]}
    assert set(clips) == {"moved", "gone", "new"}
    assert {"status", "outputs_sha256", "mismatches", "detections"} <= clips["moved"]
    assert run_cli(mww, ["compare-runs", str(a), b]) == 1
    text = capsys.readouterr().out
    assert "okay_nabu: different" in text and "arena.used: 22704 -> 23000" in text and "clip: pass -> nothing" in text


def test_sets_are_compared_model_by_model(tmp_path: Path, passing: RunResult, mixed: RunResult) -> None:
    other = replace(mixed, model="alexa", model_sha256="77" * 32)
    both, swapped = _write(tmp_path / "a.json", passing, other), _write(tmp_path / "b.json", other, passing)
    assert run_cli(mww, ["compare-runs", both, swapped]) == 0
    assert run_cli(mww, ["compare-runs", both, _write(tmp_path / "c.json", passing)]) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not readable JSON"),
        ("[" * 100_000, "not readable JSON"),
        ('{"schema": NaN}', "not readable JSON"),
        ("[]", "must be an object"),
        ('{"schema": "mww.error/1"}', "schema must be mww.run/1 or mww.run-set/1, not 'mww.error/1'"),
        ('{"schema": "mww.run/1", "target": 3}', "target must be an object (keys with values), not 3"),
        ('{"schema": "mww.run-set/1", "runs": {}}', "runs must be a list, not {}"),
    ],
)
def test_what_is_no_run_is_refused_by_its_place(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        read_runs(path)
    assert message in caught.value.message


_DOCUMENT = json.loads(json.dumps(run_document([mixed_run()])))
_PLACES = [
    "clips",
    "target",
    "versions",
    "arena",
    "detections",
    "evaluation",
    "at",
    "latency_us",
    "name",
    "used",
    "p50",
]
_junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(_PLACES), inner, max_size=2),
    max_leaves=4,
)


def _spoil(document: object, key: str, junk: object) -> object:
    if isinstance(document, dict):
        return {name: junk if name == key else _spoil(value, key, junk) for name, value in document.items()}
    return [_spoil(value, key, junk) for value in document] if isinstance(document, list) else document


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from([*_PLACES, "schema", "model_sha256", "inference", "time_s", "status"]), junk=_junk)
def test_a_spoilt_run_is_read_or_refused_and_nothing_else(tmp_path: Path, key: str, junk: object) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps(_spoil(_DOCUMENT, key, junk)))
    try:
        assert len(read_runs(path)) <= 1
    except InputError as error:
        assert "run.json" in error.message


def test_allowances_are_a_condition(tmp_path: Path, mixed: RunResult, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = _write(tmp_path / "a.json", replace(mixed, allowances=None)), _write(tmp_path / "b.json", mixed)
    assert run_cli(mww, ["compare-runs", a, b, "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)["runs"]
    assert result["conditions"] == [{"what": "allowances", "a": None, "b": "1 lapsed"}]
