"""The front-end in numpy against the package, feature by feature."""

from __future__ import annotations

import importlib.util
import wave

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mww.core.resources import fixtures_dir
from mww.esphome import frontend, frontend_numpy
from mww.esphome.frontend import PackageFrontend, frontend_version, package_agrees, wav_to_features, whole_features
from mww.esphome.frontend_numpy import NumpyFrontend

_LENGTH = 160 * 250

needs_the_devices_log1pf = pytest.mark.skipif(
    not package_agrees(), reason="this C library's log1pf is not newlib's (glibc 2.41 or later): no package to compare"
)


def sounds() -> dict[str, npt.NDArray[np.int16]]:
    """Speech, and what a front-end may not expect."""
    random, time = np.random.default_rng(0), np.arange(_LENGTH)
    loud = np.where(time > _LENGTH // 2, random.integers(-30000, 30000, _LENGTH), random.integers(-2, 3, _LENGTH))
    made = {
        "noise": random.integers(-32768, 32768, _LENGTH),
        "silence": np.zeros(_LENGTH),
        "lowest": np.full(_LENGTH, -32768),
        "square": np.where(time % 100 < 50, 32767, -32768),
        "impulses": np.where(time % 4000 == 0, 32767, 0),
        "sweep": 32767 * np.sin(np.cumsum(np.linspace(0, 3, _LENGTH))),
        "steps": loud,
    }
    for path in sorted((fixtures_dir() / "clips").rglob("*.wav")):
        with wave.open(str(path)) as file:
            made[path.name] = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return {name: sound[: len(sound) // 160 * 160].astype(np.int16) for name, sound in made.items()}


@needs_the_devices_log1pf
def test_every_feature_is_the_same() -> None:
    for name, sound in sounds().items():
        expected = PackageFrontend().process(sound.tobytes())
        assert np.array_equal(NumpyFrontend().process(sound.tobytes()), expected), name


@needs_the_devices_log1pf
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 15), st.lists(st.integers(0, 100), max_size=4))
def test_loudness_and_cuts_change_nothing(seed: int, shift: int, cuts: list[int]) -> None:
    sound = (np.random.default_rng(seed).integers(-32768, 32768, 160 * 100) >> shift).astype(np.int16)
    stream, start = NumpyFrontend(), 0
    pieces = []
    for cut in (*sorted(cuts), 100):
        pieces.append(stream.process(sound[start * 160 : cut * 160].tobytes()))
        start = cut
    assert np.array_equal(np.concatenate(pieces), PackageFrontend().process(sound.tobytes()))


@needs_the_devices_log1pf
def test_it_takes_the_packages_place(monkeypatch: pytest.MonkeyPatch) -> None:
    path = next((fixtures_dir() / "clips").rglob("*.wav"))
    expected = wav_to_features(path, lead_in=0.5)
    assert frontend_version()[0] == "pymicro-features"
    monkeypatch.setattr(frontend, "find_spec", lambda name: None if "micro" in name else importlib.util.find_spec(name))
    assert frontend_version() == ("mww-frontend", "1")
    assert np.array_equal(wav_to_features(path, lead_in=0.5), expected)


def test_another_step_makes_the_same_windows_further_apart() -> None:
    path = next((fixtures_dir() / "clips").rglob("*.wav"))
    slow = wav_to_features(path, step_ms=20)
    fast = wav_to_features(path)
    assert len(slow) == (len(fast) + 1) // 2
    assert np.array_equal(slow[0], fast[0])  # the first window has heard no noise yet
    assert frontend_version(20)[0] == "mww-frontend"


@pytest.mark.parametrize("moved", [None, 144, 216])
def test_a_package_with_another_weight_is_not_used(moved: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two weights that the correctly rounded log1pf of glibc 2.41 makes smaller by 1."""
    weights = list(frontend_numpy.WEIGHTS)
    if moved is not None:
        weights[moved] -= 1

    class OtherPackage:
        def process(self, samples: bytes) -> npt.NDArray[np.uint16]:
            with monkeypatch.context() as other:
                other.setattr(frontend_numpy, "WEIGHTS", tuple(weights))
                frontend_numpy.filters.cache_clear()
                features = NumpyFrontend().process(samples)
            frontend_numpy.filters.cache_clear()
            return features

    frontend.same_weights.cache_clear()
    monkeypatch.setattr(frontend, "PackageFrontend", OtherPackage)
    try:
        assert package_agrees() == (moved is None)
    finally:
        frontend.same_weights.cache_clear()


def test_every_feature_comes_back_from_the_packages_float() -> None:
    features = np.arange(1 << 16)
    for floats in (features / 25.6, features.astype(np.float32) * np.float32(1 / 25.6)):
        assert np.array_equal(whole_features(floats.astype(np.float32).tobytes()), features)
