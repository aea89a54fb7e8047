"""Models on a board: arena, golden outputs, detections, and what must be refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from harness.link.client import LinkClient
from harness.link.model_table import ModelRecord
from harness.run.results import RunResult
from harness.targets.base import Target
from mww.core.errors import DeviceError
from mww.core.resources import fixtures_dir
from mww.esphome.contract import cutoff_byte
from mww.esphome.detection import detect
from mww.esphome.model import Model
from mww.tflite.model_file import with_outputs
from mww.tflm.arena import predict_arena
from tests.hardware.conftest import LEAD_IN, Spoken, record

Check = Callable[..., RunResult]


def test_the_arena_is_what_is_predicted_and_fits_the_manifest(
    mww_target: Target, mww_model: Model, record_property: Callable[[str, object], None]
) -> None:
    use = mww_target.load(mww_model)
    record_property("mww_arena_used", use.used)
    assert use.used == predict_arena(mww_model.content, mww_target.info().chip).used
    assert mww_model.tensor_arena_size is None or use.used <= mww_model.tensor_arena_size


def test_every_output_is_the_golden_one(mww_check: Check, mww_model: Model) -> None:
    folder = fixtures_dir() / "clips" / mww_model.name
    result = mww_check(mww_model, folder if folder.is_dir() else fixtures_dir() / "clips", lead_in=LEAD_IN)
    assert result.golden is not None
    assert [(clip.name, clip.error, clip.first_mismatch) for clip in result.clips if clip.status != "pass"] == []
    for clip in result.clips:
        assert clip.detections == clip.golden_detections == clip.device_detections
        assert clip.device_inferences == clip.inferences
    if folder.is_dir():
        assert all(clip.detections for clip in result.clips)


def test_nothing_is_detected_where_nothing_was_said(mww_check: Check, mww_model: Model) -> None:
    result = mww_check(mww_model, fixtures_dir() / "clips" / "negative", lead_in=LEAD_IN)
    assert result.verdict == "pass"
    assert [clip.name for clip in result.clips if clip.detections] == []


def test_the_board_s_own_rule_detects_at_the_same_slice(link: LinkClient, mww_model: Model, spoken: Spoken) -> None:
    window, cutoffs = mww_model.sliding_window_size, (mww_model.probability_cutoff, 0.5, 0.2, 0.05, 0.01)
    tried = {cutoff: detect(spoken.golden, cutoff=cutoff, window=window, stride=mww_model.stride) for cutoff in cutoffs}
    cutoff = next((cutoff for cutoff, detections in tried.items() if detections), None)
    if cutoff is None:  # a word without a clip of its own here
        pytest.skip("the model detects nothing in this clip, at any cutoff")
    link.upload(0, record(mww_model))
    link.open_model(0)
    link.arm_detection(0, cutoff=cutoff_byte(cutoff), window=window)
    streamed = link.infer(spoken.frames)
    results = [(item.inference, item.average, item.maximum, item.slices * 0.01) for item in streamed.detections]
    expected = tried[cutoff]
    assert results == [(item.inference, item.average, item.maximum, pytest.approx(item.time_s)) for item in expected]


def test_a_reset_is_a_cold_start(mww_target: Target, mww_model: Model, spoken: Spoken) -> None:
    mww_target.load(mww_model)
    mww_target.infer(spoken.frames[: len(spoken.frames) // 2])
    mww_target.reset()
    assert np.array_equal(mww_target.infer(spoken.frames).outputs, spoken.golden)


def test_two_models_listen_side_by_side(
    link: LinkClient, mww_model: Model, spoken: Spoken, another: tuple[Model, Spoken]
) -> None:
    other, right = another
    if link.board.models < 2 or len(mww_model.content) + len(other.content) + 65_536 > link.board.partition_size:
        pytest.skip(f"the board's model partition of {link.board.partition_size} bytes holds one model")
    for slot, model in enumerate((mww_model, other)):
        link.upload(slot, record(model))
        link.open_model(slot)
    results: tuple[list[int], list[int]] = ([], [])
    for own, yours in zip(spoken.frames, right.frames, strict=False):
        results[0].extend(link.infer(own[np.newaxis], 0).outputs.tolist())
        results[1].extend(link.infer(yours[np.newaxis], 1).outputs.tolist())
    assert results[0] == spoken.golden[: len(results[0])].tolist()
    assert results[1] == right.golden[: len(results[1])].tolist()


def test_an_arena_that_is_too_small_is_refused_and_the_right_one_still_works(
    link: LinkClient, mww_model: Model, spoken: Spoken
) -> None:
    link.upload(0, record(mww_model, arena=2048))
    with pytest.raises(DeviceError) as refused:
        link.open_model(0)
    assert refused.value.code == "arena-too-small"
    link.upload(0, record(mww_model))
    link.open_model(0)
    assert np.array_equal(link.infer(spoken.frames).outputs, spoken.golden)


def test_a_model_that_esphome_would_not_run_is_refused(link: LinkClient, mww_model: Model) -> None:
    link.upload(0, ModelRecord(with_outputs(mww_model.content, [60]), 0))
    with pytest.raises(DeviceError) as refused:
        link.open_model(0)
    assert refused.value.code == "model-output"
    link.upload(0, ModelRecord(b"no model at all " * 1000, 0))
    with pytest.raises(DeviceError) as refused:
        link.open_model(0)
    assert refused.value.code == "model-schema"
    link.upload(0, record(mww_model))
    assert link.open_model(0).sha256.hex() == mww_model.sha256
