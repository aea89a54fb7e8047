from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.clips.clip import ArrayClip, audio_clips, feature_clips
from harness.clips.npz import Archive, write_archive
from mww.core.errors import AudioError, FeatureError, MwwError, UsageError
from mww.esphome.frontend import quantize_features, wav_to_features

RANDOM = np.random.default_rng(0)
SLICES = RANDOM.integers(-128, 128, (30_000, 40), np.int8)


def streamed(archive: Archive) -> dict[str, npt.NDArray[np.int8]]:
    return {clip.name: np.concatenate([np.empty((0, 40), np.int8), *clip.blocks()]) for clip in feature_clips(archive)}


def npy(array: npt.NDArray[np.generic], *, pickled: bool = False) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=pickled)
    return stream.getvalue()


def test_what_is_written_is_streamed_and_numpy_reads_it_too(tmp_path: Path) -> None:
    raw = RANDOM.integers(0, 680, (10, 40)).astype(np.uint16)
    arrays = {"/tmp/a clip.wav": SLICES, "file": SLICES[:5], "../up/ünd.wav": raw, "empty": SLICES[:0]}
    write_archive(tmp_path / "features.npz", arrays.items())
    with Archive(tmp_path / "features.npz") as archive:
        result = streamed(archive)
    assert list(result) == list(arrays)
    for name, array in arrays.items():
        expected = quantize_features(array) if array.dtype == np.uint16 else array
        assert np.array_equal(result[name], expected)
    with np.load(tmp_path / "features.npz", allow_pickle=False) as loaded:
        assert all(np.array_equal(loaded[name], array) for name, array in arrays.items())


def test_the_same_clips_give_the_same_file(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        write_archive(tmp_path / name, [("clip", SLICES)])
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_saves_is_streamed(tmp_path: Path, save: object) -> None:
    assert callable(save)
    save(tmp_path / "features.npz", clip=SLICES, columns=np.asfortranarray(SLICES))
    with Archive(tmp_path / "features.npz") as archive:
        result = streamed(archive)
    assert np.array_equal(result["clip"], SLICES)
    assert np.array_equal(result["columns"], SLICES)


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (npy(np.array([{}] * 3, object), pickled=True), "Python objects"),
        (pickle.dumps([1, 2]), "cannot be read"),
        (b"", "cannot be read"),
        (npy(np.zeros((3, 40), np.float32)), "float32, not int8 or uint16"),
        (npy(np.zeros((3, 41), np.int8)), r"shape \[3, 41\], not \[slices, 40\]"),
        (npy(np.zeros((2, 3, 40), np.int8)), r"shape \[2, 3, 40\]"),
        (npy(np.array(1, np.int8)), r"shape \[\]"),
        (npy(np.zeros((3, 40), np.int8))[:-1], "declares 120 bytes and has 119"),
        (npy(np.zeros((3, 40), np.int8)).replace(b"(3, 40)", b"(9**9,)"), "cannot be read"),
        (npy(np.zeros((3, 40), np.int8)).replace(b"(3, 40), }", b"(999999999, 40)}"), "declares 39999999960 bytes"),
    ],
)
def test_a_hostile_array_is_one_error(tmp_path: Path, member: bytes, message: str) -> None:
    path = tmp_path / "features.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("clip.npy", member)
    with Archive(path) as opened, pytest.raises(FeatureError, match=message):
        feature_clips(opened)


def test_what_is_no_archive_or_holds_nothing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "features.npz"
    with pytest.raises(FeatureError, match=r"cannot read .*No such file"):
        Archive(path)
    path.write_bytes(npy(SLICES))
    with pytest.raises(FeatureError, match=r"not an \.npz file"):
        Archive(path)
    write_archive(path, [])
    with Archive(path) as archive, pytest.raises(FeatureError, match="holds no arrays"):
        feature_clips(archive)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "features.npz"
    write_archive(path, [("clip", np.zeros((100_000, 40), np.int8))])
    content = bytearray(path.read_bytes())
    directory = content.rindex(b"PK\1\2")
    content[directory + 24 : directory + 28] = (0xFFFFFFFE).to_bytes(4, "little")
    path.write_bytes(content)
    with Archive(path) as archive, pytest.raises(FeatureError, match="declares 4000000 bytes and has 42949"):
        feature_clips(archive)


def test_damage_behind_the_header_is_found_while_streaming(tmp_path: Path) -> None:
    path = tmp_path / "features.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("clip.npy", npy(SLICES))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with Archive(path) as opened, pytest.raises(FeatureError, match="Bad CRC-32"):
        streamed(opened)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_mutation_is_more_than_an_error(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "features.npz"
    write_archive(path, [("a", SLICES[:4]), ("b", SLICES[4:9])])
    content = bytearray(path.read_bytes())
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[position] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        with Archive(path) as archive:
            streamed(archive)
    except MwwError as error:
        assert error.code == "features"


def test_wavs_are_found_to_the_bottom_of_a_folder_each_once(clips: Path) -> None:
    result = audio_clips([clips / "okay_nabu", clips], lead_in=0.5)
    names = [clip.name for clip in result]
    assert len(set(names)) == len(names) == len(list(clips.rglob("*.wav")))
    assert names[0].startswith(str(clips / "okay_nabu"))
    expected = quantize_features(wav_to_features(names[0], lead_in=0.5))
    assert np.array_equal(np.concatenate(list(result[0].blocks())), expected)


def test_nothing_to_stream_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="does not exist"):
        audio_clips([tmp_path / "absent.wav"])
    with pytest.raises(AudioError, match=r"has no sound file"):
        audio_clips([tmp_path])
    with pytest.raises(UsageError, match="lead-in of -1"):
        audio_clips([tmp_path], lead_in=-1)


def test_an_array_streams_like_its_file() -> None:
    assert np.array_equal(np.concatenate(list(ArrayClip("clip", SLICES).blocks())), SLICES)
    with pytest.raises(FeatureError, match="not int8 or uint16"):
        list(ArrayClip("clip", SLICES.astype(np.float32)).blocks())
