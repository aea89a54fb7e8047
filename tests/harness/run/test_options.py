"""An option of a run is written once: the command line, the Python keywords and the reference page are made from it."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import numpy as np
import pytest

from harness.check import check, check_models
from harness.cli import execute, mww
from harness.cli.run import command
from harness.clips.npz import Archive
from harness.run.options import RunOptions, run_options
from mww.core.readable import Readable
from mww.esphome.frontend import Slices
from mww.esphome.model import load_model
from mww.tflite.model_file import read_model
from tools.run_options import PAGE, page


def test_every_option_is_a_keyword_and_those_with_a_flag_are_on_the_command_line() -> None:
    assert set(run_options()) < set(inspect.signature(check).parameters)
    flags = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
    wanted = {flag for option, _ in run_options().values() if option.flag for flag in option.flag.split("/")}
    assert wanted < flags


def test_the_reference_page_is_made_from_them() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m tools.run_options"


def test_options_are_keywords_alone() -> None:
    with pytest.raises(TypeError):
        RunOptions("emulator")  # type: ignore[misc]
    with pytest.raises(TypeError, match="no_such_option"):
        check("model", "clips", no_such_option=1)  # type: ignore[call-arg]


@pytest.fixture
def features(tmp_path: Path, spoken: tuple[Slices, ...]) -> Path:
    path = tmp_path / "features.npz"
    np.savez(path, **{str(index): slices for index, slices in enumerate(spoken[:2])})
    return path


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of archives, each time that one is opened."""
    names: list[str] = []
    original = Archive.__init__

    def count(self: Archive, path: Readable) -> None:
        names.append(path.name)
        original(self, path)

    monkeypatch.setattr(Archive, "__init__", count)
    return names


def test_clips_are_opened_once_with_labels_too(
    models: Path, features: Path, tmp_path: Path, opened: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("clip,label\n")
    words = ["run", str(models / "okay_nabu.json"), "--features", str(features), "--labels", str(labels), "--json"]
    assert execute(mww, words) == 0
    assert json.loads(capsys.readouterr().out)["evaluation"] is None
    assert opened.count(features.name) == 1


def test_a_golden_is_opened_once(
    models: Path, features: Path, tmp_path: Path, opened: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    golden = tmp_path / "golden.npz"
    words = [str(models / "okay_nabu.json"), "--features", str(features), "--output", str(golden)]
    assert execute(mww, ["record", *words]) == 0
    opened.clear()
    capsys.readouterr()
    assert execute(mww, ["run", str(models / "okay_nabu.json"), "--golden", str(golden), "--json"]) == 0
    assert opened.count(golden.name) == 1


def test_without_a_chip_the_operators_are_named_and_no_time_is_made_up(
    models: Path, features: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = load_model(models / "okay_nabu.json")
    (result,) = check_models([model], features, RunOptions(profile=True))
    assert result.profile is not None
    operators = [operator.op for operator in read_model(model.content).main.operators]
    assert [cost.operator for cost in result.profile] == operators
    assert {(cost.microseconds, cost.instructions) for cost in result.profile} == {(None, None)}
    assert [cost.index for cost in result.profile] == list(range(len(operators)))
    words = ["run", str(models / "okay_nabu.json"), "--features", str(features), "--profile"]
    assert execute(mww, words) == 0
    assert f"operators: {len(operators)} operators; their times were not measured" in capsys.readouterr().out
