"""A board whose kernels round differently: it fails, is accepted for a reason, passes, and fails again after a bump."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner, Result

from harness.cli.run import command
from harness.run.allowances import DEFAULT_NAME, read_allowances
from harness.virtual.process import VirtualBoard

SCHEMA = json.loads((Path(__file__).parents[3] / "docs/reference/run.schema.json").read_text())


@pytest.fixture(scope="module")
def board() -> Iterator[VirtualBoard]:
    with VirtualBoard(faults=("round=30",)) as board:
        yield board


@pytest.fixture
def mww_run(board: VirtualBoard, models: Path, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clips").symlink_to(clips / "okay_nabu" / "positive")

    def run(*more: str) -> Result:
        words = [str(models / "okay_nabu.json"), "--wav", "clips", "--lead-in", "1", "--target", board.port, *more]
        return CliRunner().invoke(command, words, standalone_mode=False)

    return run


def _document(result: Result) -> dict:
    document = json.loads(result.stdout)
    jsonschema.validate(document, SCHEMA)
    return document


def test_from_the_first_failure_to_the_next_version(mww_run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    first = _document(mww_run("--json"))
    assert (first["verdict"], first["allowances"]) == ("fail", None)
    assert first["proposed_allowance"]["max_difference"] == 1

    accepted = mww_run("--write-allowance", DEFAULT_NAME, "--reason", "rounds half up", "--by", "jane")
    assert accepted.return_value == 1  # this run was judged without it
    assert "+  reason: rounds half up" in accepted.stdout
    (written,) = read_allowances(tmp_path / DEFAULT_NAME).allowances
    assert (written.by, written.chip, sum(written.clips.values())) == ("jane", "esp32s3", 8)
    assert {key: first["proposed_allowance"][key] for key in ("clips", "versions")} == {
        "clips": written.clips,
        "versions": written.versions,
    }

    second = _document(mww_run("--json", "--report", "out"))
    assert (second["verdict"], second["proposed_allowance"], second["problems"]) == ("pass", None, [])
    assert [(entry["state"], entry["reason"]) for entry in second["allowances"]["entries"]] == [
        ("used", "rounds half up")
    ]
    assert {(clip["status"], clip["allowed"]) for clip in second["clips"]} == {("pass", True)}
    assert sorted(clip["mismatches"] for clip in second["clips"]) == [2, 3, 3]
    for report in ("report.html", "summary.md", "junit.xml"):
        assert "rounds half up" in (tmp_path / "out" / report).read_text()
    shown = mww_run().stdout
    assert "allowance used: it accepts 8 outputs of 3 clips" in " ".join(shown.split())

    path = tmp_path / DEFAULT_NAME
    path.write_text(path.read_text().replace("firmware: ", "firmware: 0.0."))
    lapsed = _document(mww_run("--json"))
    (entry,) = lapsed["allowances"]["entries"]
    assert (lapsed["verdict"], entry["state"]) == ("fail", "lapsed")
    assert "firmware is" in entry["why"]


def test_fewer_allowed_than_found_fails(mww_run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    mww_run("--write-allowance", DEFAULT_NAME, "--reason", "known")
    path = tmp_path / DEFAULT_NAME
    path.write_text(path.read_text().replace("en-us-f2-160.wav: 3", "en-us-f2-160.wav: 2"))
    document = _document(mww_run("--json"))
    assert document["verdict"] == "fail"
    assert {clip["name"]: clip["status"] for clip in document["clips"]}["clips/en-us-f2-160.wav"] == "fail"
    assert [entry["state"] for entry in document["allowances"]["entries"]] == ["exceeded"]


def test_nothing_is_accepted_without_a_reason_or_without_a_comparison(mww_run, models: Path) -> None:  # type: ignore[no-untyped-def]
    assert "--reason" in str(mww_run("--write-allowance", DEFAULT_NAME).exception)
    assert "--write-allowance" in str(mww_run("--reason", "why").exception)
    words = [str(models / "okay_nabu.json"), "--wav", "clips", "--write-allowance", DEFAULT_NAME, "--reason", "why"]
    refused = CliRunner().invoke(command, words, standalone_mode=False)
    assert "no difference can be allowed" in str(refused.exception)
    assert not Path(DEFAULT_NAME).exists()


def test_what_is_no_matter_of_kernels_is_not_accepted(models: Path, clips: Path, tmp_path: Path) -> None:
    path = tmp_path / DEFAULT_NAME
    words = [str(models / "okay_nabu.json"), "--wav", str(clips / "okay_nabu"), "--lead-in", "1"]
    with VirtualBoard(faults=("noreset",)) as board:
        words += ["--target", board.port, "--write-allowance", str(path), "--reason", "why not"]
        refused = CliRunner().invoke(command, words, standalone_mode=False)
    assert refused.return_value == 1
    assert "nothing is written" in refused.stderr
    assert not path.exists()
