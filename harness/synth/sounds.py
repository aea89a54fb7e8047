"""Sound that is not one person's speech, by seed: noise that comes and goes, babble, tones, something like music."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from harness.synth.effects import NOISES, noise
from harness.synth.speech import Samples
from mww.esphome.contract import SAMPLE_RATE

_SCALES: Final = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 3, 5, 7, 10))
"""Semitones: major, minor, pentatonic."""


def noises(length: int, random: np.random.Generator) -> Samples:
    """Noises after each other, each swelling and fading."""
    result = np.zeros(length)
    start = 0
    while start < length:
        size = int(random.uniform(1, 8) * SAMPLE_RATE)
        swell = 0.2 + np.sin(math.pi * np.arange(size) / size) * random.uniform(0.3, 1.0)
        _add(result, start, noise(NOISES[int(random.integers(len(NOISES)))], size, random) * swell)
        start += size
    return result * 0.1


def tones(length: int, random: np.random.Generator) -> Samples:
    """Beeps, chords of two tones and sweeps, as appliances, telephones and alarms give them."""
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
    """Several people who speak at once, again and again from another place, all about as loud."""
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
    """One, with edges that rise and fall in so many seconds."""
    edge = np.arange(1, size + 1) / (seconds * SAMPLE_RATE)
    return np.minimum(1.0, np.minimum(edge, edge[::-1]))


def _add(result: Samples, start: int, piece: Samples) -> None:
    """Add a piece at its place, as far as it fits."""
    end = min(len(result), start + len(piece))
    if end > start:
        result[start:end] += piece[: end - start]
