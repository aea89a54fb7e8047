"""Calibration features: from every file that people have, on one scale, whole, anchored, and the same each time."""

import os
import struct
import wave
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.calibration.feature_sets import MAX_CLIPS, load_clips
from exporter.calibration.sets import (
    create_default_representative_dataset,
    create_representative_dataset_from_data,
    representative_dataset,
)
from mww.core.errors import CalibrationError, MwwError
from mww.esphome.frontend import quantize_features, wav_to_features
from tests.support.examples import examples
from tests.support.feature_folders import write_feature_folder, write_store


def _raw(clips: int, slices: int, seed: int = 0) -> npt.NDArray[np.uint16]:
    features = np.random.default_rng(seed).integers(0, 666, (clips, slices, 40)).astype(np.uint16)
    features[0, 0, :3] = 665
    return features


def test_no_slice_is_dropped_and_clips_follow_each_other() -> None:
    features = _raw(7, 10)
    dataset = create_representative_dataset_from_data(features, stride=3, minimum=7)
    frames = [inputs for inputs in dataset()]
    assert all(len(inputs) == 1 and inputs[0].shape == (1, 3, 40) for inputs in frames)
    heard = np.concatenate([inputs[0][0] for inputs in frames])
    assert heard.dtype == np.float32
    assert len(heard) == 72
    np.testing.assert_allclose(heard[1:70], features.reshape(70, 40)[1:] / 25.6, rtol=1e-6)
    np.testing.assert_array_equal(heard[70:], heard[69:70].repeat(2, axis=0))


def test_both_ends_of_the_input_are_anchored() -> None:
    quiet = np.full((500, 9, 40), 5.0)
    for dataset in (create_representative_dataset_from_data(quiet), create_default_representative_dataset()):
        assert dataset.frames[0, 0, :2].tolist() == [0.0, 26.0]
        assert (dataset.frames.min(), dataset.frames.max()) == (0.0, 26.0)
        assert dataset.clips == 500


def test_what_the_device_cannot_hear_is_cut_off() -> None:
    loud = np.full((500, 9, 40), 26.7)
    assert create_representative_dataset_from_data(loud).frames.max() == 26.0


def test_every_kind_of_number_comes_to_the_same_scale() -> None:
    raw = _raw(500, 6)
    floats = (raw / 25.6).astype(np.float32)
    device = quantize_features(raw)
    datasets = [
        create_representative_dataset_from_data(kind) for kind in (raw, floats, floats.astype(np.float16), device)
    ]
    for dataset in datasets[1:]:
        np.testing.assert_allclose(dataset.frames, datasets[0].frames, atol=0.15)


def test_random_features_are_the_same_for_a_seed() -> None:
    item, two, other = (create_default_representative_dataset(clips=3, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(item.frames, two.frames)
    assert not np.array_equal(item.frames, other.frames)


@pytest.mark.parametrize(
    ("features", "words"),
    [
        (np.full((500, 3, 40), 1.0), "0..1"),
        (np.full((500, 3, 40), 28.0), "raw front-end values"),
        (np.full((500, 3, 40), 26, np.uint16), "0..1"),
        (np.full((500, 3, 40), 40_000, np.uint16), "raw front-end values"),
        (np.full((500, 3, 40), np.inf), "broken"),
        (np.full((500, 3, 40), 1e300), "broken"),
        (np.full((500, 3, 40), -3.0), "normalised"),
        (np.full((500, 3, 40), 20, np.uint8), "uint16"),
        (np.full((500, 3, 40), "x"), "uint16"),
        (np.full((500, 120), 20.0), "clips, slices, 40"),
        (np.zeros((500, 0, 40)), "more clips"),
        (np.full((499, 3, 40), 20.0), "more clips"),
    ],
)
def test_features_that_would_make_a_deaf_model_are_refused_by_the_cause(
    features: npt.NDArray[np.generic], words: str
) -> None:
    with pytest.raises(CalibrationError) as error:
        create_representative_dataset_from_data(features)
    assert words in (error.value.hint or "")


def test_one_broken_clip_among_good_ones_is_found() -> None:
    features = np.full((500, 3, 40), 20.0)
    features[321, 2, 39] = np.nan
    with pytest.raises(CalibrationError, match="NaN"):
        create_representative_dataset_from_data(features)


def test_an_npz_holds_one_array_or_one_a_clip(tmp_path: Path) -> None:
    raw = _raw(3, 8)
    np.savez(tmp_path / "one.npz", features=raw)
    np.savez(tmp_path / "many.npz", **{f"clip {index}": clip[: 5 + index] for index, clip in enumerate(raw)})
    assert [clip.shape for clip in load_clips(tmp_path / "one.npz")] == [(8, 40)] * 3
    many = load_clips(tmp_path / "many.npz")
    assert [clip.shape for clip in many] == [(5, 40), (6, 40), (7, 40)]
    np.testing.assert_allclose(many[0], raw[0, :5] / 25.6, rtol=1e-6)


def test_a_golden_is_not_a_calibration(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "golden.npz", "w") as archive:
        archive.writestr("golden.json", "{}")
    with pytest.raises(CalibrationError, match=r"also golden.json"):
        load_clips(tmp_path / "golden.npz")


def test_no_pickle_is_ever_opened(tmp_path: Path) -> None:
    np.savez(tmp_path / "evil.npz", features=np.array([{"a": 1}], dtype=object))
    with pytest.raises(CalibrationError, match="npz"):
        load_clips(tmp_path / "evil.npz")


def _write_wav(path: Path, rate: int = 16_000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = (np.random.default_rng(0).normal(0, 3000, 8000)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(samples.tobytes())


def test_a_folder_of_wavs_is_heard_by_the_front_end(tmp_path: Path) -> None:
    _write_wav(tmp_path / "a" / "one.wav")
    _write_wav(tmp_path / "two.WAV")
    clips = load_clips(tmp_path)
    assert len(clips) == 2
    np.testing.assert_allclose(clips[0], wav_to_features(tmp_path / "two.WAV") / 25.6, rtol=1e-6)
    slow, _ = load_clips(tmp_path, step_ms=20)
    np.testing.assert_allclose(slow, wav_to_features(tmp_path / "two.WAV", step_ms=20) / 25.6, rtol=1e-6)


def test_a_clip_at_another_rate_is_converted(tmp_path: Path) -> None:
    _write_wav(tmp_path / "one.wav", rate=48_000)
    (clip,) = load_clips(tmp_path)
    assert clip.shape[1] == 40


def test_the_trainers_mmap_folders_are_read_its_training_part_alone(tmp_path: Path) -> None:
    clips = [_raw(1, slices, slices)[0] for slices in (5, 9, 7)]
    write_feature_folder(tmp_path / "training" / "wakeword_mmap", clips[:2])
    write_feature_folder(tmp_path / "testing" / "wakeword_mmap", clips[2:])
    result = load_clips(tmp_path)
    assert [clip.shape for clip in result] == [(5, 40), (9, 40)]
    np.testing.assert_allclose(result[1], clips[1] / 25.6, rtol=1e-6)
    assert len(load_clips(tmp_path / "testing" / "wakeword_mmap")) == 1


def test_a_mmap_folder_that_points_outside_itself_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "x_mmap"
    write_feature_folder(folder, [_raw(1, 4)[0]])
    (folder / "ends" / "data.ninja").write_bytes(np.array([4000]).tobytes())
    with pytest.raises(CalibrationError, match="4000 of 160"):
        load_clips(folder)
    (folder / "dtype.ninja").write_text("object")
    with pytest.raises(CalibrationError, match="folder of features"):
        load_clips(folder)


def test_of_very_many_clips_the_same_are_chosen_each_time(tmp_path: Path) -> None:
    clips = [np.full((1, 40), index % 600, np.uint16) for index in range(MAX_CLIPS + 500)]
    write_feature_folder(tmp_path / "x_mmap", list(clips))
    item, two = (np.concatenate(load_clips(tmp_path)) for _ in range(2))
    assert len(item) == MAX_CLIPS
    np.testing.assert_array_equal(item, two)


def test_a_stride_of_one_and_a_nonsensical_one() -> None:
    assert representative_dataset([np.full((4, 40), 9, np.float32)], "x", stride=1, minimum=1).frames.shape == (
        4,
        1,
        40,
    )
    with pytest.raises(MwwError):
        representative_dataset([np.full((4, 40), 9, np.float32)], "x", stride=0, minimum=1)


def _npz_of_header(path: Path, header: str) -> None:
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + bytes(80)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("clip.npy", content)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': ('<u2', (40,)), 'fortran_order': False, 'shape': (1,)}",
        "{'descr': {'names': [1]}, 'fortran_order': False, 'shape': (1, 40)}",
        "{'descr': '<u2', 'fortran_order': False, 'shape': (True, 40)}",
        "{'descr': '<u2', 'fortran_order': False, 'shape': (2**70, 40)}",
        f"{{'descr': '<u2', 'fortran_order': False, 'shape': ({2**70}, 0)}}",
        "{'descr': '|V0', 'fortran_order': False, 'shape': (10, 40)}",
        "{[]: 1}",
    ],
)
def test_a_header_that_lies_is_one_error(header: str, tmp_path: Path) -> None:
    _npz_of_header(tmp_path / "x.npz", header)
    with pytest.raises(CalibrationError, match=r"x\.npz is not a readable \.npz file"):
        load_clips(tmp_path / "x.npz")


_SPAN = st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(), st.integers(0, 4).map(lambda clip: clip * 40))


@settings(max_examples=examples(30), deadline=None)
@given(
    name=st.sampled_from(["int64", "uint64", "float64", "float16", "uint16", "int8", "|V0", "", "object", "int32"]),
    starts=st.lists(_SPAN, max_size=3),
    ends=st.lists(_SPAN, max_size=3),
    sparse=st.booleans(),
)
def test_a_mmap_folder_of_any_spans_and_types_is_clips_or_one_error(
    name: str, starts: list[float], ends: list[float], sparse: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("spans") / "x_mmap"
    write_feature_folder(folder, [_raw(1, 4)[0]])
    for part, values in (("starts", starts), ("ends", ends)):
        kind = "float64" if any(isinstance(value, float) for value in values) else "int64"
        (folder / part / "dtype.ninja").write_text(kind)
        (folder / part / "data.ninja").write_bytes(np.array(values, kind).tobytes())
    (folder / "dtype.ninja").write_text(name)
    if sparse:
        os.truncate(folder / "data.ninja", 40 << 30)
    try:
        clips = load_clips(folder)
    except CalibrationError as error:
        assert error.hint
        assert len(error.message) < 400
    else:
        assert [clip.shape[1] for clip in clips] == [40] * len(starts)


def test_the_store_of_sarpels_trainer_is_read_its_training_part_alone(tmp_path: Path) -> None:
    clips = [np.full((slices, 40), slices, np.float32) for slices in (5, 9, 7)]
    write_store(tmp_path / "train", clips[:2])
    write_store(tmp_path / "val", clips[2:])
    for place in (tmp_path, tmp_path / "train"):
        assert [clip.tolist() for clip in load_clips(place)] == [clip.tolist() for clip in clips[:2]]
    assert len(load_clips(tmp_path / "val")) == 1


@pytest.mark.parametrize("name", ["offsets", "lengths"])
def test_a_span_that_begins_or_ends_within_a_number_is_refused(name: str, tmp_path: Path) -> None:
    write_store(tmp_path, [np.full((4, 40), 9, np.float32)] * 2)
    place = tmp_path / f"features.{name}"
    place.write_bytes((np.frombuffer(place.read_bytes(), "<i8") + np.array([2, 0], "<i8")).tobytes())
    with pytest.raises(CalibrationError, match="no whole values"):
        load_clips(tmp_path)


@settings(max_examples=examples(30), deadline=None)
@given(
    offsets=st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 4).map(lambda clip: clip * 160), max_size=3),
    lengths=st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 4).map(lambda clip: clip * 160), max_size=3),
    tail=st.integers(0, 9),
    sparse=st.booleans(),
)
def test_a_store_of_any_spans_is_clips_or_one_error(
    offsets: list[int], lengths: list[int], tail: int, sparse: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("spans")
    write_store(folder, [np.full((4, 40), 9, np.float32)])
    (folder / "features.offsets").write_bytes(np.array(offsets, "<i8").tobytes() + bytes(tail))
    (folder / "features.lengths").write_bytes(np.array(lengths, "<i8").tobytes())
    if sparse:
        os.truncate(folder / "features.data", 40 << 30)
    try:
        clips = load_clips(folder)
    except CalibrationError as error:
        assert error.hint
        assert len(error.message) < 400
    else:
        assert all(clip.shape[1] == 40 for clip in clips)
