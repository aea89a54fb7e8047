"""From sound to the features that a device computes, and on to the int8 values that its model takes.

The front-end is `pymicro-features`, ESPHome's own compiled for the host; or its equal in numpy, where the package has
no wheel or does not compute what a device does, since its filterbank depends on the C library. The integer rule is
ESPHome's. What a model makes of the features is the harness's business.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from mww.core.errors import FeatureError, UsageError
from mww.core.readable import Readable, shown
from mww.esphome.audio import read_audio
from mww.esphome.contract import (
    FEATURE_FLOAT_SCALE,
    FEATURE_STEP_BYTES,
    FEATURE_STEP_MS,
    FEATURES,
    MAX_LEAD_IN,
    QUANTIZE_VALUE_DIV,
    QUANTIZE_VALUE_SCALE,
    SAMPLE_RATE,
)

Slices: TypeAlias = npt.NDArray[np.int8]
"""int8 `[slices, 40]`: features as the model sees them."""

_UINT16_MAX: Final = 65535
_STEP: Final = struct.Struct(f"{FEATURE_STEP_BYTES}s")
_SLICE: Final = struct.Struct(f"{FEATURES}f")
_PIECE: Final = 256
"""Slices that are converted at once: few enough for the processor's nearest cache."""

NUMPY_FRONTEND: Final = "mww-frontend"
NUMPY_VERSION: Final = "1"
"""Of `mww.esphome.frontend_numpy`, where it takes the package's place."""

MAX_FEATURE_STEP_MS: Final = 30
"""The largest step that ESPHome accepts: the length of the window."""


def wav_to_features(
    path: Readable | str, *, lead_in: float = 0.0, step_ms: int = FEATURE_STEP_MS
) -> npt.NDArray[np.uint16]:
    """Compute a clip's features as the device's front-end gives them.

    Args:
        path: A sound file; see `mww.esphome.audio`.
        lead_in: Seconds of digital silence in front of the clip, heard by the front-end too.
        step_ms: Milliseconds from one slice to the next, the model's `feature_step_size`.

    Returns:
        uint16 `[slices, 40]`, one slice a step once the first 30 ms window is full; 0 to about 670.

    Raises:
        AudioError: The clip cannot be read or is of another format.
        UsageError: `lead_in` is negative, not finite, or longer than a clip may be; or ESPHome has no such step.
    """
    samples = read_audio(Path(path) if isinstance(path, str) else path)
    blocks = list(iterate_features(samples, lead_in=lead_in, step_ms=step_ms))
    return np.concatenate(blocks) if blocks else np.empty((0, FEATURES), np.uint16)


def iterate_features(
    blocks: Iterator[bytes], *, lead_in: float = 0.0, step_ms: int = FEATURE_STEP_MS
) -> Iterator[npt.NDArray[np.uint16]]:
    """Compute the same as `wav_to_features`, some seconds at a time, so that hours need no more memory than seconds.

    `blocks` are little-endian int16 samples, 16 kHz mono.
    """
    for _, features in iterate_sound(blocks, lead_in=lead_in, step_ms=step_ms):
        if len(features):
            yield features


def iterate_sound(
    blocks: Iterator[bytes], *, lead_in: float = 0.0, step_ms: int = FEATURE_STEP_MS
) -> Iterator[tuple[bytes, npt.NDArray[np.uint16]]]:
    """Compute the same as `iterate_features`, beside the samples, lead-in and all, that complete the features.

    Samples behind the last whole 10 ms are left out.
    """
    frontend = open_frontend(step_ms)
    pending = b""
    for block in _with_silence(blocks, lead_in):
        samples = pending + block
        whole = len(samples) - len(samples) % FEATURE_STEP_BYTES
        pending = samples[whole:]
        yield samples[:whole], frontend.process(samples[:whole])


def frontend_version(step_ms: int = FEATURE_STEP_MS) -> tuple[str, str]:
    """The name and version of the front-end on this computer."""
    if step_ms == FEATURE_STEP_MS and package_agrees():
        return "pymicro-features", metadata.version("pymicro-features")
    return NUMPY_FRONTEND, NUMPY_VERSION


def package_agrees() -> bool:
    """Whether the package is installed and gives a device's features here.

    It computes the weights of its filterbank with the C library's `log1pf`. A device has newlib's, which glibc had too
    up to 2.40; the correctly rounded one of 2.41 (Debian 13) moves two of 236 weights by 1, and now and then a feature.
    """
    return find_spec("pymicro_features") is not None and same_weights()


@cache
def same_weights() -> bool:
    """Compare one window of two tones, at the frequencies whose weights depend on `log1pf`."""
    from mww.esphome.frontend_numpy import WINDOW, NumpyFrontend

    angles = 2 * np.pi * np.arange(WINDOW) / SAMPLE_RATE
    tones = (9000 * np.sin(4656.25 * angles) + 9000 * np.sin(6906.25 * angles)).astype("<i2").tobytes()
    return np.array_equal(PackageFrontend().process(tones), NumpyFrontend().process(tones))


class Frontend(Protocol):
    """A stream of sound."""

    def process(self, samples: bytes) -> npt.NDArray[np.uint16]:
        """Take whole steps of 10 ms, 16-bit, and return the features uint16 `[slices, 40]` that they complete."""
        ...


def _process_samples(frontend: Any, samples: bytes) -> tuple[list[float], int]:
    """The function of version 2, with version 1."""
    output = frontend.ProcessSamples(samples)
    return output.features, output.samples_read


class PackageFrontend:
    """`pymicro-features`, with as little code around it as possible: a list of floats becomes bytes at once.

    Version 1, which microWakeWord's trainer needs, has a class where version 2 has functions; both give the same.
    """

    def __init__(self) -> None:
        import pymicro_features as package

        if hasattr(package, "process_samples"):
            self._state, self._process = package.create_frontend(), package.process_samples
        else:
            self._state, self._process = package.MicroFrontend(), _process_samples

    def process(self, samples: bytes) -> npt.NDArray[np.uint16]:
        """See `Frontend`."""
        state, process, pack = self._state, self._process, _SLICE.pack
        pieces: list[npt.NDArray[np.uint16]] = []
        floats: list[bytes] = []
        for (step,) in _STEP.iter_unpack(samples):
            features, _ = process(state, step)
            if features:
                floats.append(pack(*features))
                if len(floats) == _PIECE:
                    pieces.append(whole_features(b"".join(floats)))
                    floats.clear()
        whole: npt.NDArray[np.uint16] = np.concatenate([*pieces, whole_features(b"".join(floats))])
        return whole.reshape(-1, FEATURES)


def whole_features(floats: bytes) -> npt.NDArray[np.uint16]:
    """The device's features, uint16 `[n]`, from the package's values, float32: the features divided by 25.6."""
    scaled = np.frombuffer(floats, np.float32) * np.float32(FEATURE_FLOAT_SCALE)
    scaled += np.float32(0.5)
    return scaled.astype(np.uint16)


def open_frontend(step_ms: int = FEATURE_STEP_MS) -> Frontend:
    """Open the front-end with ESPHome's configuration for a step; the package supports only 10 ms.

    Raises:
        UsageError: ESPHome does not allow this step.
    """
    if not 1 <= step_ms <= MAX_FEATURE_STEP_MS:
        raise UsageError(
            f"a feature step of {step_ms} ms", hint=f"1 to {MAX_FEATURE_STEP_MS} ms: 10, or 20 for version 1"
        )
    if step_ms == FEATURE_STEP_MS and package_agrees():
        return PackageFrontend()
    from mww.esphome.frontend_numpy import FrontendSettings, NumpyFrontend

    return NumpyFrontend(FrontendSettings(step_ms))


def quantize_features(features: npt.ArrayLike) -> Slices:
    """Turn front-end features into the model's input by ESPHome's integer rule.

    `clamp((feature * 256 + 333) / 666 - 128)` in int32 (`micro_wake_word.cpp`, `generate_features_`). The features are
    never negative, so that C's division and numpy's are the same.

    Args:
        features: Whole numbers 0..65535, of any integer type and any shape.

    Returns:
        int8 of the same shape.

    Raises:
        FeatureError: Not integers, or outside uint16: floats have lost what the rule rounds.
    """
    values = np.asarray(features)
    if values.dtype.kind not in "iu":
        hint = "multiply floats 0..26 by 25.6 and round them, if they came from the front-end unchanged"
        raise FeatureError(f"features to quantise are {values.dtype}, not the front-end's uint16", hint=hint)
    if values.dtype != np.uint16 and values.size and not 0 <= int(values.min()) <= int(values.max()) <= _UINT16_MAX:
        message = f"{values.min()}..{values.max()}"
        raise FeatureError(
            f"features to quantise are {message}, outside the front-end's 0..{_UINT16_MAX}",
            hint="give the front-end's features: mww features writes them",
        )
    scaled = (values.astype(np.int32) * QUANTIZE_VALUE_SCALE + QUANTIZE_VALUE_DIV // 2) // QUANTIZE_VALUE_DIV
    return np.clip(scaled - 128, -128, 127).astype(np.int8)


def _with_silence(blocks: Iterator[bytes], lead_in: float) -> Iterator[bytes]:
    if not 0 <= lead_in <= MAX_LEAD_IN:
        raise UsageError(f"a lead-in of {shown(lead_in)} seconds", hint=f"0 to {MAX_LEAD_IN} seconds")
    first = next(blocks, b"")  # so that a bad clip is refused before hours of silence are computed
    left = round(lead_in * SAMPLE_RATE) * 2
    while left:
        silence = bytes(min(left, 10 * SAMPLE_RATE * 2))
        left -= len(silence)
        yield silence
    yield first
    yield from blocks
