"""Level, offset, clipping and bandwidth of a clip's sound, and warnings that may explain a model that does not wake.

The limits are far from the values of real recordings (the numbers beside each are measured over recordings of people
and synthetic speech, and over the same clips damaged on purpose), so that good sound has no warning.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from mww.esphome.contract import SAMPLE_RATE

WarningCode = Literal[
    "silence", "quiet", "clipped", "band-limited", "not-speech-like", "constant-output", "never-below-cutoff"
]
"""Kinds of warnings about a clip; the last two are about the model's outputs."""

SOUND_VERSION: Final = "2"
"""To be raised whenever a measure could change."""

LOWEST_DBFS: Final = -120.0
"""Stands for digital silence: the smallest 16-bit level is about -90."""

_FULL_SCALE: Final = 32768
_FRAME: Final = 512
_BIN_HZ: Final = SAMPLE_RATE / _FRAME
_WINDOW: Final = np.hanning(_FRAME)
_PART: Final = 2 * SAMPLE_RATE
"""Samples of each block that suffice to recognise exchanged bytes and doubled sample rates."""
_ENOUGH: Final = 8 * _FRAME
"""Samples (a quarter of a second) below which the spectrum is not used."""

_MANY: Final = 600 * SAMPLE_RATE // _FRAME
"""Frames, ten minutes, after which the spectrum hardly changes: from there on only every `_STEP`-th frame counts."""
_STEP: Final = 8

_SILENCE: Final = 2  # the largest distance from the mean, in steps of 16 bits: nothing, or dither
_QUIET_PEAK_DB: Final = -45.0  # recordings: -7 and above; the same 48 dB lower: -48 and below
_QUIET_RMS_DB: Final = -65.0  # recordings: -28 and above; the same 48 dB lower: -72 and below
_CLIPPED_SHARE: Final = 0.01  # recordings: below 0.0001; driven 30 dB too far: above 0.1
_LOUD_ENOUGH_TO_CLIP: Final = 0.1  # of full scale
_DROP_DB: Final = 35.0  # from 2.5..3.7 kHz to 4.6..7 kHz; recordings: below 23; 8 kHz material: above 53
_FLAT: Final = 0.85  # spectral flatness, 1 is white; recordings: below 0.2; clipped by 30 dB: 0.44; swapped bytes: 0.98
_SMOOTH: Final = 0.5  # correlation of neighbouring samples; recordings: 0.78 and above
_INTERPOLATED: Final = 0.97  # share of every second sample that a straight line gives; recordings: below 0.3
_FLOOR_DB: Final = 10.0  # above the noise of 16-bit rounding
_BELOW_PEAK_DB: Final = 65.0


@dataclass(frozen=True, slots=True)
class ClipWarning:
    """A warning about a clip: it may explain a silent model, or the input cannot be right."""

    code: WarningCode
    message: str


@dataclass(frozen=True, slots=True)
class Sound:
    """The measures of a clip's sound, without the lead-in.

    Attributes:
        peak_dbfs: Largest sample; 0 is full scale, `LOWEST_DBFS` digital silence.
        rms_dbfs: Root mean square about the mean.
        dc: Mean, -1..1.
        clipped: Share of samples at the largest or the smallest value, 0..1, where the clip is loud; else 0.
        bandwidth_hz: Up to where there is more than rounding noise; None where the clip is too short to tell.
        drop_db: How far the band above 4.6 kHz lies below the one under 3.7 kHz.
        flatness: Of the spectrum: 0 is a tone, 1 is white noise.
        smoothness: Correlation of neighbouring samples, -1..1.
        swapped_smoothness: The same with the two bytes of each sample exchanged.
        interpolated: Share of every second sample that lies on the line between its neighbours, 0..1.
        distance: Largest distance of a sample from the mean, in steps of 16 bits.
        converted_from: The format that the samples were converted from; None where they are the file's own.
    """

    peak_dbfs: float
    rms_dbfs: float
    dc: float
    clipped: float
    bandwidth_hz: float | None
    drop_db: float
    flatness: float
    smoothness: float
    swapped_smoothness: float
    interpolated: float
    distance: float
    converted_from: str | None = None

    def warnings(self) -> tuple[ClipWarning, ...]:
        """Warnings about the sound, causes before their consequences."""
        return tuple(_warnings(self))


class SoundMeter:
    """Measures samples as they stream, block by block; memory does not grow with the clip."""

    def __init__(self) -> None:
        self.converted_from: str | None = None
        self._samples = 0
        self._sum = self._squares = 0.0
        self._low, self._high = 0, 0
        self._at_low = self._at_high = 0
        self._products, self._swapped = [0.0, 0.0], [0.0, 0.0]
        self._on_line, self._pairs = [0, 0], [0, 0]
        self._power = np.zeros(_FRAME // 2 + 1)
        self._frames = 0
        self._recalled: Sound | None = None

    def convert(self, source: str) -> None:
        """Note that the samples were converted from another format."""
        self.converted_from = source

    def recall(self, sound: Sound) -> None:
        """Take earlier measures of the same samples."""
        self._recalled = sound

    def hear(self, block: bytes) -> None:
        """Take more little-endian int16 samples."""
        samples = np.frombuffer(block, "<i2")
        if not len(samples):
            return
        values = samples.astype(np.float64)
        self._hear_levels(samples, values)
        _correlate(self._products, values)
        _correlate(self._swapped, np.frombuffer(block, ">i2")[:_PART].astype(np.float64))
        self._hear_lines(samples[:_PART].astype(np.int32))
        self._hear_spectrum(values)
        self._samples += len(samples)

    def result(self) -> Sound | None:
        """The measures; None where there were no samples."""
        if self._recalled is not None:
            return replace(self._recalled, converted_from=self.converted_from)
        count = self._samples
        if not count:
            return None
        mean = self._sum / count
        low, high = self._low, self._high
        loud = max(high, -low) >= _LOUD_ENOUGH_TO_CLIP * _FULL_SCALE
        power = self._power / self._frames if self._frames else None
        return Sound(
            peak_dbfs=_decibels(max(high, -low) / _FULL_SCALE),
            rms_dbfs=_decibels(math.sqrt(max(0.0, self._squares / count - mean * mean)) / _FULL_SCALE),
            dc=mean / _FULL_SCALE,
            clipped=self._clipped() if loud else 0.0,
            bandwidth_hz=None if power is None else _bandwidth(power),
            drop_db=0.0 if power is None else _level(power, 2500, 3700) - _level(power, 4600, 7000),
            flatness=0.0 if power is None else _flatness(power),
            smoothness=_ratio(self._products),
            swapped_smoothness=_ratio(self._swapped),
            interpolated=max(
                on / pairs if pairs else 0.0 for on, pairs in zip(self._on_line, self._pairs, strict=True)
            ),
            distance=max(high - mean, mean - low),
            converted_from=self.converted_from,
        )

    def _hear_levels(self, samples: npt.NDArray[np.int16], values: npt.NDArray[np.float64]) -> None:
        low, high = int(samples.min()), int(samples.max())
        if not self._samples:
            self._low, self._high = low, high
        if low < self._low:
            self._low, self._at_low = low, 0
        if high > self._high:
            self._high, self._at_high = high, 0
        self._at_low += int(np.count_nonzero(samples == self._low))
        self._at_high += int(np.count_nonzero(samples == self._high))
        self._sum += float(values.sum())
        self._squares += float(values @ values)

    def _clipped(self) -> float:
        """The share of samples at the limits; every clip has a single largest sample."""
        at_rails = sum(count for count in (self._at_low, self._at_high) if count > 1)
        return at_rails / self._samples

    def _hear_lines(self, samples: npt.NDArray[np.int32]) -> None:
        """Count samples on a straight line between their neighbours, for even and odd ones: a doubled sample rate."""
        for parity in (0, 1):
            left, middle, right = samples[parity:-2:2], samples[parity + 1 : -1 : 2], samples[parity + 2 :: 2]
            size = min(len(left), len(middle), len(right))
            left, middle, right = left[:size], middle[:size], right[:size]
            moving = np.abs(right - left) > 4  # a constant part lies on every line
            near = np.abs(2 * middle - left - right) <= 2
            repeated = middle == left
            self._on_line[parity] += int(np.count_nonzero((near | repeated) & moving))
            self._pairs[parity] += int(np.count_nonzero(moving))

    def _hear_spectrum(self, values: npt.NDArray[np.float64]) -> None:
        whole = len(values) // _FRAME * _FRAME
        if whole < _ENOUGH:
            return
        step = 1 if self._frames < _MANY else _STEP
        frames = (values[:whole].reshape(-1, _FRAME)[::step] - values.mean()) * _WINDOW
        spectra = np.fft.rfft(frames, axis=1)
        self._power += (spectra.real**2 + spectra.imag**2).sum(axis=0) / (_WINDOW @ _WINDOW)
        self._frames += len(frames)


def _warnings(sound: Sound) -> Iterator[ClipWarning]:
    if sound.distance <= _SILENCE:
        yield ClipWarning("silence", "the clip is silent: the microphone, its channel or the recording gave nothing")
        return
    if 20 * math.log10(sound.distance / _FULL_SCALE) < _QUIET_PEAK_DB or sound.rms_dbfs < _QUIET_RMS_DB:
        level = f"peak {sound.peak_dbfs:.0f} dBFS, RMS {sound.rms_dbfs:.0f} dBFS"
        yield ClipWarning("quiet", f"the clip is far too quiet ({level}): raise the gain; speech peaks at -20 or above")
    if sound.clipped >= _CLIPPED_SHARE:
        share = f"{100 * sound.clipped:.0f} % of its samples are at the limit"
        yield ClipWarning("clipped", f"the clip is clipped ({share}): lower the gain of the microphone")
    if sound.bandwidth_hz is None:
        return
    if sound.flatness > _FLAT:
        cause = "it resembles noise"
        if sound.swapped_smoothness > _SMOOTH > sound.smoothness:
            cause = "the two bytes of each sample are exchanged: write it as little-endian"
        yield ClipWarning("not-speech-like", f"the clip does not resemble speech: {cause}")
    elif sound.drop_db > _DROP_DB or sound.interpolated > _INTERPOLATED:
        yield ClipWarning(
            "band-limited",
            f"the clip holds nothing above {min(sound.bandwidth_hz, 4000):.0f} Hz: it was recorded at 8 kHz, or plays "
            "at half its speed; record at 16 kHz",
        )


def _correlate(sums: list[float], samples: npt.NDArray[np.float64]) -> None:
    """Add a block's products of neighbouring samples, and of each sample with itself."""
    sums[0] += float(samples[1:] @ samples[:-1])
    sums[1] += float(samples @ samples)


def _ratio(sums: list[float]) -> float:
    return sums[0] / sums[1] if sums[1] else 0.0


def _level(power: npt.NDArray[np.float64], low: float, high: float) -> float:
    """The mean of a band in decibels above 16-bit rounding noise, at least 0."""
    band = power[round(low / _BIN_HZ) : round(high / _BIN_HZ)]
    return max(0.0, 10 * math.log10(max(float(band.mean()) * 12, 1e-9)))


def _bandwidth(power: npt.NDArray[np.float64]) -> float:
    levels = 10 * np.log10(np.maximum(power * 12, 1e-9))
    used = np.flatnonzero(levels > max(_FLOOR_DB, float(levels.max()) - _BELOW_PEAK_DB))
    return float(used[-1] * _BIN_HZ) if len(used) else 0.0


def _flatness(power: npt.NDArray[np.float64]) -> float:
    bins = np.maximum(power[8:], 1e-9)  # from 250 Hz: hum is not speech
    return float(np.exp(np.log(bins).mean()) / bins.mean())


def _decibels(ratio: float) -> float:
    return max(LOWEST_DBFS, 20 * math.log10(ratio)) if ratio > 0 else LOWEST_DBFS
