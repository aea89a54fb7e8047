"""Sound without speech, and effects on speech: noise, babble, tones; pitch, room, band limits, gain.

The effects are mild on purpose: with them, the recall on synthetic clips of a word agreed with the recall on real clips
within its error; with strong noise it did not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np

from harness.synth.speech import Samples, fast_length, resample
from mww.esphome.contract import SAMPLE_RATE

_SCALES: Final = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 3, 5, 7, 10))
"""Scales in semitones: major, minor, pentatonic."""

NoiseKind = Literal["white", "pink", "brown", "hum"]
NOISES: Final[tuple[NoiseKind, ...]] = get_args(NoiseKind)

PITCH: Final = (-2.0, 3.0)
"""Semitones, by playing faster or slower: formants and tempo change too, as with a larger or smaller speaker."""
ROOM_S: Final = (0.1, 0.35)
"""Seconds in which a room's echo falls by 60 dB, for furnished rooms."""
ROOMS: Final = 0.7
"""Share of clips in a room; the others are dry."""
DIRECT_DB: Final = (4.0, 14.0)
"""Decibels of the direct sound above the whole echo."""
SNR_DB: Final = (15.0, 35.0)
"""Decibels of speech above noise, both as RMS."""
LOW_HZ: Final = (40.0, 200.0)
HIGH_HZ: Final = (6000.0, 7900.0)
"""The band of a microphone, with limits at -3 dB."""
PEAK_DBFS: Final = (-18.0, -3.0)

_ORDER: Final = 4  # of the band's edges
_EXPONENTS: Final = {"white": 0.0, "pink": 0.5, "brown": 1.0}
_HARMONICS: Final = 12


def noises(length: int, random: np.random.Generator) -> Samples:
    """Noises in sequence, each with a rise and a fall."""
    result = np.zeros(length)
    start = 0
    while start < length:
        size = int(random.uniform(1, 8) * SAMPLE_RATE)
        swell = 0.2 + np.sin(math.pi * np.arange(size) / size) * random.uniform(0.3, 1.0)
        _add(result, start, noise(NOISES[int(random.integers(len(NOISES)))], size, random) * swell)
        start += size
    return result * 0.1


def tones(length: int, random: np.random.Generator) -> Samples:
    """Beeps, chords of two tones and sweeps, as from appliances, telephones and alarms."""
    result = np.zeros(length)
    start = 0
    while start < length:
        size = int(random.uniform(0.05, 1.2) * SAMPLE_RATE)
        time = np.arange(size) / SAMPLE_RATE
        first, second = random.uniform(200, 3500, 2)
        if random.random() < 0.3:
            wave = np.sin(2 * math.pi * (first * time + (second - first) * time**2 / (2 * size / SAMPLE_RATE)))
        else:
            wave = np.sin(2 * math.pi * first * time) + (random.random() < 0.5) * np.sin(2 * math.pi * second * time)
        for _ in range(int(random.integers(1, 5))):  # a signal repeats itself
            _add(result, start, 0.2 * wave * _envelope(size, 0.005))
            start += int(size * random.uniform(1.1, 2.0))
        start += int(random.uniform(0, 1.5) * SAMPLE_RATE)
    return result


def music(length: int, random: np.random.Generator) -> Samples:
    """Chords, a melody with overtones and vibrato, and drums of noise, in a key and a tempo."""
    result = np.zeros(length)
    beat = int(random.uniform(0.35, 0.75) * SAMPLE_RATE)
    root, scale = random.uniform(110, 220), _SCALES[int(random.integers(len(_SCALES)))]
    overtones = random.uniform(0.2, 1.0, 6) / np.arange(1, 7)
    degree = 0
    for number, start in enumerate(range(0, length, beat)):
        if number % 4 == 0:
            chord = int(random.integers(len(scale)))
            for step in (0, 2, 4):
                _add(result, start, 0.05 * _note(_pitch(root, scale, chord + step), 4 * beat, overtones, random))
        degree = int(np.clip(degree + random.integers(-2, 3), 0, 13))
        if random.random() < 0.8:
            _add(result, start, 0.12 * _note(_pitch(2 * root, scale, degree), beat, overtones, random))
        drum = noise("white" if number % 2 else "brown", beat // 3, random)
        _add(result, start, 0.08 * drum * np.exp(-np.arange(len(drum)) / (0.03 * SAMPLE_RATE)))
    return result


def babble(voices: Sequence[Samples], length: int, random: np.random.Generator) -> Samples:
    """Several people who speak at once, each with text from random places, at similar levels."""
    result = np.zeros(length)
    for voice in voices:
        if len(voice):
            level = math.sqrt(float(np.mean(voice**2))) or 1.0
            repeated = np.resize(np.roll(voice, int(random.integers(len(voice)))), length)
            result += repeated * (0.05 * random.uniform(0.7, 1.0) / level)
    return result


def _note(frequency: float, size: int, overtones: Samples, random: np.random.Generator) -> Samples:
    time = np.arange(size) / SAMPLE_RATE
    phase = 2 * math.pi * frequency * time + random.uniform(0, 2) * np.sin(2 * math.pi * 5.5 * time)
    result = np.zeros(size)
    for number, level in enumerate(overtones, start=1):
        if number * frequency < SAMPLE_RATE / 2:
            result += level * np.sin(number * phase)
    faded: Samples = result * _envelope(size, 0.02) * np.exp(-2.0 * time / (size / SAMPLE_RATE))
    return faded


def _pitch(root: float, scale: Sequence[int], degree: int) -> float:
    octave, step = divmod(degree, len(scale))
    return float(root * 2 ** (octave + scale[step] / 12))


def _envelope(size: int, seconds: float) -> Samples:
    """The value 1, with edges that rise and fall in `seconds`."""
    edge = np.arange(1, size + 1) / (seconds * SAMPLE_RATE)
    return np.minimum(1.0, np.minimum(edge, edge[::-1]))


def _add(result: Samples, start: int, piece: Samples) -> None:
    """Add a piece at its place, as far as it fits."""
    end = min(len(result), start + len(piece))
    if end > start:
        result[start:end] += piece[: end - start]


@dataclass(frozen=True, slots=True)
class Effects:
    """The effects on a clip, in this order.

    Attributes:
        pitch: Semitones.
        room_s: Seconds to -60 dB; 0 without a room.
        direct_db: Decibels of the direct sound above the echo.
        noise: The kind of noise.
        snr_db: Decibels of sound above noise.
        low_hz: Lower limit of the band.
        high_hz: Upper limit of the band.
        peak_dbfs: The largest sample at the end.
    """

    pitch: float
    room_s: float
    direct_db: float
    noise: NoiseKind
    snr_db: float
    low_hz: float
    high_hz: float
    peak_dbfs: float


def draw_effects(random: np.random.Generator) -> Effects:
    """Draw random effects; numbers are rounded, so that clips.csv gives them exactly."""

    def draw(span: tuple[float, float], digits: int) -> float:
        return round(float(random.uniform(*span)), digits)

    in_room = random.random() < ROOMS
    return Effects(
        pitch=draw(PITCH, 1),
        room_s=draw(ROOM_S, 2) if in_room else 0.0,
        direct_db=draw(DIRECT_DB, 1),
        noise=NOISES[int(random.integers(len(NOISES)))],
        snr_db=draw(SNR_DB, 1),
        low_hz=draw(LOW_HZ, 0),
        high_hz=draw(HIGH_HZ, 0),
        peak_dbfs=draw(PEAK_DBFS, 1),
    )


def repitch(samples: Samples, semitones: float) -> Samples:
    """Play sound at another speed, which changes its pitch."""
    return resample(samples, SAMPLE_RATE * 2 ** (semitones / 12))


def apply_effects(samples: Samples, effects: Effects, random: np.random.Generator) -> Samples:
    """Put sound into a room with noise, before a microphone; the length stays.

    Silence gets only the noise, at a level for speech at -26 dBFS.
    """
    result = _in_room(samples, effects, random) if effects.room_s else samples
    level = active_rms(result) or 0.05
    result = result + noise(effects.noise, len(result), random) * (level * 10 ** (-effects.snr_db / 20))
    return at_peak(_in_band(result, effects), effects.peak_dbfs)


def noise(kind: NoiseKind, length: int, random: np.random.Generator) -> Samples:
    """Noise with an RMS of 1; `hum` is mains hum with its harmonics."""
    if kind == "hum":
        time, mains = np.arange(length) / SAMPLE_RATE, 50.0 if random.random() < 0.5 else 60.0
        result = np.zeros(length)
        for number in range(1, _HARMONICS + 1):
            phase, level = random.uniform(0, 2 * math.pi), random.uniform(0.1, 1) / number
            result += level * np.sin(2 * math.pi * mains * number * time + phase)
    else:
        spectrum = np.fft.rfft(random.standard_normal(length))
        spectrum /= np.maximum(np.arange(len(spectrum)), 1 + length * 20 / SAMPLE_RATE) ** _EXPONENTS[kind]
        result = np.fft.irfft(spectrum, length)
    return result / (math.sqrt(float(np.mean(result**2))) or 1.0)


def active_rms(samples: Samples) -> float:
    """The RMS of the tenths of a second that are not far quieter than the loudest; 0 for silence."""
    whole = len(samples) // 1600 * 1600
    if not whole:
        return math.sqrt(float(np.mean(samples**2))) if len(samples) else 0.0
    power = (samples[:whole].reshape(-1, 1600) ** 2).mean(axis=1)
    return math.sqrt(float(power[power >= power.max() / 100].mean()))


def at_peak(samples: Samples, dbfs: float) -> Samples:
    """Sound scaled to a peak level; silence stays."""
    peak = float(np.abs(samples).max(initial=0.0))
    return samples * (10 ** (dbfs / 20) / peak) if peak else samples


def _in_room(samples: Samples, effects: Effects, random: np.random.Generator) -> Samples:
    """Sound with an echo of exponentially falling noise, which resembles many late echoes."""
    length = int(effects.room_s * SAMPLE_RATE)
    tail = random.standard_normal(length) * 10 ** (-3 * np.arange(length) / length)
    tail *= 10 ** (-effects.direct_db / 20) / math.sqrt(float(np.sum(tail**2)))
    tail[0] += 1.0
    size = fast_length(len(samples) + length)
    return np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(tail, size), size)[: len(samples)]


def _in_band(samples: Samples, effects: Effects) -> Samples:
    frequency = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    low = 1 / np.sqrt(1 + (effects.low_hz / np.maximum(frequency, 0.1)) ** (2 * _ORDER))
    high = 1 / np.sqrt(1 + (frequency / effects.high_hz) ** (2 * _ORDER * 4))
    return np.fft.irfft(np.fft.rfft(samples) * low * high, len(samples))
