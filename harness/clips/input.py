"""Measures a clip's input while it streams: its sound, or whether its features can come from the front-end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from harness.clips.clip import AudioClip, Clip
from harness.clips.sound import ClipWarning, Sound, SoundMeter
from mww.esphome.contract import FEATURES
from mww.esphome.frontend import Slices

_LOWEST: Final = -128
_LEAST_LOWEST: Final = 0.1  # share of values at the lowest; recordings: 0.67 and above, white noise: 0.62
_LEAST_STEADY: Final = 0.25  # correlation of neighbouring slices; recordings: 0.86 and above, an impulse train: 0.46
_ENOUGH: Final = 100  # slices, a second


InputSource = Literal["wav", "converted", "features"]


class FeatureMeter:
    """Measures slices as they stream; memory does not grow with the clip."""

    def __init__(self) -> None:
        self._slices = 0
        self._lowest = 0
        self._sum = np.zeros(FEATURES)
        self._squares = np.zeros(FEATURES)
        self._products = np.zeros(FEATURES)

    def see(self, block: Slices) -> None:
        """Take more slices, int8 `[n, 40]`."""
        values = block.astype(np.float32)
        self._slices += len(block)
        self._lowest += int(np.count_nonzero(block == _LOWEST))
        self._sum += values.sum(axis=0, dtype=np.float64)
        self._squares += np.einsum("tc,tc->c", values, values, dtype=np.float64)
        self._products += np.einsum("tc,tc->c", values[1:], values[:-1], dtype=np.float64)

    def warnings(self) -> tuple[ClipWarning, ...]:
        """Warnings about the features; also about silence."""
        if not self._slices:
            return ()
        if self._lowest == self._slices * FEATURES:
            return (ClipWarning("silence", "every feature is the lowest: the clip was silent"),)
        if self._slices < _ENOUGH or (self._lowest >= _LEAST_LOWEST * self._slices * FEATURES and self._is_steady()):
            return ()
        message = "no front-end gives such features: were they scaled, shuffled, transposed or made at random?"
        return (ClipWarning("not-speech-like", f"{message} mww features makes them from sound"),)

    def _is_steady(self) -> bool:
        means = self._sum / self._slices
        variance = float((self._squares - self._slices * means**2).sum())
        covariance = float((self._products - self._slices * means**2).sum())
        return variance <= 0 or covariance >= _LEAST_STEADY * variance


@dataclass(frozen=True, slots=True)
class ClipInput:
    """The input of a clip.

    Attributes:
        source: `wav`: a file in the front-end's own format; `converted`: another sound format; `features`: no sound.
        sound: Its measures; None without sound.
        warnings: What may explain a model that does not wake.
    """

    source: InputSource
    sound: Sound | None
    warnings: tuple[ClipWarning, ...]


class InputMeter:
    """Passes a clip's blocks on and measures their source."""

    def __init__(self) -> None:
        self._sound: SoundMeter | None = None
        self._features = FeatureMeter()

    def blocks(self, clip: Clip) -> Iterator[Slices]:
        """The clip's slices, in order, block by block."""
        if isinstance(clip, AudioClip):
            self._sound = SoundMeter()
            yield from clip.blocks(self._sound)
            return
        for block in clip.blocks():
            self._features.see(block)
            yield block

    def sound(self, clip: AudioClip) -> Iterator[tuple[bytes, Slices]]:
        """The clip's samples and the slices that they complete, block by block."""
        self._sound = SoundMeter()
        return clip.sound(self._sound)

    def result(self) -> ClipInput:
        """The input of the blocks so far."""
        if self._sound is None:
            return ClipInput("features", None, self._features.warnings())
        sound = self._sound.result()
        source: InputSource = "converted" if self._sound.converted_from else "wav"
        return ClipInput(source, sound, () if sound is None else sound.warnings())
