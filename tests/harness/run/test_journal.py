from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.clips.clip import ArrayClip, AudioClip, Clip
from harness.run.journal import Journal
from harness.run.judging import Observed, nothing_but
from harness.run.streaming import Streamed
from harness.run.workbench import Setup
from harness.targets.base import TargetInfo
from harness.targets.registry import TargetOptions
from mww.core.errors import EngineError, InputError
from mww.esphome.detection import DeviceDetection
from mww.esphome.model import load_model

INFO = TargetInfo("device", "esp32s3", "tflm", (("firmware", "1"),))
SEEN = Observed(
    streamed=Streamed(10, "ab", None),
    outputs=np.array([1, 2, 255], np.uint8),
    microseconds=np.array([6800, 6801, 70_000], np.uint32),
    device_inferences=3,
    device_detections=(DeviceDetection(2, 9, 86, 255),),
    golden=None,
    vad=np.array([9], np.uint8),
)


@pytest.fixture
def setup(models: Path) -> Setup:
    return Setup(load_model(models / "alexa.json"), TargetOptions(), None, None, None, None)


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    path = tmp_path / "clip.wav"
    path.write_bytes(b"as it was")
    return AudioClip("clip", path, 1.0)


def test_what_was_seen_comes_back_as_it_was(setup: Setup, clip: Clip, tmp_path: Path) -> None:
    Journal(tmp_path / "journal", setup, INFO).note(clip, SEEN)
    result = Journal(tmp_path / "journal", setup, INFO).recall(clip)
    assert result is not None
    assert (result.streamed, result.device_inferences, result.golden) == (SEEN.streamed, 3, None)
    assert result.device_detections == SEEN.device_detections
    for name in ("outputs", "microseconds", "vad"):
        assert np.array_equal(getattr(result, name), getattr(SEEN, name))
        assert getattr(result, name).dtype == getattr(SEEN, name).dtype


def test_anything_else_is_not_finished(setup: Setup, clip: Clip, models: Path, tmp_path: Path) -> None:
    path = tmp_path / "journal"
    Journal(path, setup, INFO).note(clip, SEEN)
    assert Journal(path, replace(setup, model=load_model(models / "okay_nabu.json")), INFO).recall(clip) is None
    assert Journal(path, replace(setup, golden_engine="exact"), INFO).recall(clip) is None
    assert Journal(path, setup, replace(INFO, versions=(("firmware", "2"),))).recall(clip) is None
    assert isinstance(clip, AudioClip)
    assert Journal(path, setup, INFO).recall(replace(clip, lead_in=0.0)) is None
    clip.path.write_bytes(b"changed meanwhile")
    assert Journal(path, setup, INFO).recall(clip) is None


def test_errors_are_tried_again_and_arrays_leave_no_trace(setup: Setup, clip: Clip, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", setup, INFO)
    journal.note(clip, nothing_but(EngineError("crashed", hint="run it again")))
    journal.note(ArrayClip("array", np.zeros((3, 40), np.int8)), SEEN)
    assert not (tmp_path / "journal").exists()


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'{"run": 1}', b"\xff\xfe", b"[" * 100_000, b'"text"', b"null"])
def test_a_line_that_cannot_be_read_is_passed_over(setup: Setup, clip: Clip, tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "journal"
    path.write_bytes(line + b"\n")
    Journal(path, setup, INFO).note(clip, SEEN)
    assert Journal(path, setup, INFO).recall(clip) is not None


def test_a_line_cut_short_costs_no_other_line(setup: Setup, clip: Clip, tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b'{"run": "torn')
    Journal(path, setup, INFO).note(clip, SEEN)
    assert Journal(path, setup, INFO).recall(clip) is not None


def test_lengths_that_do_not_fit_each_other_are_passed_over(setup: Setup, clip: Clip, tmp_path: Path) -> None:
    path = tmp_path / "journal"
    Journal(path, setup, INFO).note(clip, replace(SEEN, streamed=Streamed(100, "ab", None)))
    Journal(path, setup, INFO).note(clip, replace(SEEN, golden=SEEN.outputs[:2]))
    Journal(path, setup, INFO).note(clip, replace(SEEN, microseconds=SEEN.microseconds[:2]))
    assert Journal(path, setup, INFO).recall(clip) is None
    path.write_text(path.read_text().replace('"slices": 10,', '"slices": 1e999,'))
    assert Journal(path, setup, INFO).recall(clip) is None


def test_a_journal_that_is_no_file_is_one_error(setup: Setup, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        Journal(tmp_path, setup, INFO)
