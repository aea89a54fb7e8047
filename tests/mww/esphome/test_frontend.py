from __future__ import annotations

import math
import struct
import sys
import wave
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pymicro_features import MicroFrontend

from mww.core.errors import AudioError, FeatureError, MwwError, UsageError
from mww.esphome import frontend
from mww.esphome.audio import read_samples
from mww.esphome.frontend import package_agrees, quantize_features, wav_to_features

RATE = 16_000


def write_wav(path: Path, samples: npt.NDArray[np.int16], rate: int = RATE, channels: int = 1, width: int = 2) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setframerate(rate)
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.writeframes(samples.tobytes())
    return path


def speechlike(seconds: float, seed: int = 0) -> npt.NDArray[np.int16]:
    noise = np.random.default_rng(seed).normal(0, 2000, round(seconds * RATE))
    return (noise * np.sin(np.arange(len(noise)) / 3000)).astype(np.int16)


def front_end(samples: npt.NDArray[np.int16]) -> list[list[int]]:
    """The features, straight from the package, which takes 10 ms or more at a time."""
    frontend, data, slices = MicroFrontend(), samples.tobytes(), []
    while len(data) >= 320:
        output = frontend.process_samples(data[:1000])
        data = data[output.samples_read * 2 :]
        if output.features:
            slices.append([round(value * 25.6) for value in output.features])
    return slices


def device_rule(feature: int) -> int:
    """`generate_features_` of micro_wake_word.cpp, one value in C's int32 arithmetic."""
    value = math.trunc((feature * 256 + 666 // 2) / 666) - 128
    return max(-128, min(127, value))


class _Version1:
    """The class of pymicro-features 1.0.0."""

    def __init__(self) -> None:
        self._frontend = MicroFrontend()

    def ProcessSamples(self, samples: bytes) -> object:
        return self._frontend.process_samples(samples)


def test_version_1_of_the_package_gives_the_same_features(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = speechlike(3).tobytes()
    expected = frontend.PackageFrontend().process(samples)
    monkeypatch.setitem(sys.modules, "pymicro_features", SimpleNamespace(MicroFrontend=_Version1))
    np.testing.assert_array_equal(frontend.PackageFrontend().process(samples), expected)
    assert expected.any()


@pytest.mark.skipif(not package_agrees(), reason="the package does not give a device's features with this C library")
def test_features_are_the_front_ends_own(tmp_path: Path) -> None:
    samples = speechlike(25)  # longer than one block of the reader
    features = wav_to_features(write_wav(tmp_path / "clip.wav", samples))
    assert features.dtype == np.uint16
    assert features.shape == (25 * 100 - 2, 40)
    assert features.tolist() == front_end(samples)


def test_the_lead_in_is_silence_that_the_front_end_hears(tmp_path: Path) -> None:
    samples = speechlike(2)
    path = write_wav(tmp_path / "clip.wav", samples)
    padded = np.concatenate([np.zeros(RATE + RATE // 2, np.int16), samples])
    assert wav_to_features(path, lead_in=1.5).tolist() == front_end(padded)
    for seconds in (-1.0, math.inf, math.nan):
        with pytest.raises(UsageError, match="lead-in"):
            wav_to_features(path, lead_in=seconds)


@pytest.mark.parametrize("samples", [0, 1, 479, 480, 639, 640])
def test_a_slice_needs_a_whole_window(tmp_path: Path, samples: int) -> None:
    path = write_wav(tmp_path / "clip.wav", np.full(samples, 500, np.int16))
    assert wav_to_features(path).shape == (max(0, (samples - 480) // 160 + 1), 40)


def test_every_raw_value_quantises_by_the_integer_rule() -> None:
    raw = np.arange(65536, dtype=np.uint16)
    assert quantize_features(raw).tolist() == [device_rule(value) for value in range(65536)]


@given(hnp.arrays(st.sampled_from([np.uint16, np.int32, np.int64]), (3, 40), elements=st.integers(0, 65535)))
def test_any_integer_type_quantises_alike(features: npt.NDArray[np.generic]) -> None:
    assert quantize_features(features).tolist() == quantize_features(features.astype(np.uint16)).tolist()


@pytest.mark.parametrize("features", [np.zeros((2, 40), np.float32), np.full((1, 40), -1), np.full((1, 40), 65536)])
def test_what_no_front_end_gives_is_not_quantised(features: npt.NDArray[np.generic]) -> None:
    with pytest.raises(FeatureError, match="features to quantise"):
        quantize_features(features)


@pytest.mark.parametrize(
    ("rate", "channels", "width", "found"),
    [
        (44100, 1, 2, "44100 Hz mono 16-bit PCM"),
        (16000, 2, 2, "16000 Hz stereo 16-bit PCM"),
        (16000, 1, 1, "16000 Hz mono 8-bit PCM"),
        (48000, 6, 3, "48000 Hz 6 channels 24-bit PCM"),
    ],
)
def test_another_format_is_named_with_the_command_that_converts(
    tmp_path: Path, rate: int, channels: int, width: int, found: str
) -> None:
    path = write_wav(tmp_path / "my clip.wav", np.zeros(rate * channels * width, np.int16), rate, channels, width)
    with pytest.raises(AudioError, match=f"is {found}, not 16000 Hz mono 16-bit PCM") as caught:
        next(read_samples(path))
    assert caught.value.hint is not None
    assert f"sox '{path}' -r 16000 -c 1 -b 16" in caught.value.hint
    assert "ffmpeg" in caught.value.hint


def riff(*chunks: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 4 + sum(map(len, chunks))) + b"WAVE" + b"".join(chunks)


def chunk(name: bytes, body: bytes, says: int | None = None) -> bytes:
    return name + struct.pack("<I", len(body) if says is None else says) + body


PCM = struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16)
FLOAT = struct.pack("<HHIIHH", 3, 1, RATE, 4 * RATE, 4, 32)
EXTENSIBLE = struct.pack("<HHIIHHHHI", 0xFFFE, 1, RATE, 2 * RATE, 2, 16, 22, 16, 4) + b"\1\0" + bytes(14)
SOUND = speechlike(1).tobytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a WAV"),
        (b"RIFF\0\0\0\0AVI ", "not a WAV"),
        (riff(chunk(b"fmt ", PCM)), "no samples"),
        (riff(chunk(b"data", SOUND)), "before it says"),
        (riff(chunk(b"fmt ", b"\1\0\1\0"), chunk(b"data", SOUND)), "format chunk of 4 bytes"),
        (riff(chunk(b"fmt ", FLOAT), chunk(b"data", SOUND)), "32-bit float"),
        (riff(chunk(b"fmt ", PCM), chunk(b"data", SOUND, len(SOUND) + 2)), "cut short"),
        (riff(chunk(b"fmt ", PCM), chunk(b"data", SOUND, 0xFFFFFFFF)), "cut short"),
        (riff(chunk(b"fmt ", PCM), chunk(b"data", SOUND, 0)), "gives no samples"),
        (riff(chunk(b"fmt ", PCM), chunk(b"data", SOUND[:-1])), "middle of a sample"),
        (riff(chunk(b"LIST", b"", 1 << 31)), "cut short"),
        (riff(*[chunk(b"junk", b"")] * 5000), "no samples"),
    ],
)
def test_a_lying_header_is_one_error(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "clip.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError, match=message):
        next(read_samples(path))


def test_other_chunks_and_the_extensible_format_are_read(tmp_path: Path) -> None:
    plain = write_wav(tmp_path / "plain.wav", np.frombuffer(SOUND, np.int16))
    path = tmp_path / "clip.wav"
    path.write_bytes(
        riff(chunk(b"LIST", b"odd") + b"\0", chunk(b"fmt ", EXTENSIBLE), chunk(b"data", SOUND), b"id3 \xff\0\0\0")
    )
    assert wav_to_features(path).tolist() == wav_to_features(plain).tolist()


@given(st.data())
def test_no_mutation_of_a_wav_is_more_than_an_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(riff(chunk(b"fmt ", PCM), chunk(b"data", SOUND[:3200])))
    for position in data.draw(st.lists(st.integers(0, 60), max_size=4)):
        content[position] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "mutated.wav"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        assert wav_to_features(path).shape[1] == 40
    except MwwError as error:
        assert "\n" not in error.message
