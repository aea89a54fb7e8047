"""What a clip is made from, measured while it is streamed: its sound where there is some, else its features."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from harness.clips.clip import AudioClip, Clip
from harness.clips.feature_check import FeatureMeter
from harness.clips.sound import ClipWarning, Sound, SoundMeter
from mww.esphome.frontend import Slices


@dataclass(frozen=True, slots=True)
class ClipInput:
    """What came in.

    Attributes:
        source: `wav`: a file as the front-end takes it; `converted`: another format; `features`: no sound was given.
        sound: None without one.
        warnings: What explains a model that stays silent.
    """

    source: Literal["wav", "converted", "features"]
    sound: Sound | None
    warnings: tuple[ClipWarning, ...]


class InputMeter:
    """Hands on a clip's blocks and measures what they are made from."""

    def __init__(self) -> None:
        self._sound: SoundMeter | None = None
        self._features = FeatureMeter()

    def blocks(self, clip: Clip) -> Iterator[Slices]:
        """The clip's slices, in order, some at a time."""
        if isinstance(clip, AudioClip):
            self._sound = SoundMeter()
            yield from clip.blocks(self._sound)
            return
        for block in clip.blocks():
            self._features.see(block)
            yield block

    def result(self) -> ClipInput:
        """What the blocks so far were made from."""
        if self._sound is None:
            return ClipInput("features", None, self._features.warnings())
        sound = self._sound.result()
        source: Literal["wav", "converted"] = "converted" if self._sound.converted_from else "wav"
        return ClipInput(source, sound, () if sound is None else sound.warnings())
