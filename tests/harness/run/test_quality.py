from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.check import check
from harness.report.junit import junit_xml
from harness.report.markdown import markdown_summary
from harness.report.wording import headline
from harness.run.evaluation.labels import Label
from mww.core.errors import UsageError


@pytest.fixture
def labelled(clips: Path, tmp_path: Path) -> Path:
    """Three clips with the word and three without; one with it is filed as without."""
    shutil.copytree(clips / "okay_nabu" / "positive", tmp_path / "positive")
    shutil.copytree(clips / "negative", tmp_path / "negative")
    shutil.copy(clips / "okay_nabu" / "positive" / "en-us-f2-160.wav", tmp_path / "negative" / "wakes.wav")
    return tmp_path


def test_limits_that_hold(models: Path, labelled: Path) -> None:
    result = check(
        models / "okay_nabu.json", [labelled], lead_in=1.0, min_recall=1.0, max_false_accepts_per_hour=10_000
    )
    assert (result.verdict, result.problems, result.warnings) == ("pass", (), ())


def test_clips_without_a_label_are_counted(models: Path, labelled: Path) -> None:
    names = {str(labelled / "positive" / "joe.wav"): Label("positive")}
    result = check(models / "okay_nabu.json", [labelled], lead_in=1.0, labels=names)
    (labelled / "labels.csv").write_text("clip,label\njoe.wav,positive\n")
    again = check(models / "okay_nabu.json", [labelled], lead_in=1.0, labels=str(labelled / "labels.csv"))
    assert (again.evaluation, again.warnings) == (result.evaluation, result.warnings)
    assert any(text.startswith("6 of 7 clips (") and "have no label" in text for text in result.warnings)


def test_limits_that_do_not_hold_fail_and_name_the_clips(models: Path, labelled: Path) -> None:
    result = check(models / "okay_nabu.json", [labelled], lead_in=1.0, max_false_accepts_per_hour=1)
    (problem,) = result.problems
    assert (result.verdict, problem.code) == ("fail", "quality")
    assert problem.clips == (str(labelled / "negative" / "wakes.wav"),)
    result = check(models / "alexa.json", [labelled], lead_in=1.0, min_recall=0.5)
    (problem,) = result.problems
    assert (result.verdict, problem.code, len(problem.clips)) == ("fail", "quality", 3)
    assert "recall is 0.000 (0 of 3 clips), below 0.5" in problem.message
    assert headline(result) == "recall is 0.000 (0 of 3 clips), below 0.5"
    assert "--lead-in 1 " in (problem.hint or "")
    assert b'type="quality"' in junit_xml([result])
    assert "missed: " in markdown_summary([result])


def test_a_limit_without_clips_that_could_show_it_is_refused(models: Path, clips: Path) -> None:
    with pytest.raises(UsageError, match="--min-recall without positive clips"):
        check(models / "okay_nabu.json", [clips / "negative"], min_recall=0.5)
    with pytest.raises(UsageError, match="--max-false-accepts-per-hour without negative clips"):
        check(models / "okay_nabu.json", [clips / "okay_nabu"], max_false_accepts_per_hour=0)


def test_what_came_in_is_in_the_result(models: Path, clips: Path) -> None:
    (clip,) = check(models / "okay_nabu.json", [clips / "negative" / "speech-0.wav"]).clips
    assert clip.input is not None
    assert clip.input.source == "wav"
    assert clip.input.sound is not None
    assert clip.input.sound.peak_dbfs == pytest.approx(-6.02, abs=0.01)
    assert clip.warnings == ()
    (again,) = check(models / "okay_nabu.json", [clips / "negative" / "speech-0.wav"]).clips  # from the cache
    assert again.input == clip.input
