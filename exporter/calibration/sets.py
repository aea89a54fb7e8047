"""Calibration frames: clips on the right scale, anchored at both ends of the input's range.

A wrongly scaled set gives a model that loads, looks right and never wakes; so the scale is judged before the anchors
hide it. The clips come from `exporter.calibration.feature_sets`'s business.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from exporter.calibration.feature_sets import MAX_CLIPS, clips_from_array
from exporter.network.architecture import FloatArray
from mww.core.errors import CalibrationError
from mww.core.readable import shown
from mww.esphome.contract import FEATURE_FLOAT_SCALE, FEATURE_MAX, FEATURES, MAX_STRIDE

MINIMUM_CLIPS: Final = 500
"""Number of clips with which the official trainer calibrates."""

_LEAST_PEAK: Final = 2.0
_GREATEST_PEAK: Final = 27.0
"""The range of the largest value of front-end features; 26 stands for int8 127, and loud clips exceed it a little."""

_RANDOM_SLICES: Final = 99


@dataclass(frozen=True, eq=False)
class RepresentativeDataset:
    """Frames in the order in which the network hears them; calling it gives the generator for TensorFlow's converter.

    Attributes:
        frames: float32 [frames, stride, 40], 0..26, the first frame anchored at 0.0 and 26.0.
        clips: Number of their clips.
        source: A path, or `random`.
    """

    frames: FloatArray
    clips: int
    source: str

    def __call__(self) -> Iterator[list[FloatArray]]:
        """Yield `[float32 [1, stride, 40]]` for each frame."""
        for frame in self.frames:
            yield [frame[None]]

    @property
    def is_random(self) -> bool:
        """Whether no clip was given, so that the network's outputs for its wake word are unknown."""
        return self.source == RANDOM


RANDOM: Final = "random"


def create_default_representative_dataset(
    *, stride: int = 3, clips: int = MINIMUM_CLIPS, seed: int = 0
) -> RepresentativeDataset:
    """Make random features, anchored at 0.0 and 26.0: a stand-in where there are no real ones."""
    _check_stride(stride)
    if not 1 <= clips <= MAX_CLIPS or seed < 0:
        message = f"{shown(clips)} random clips with the seed {shown(seed)}"
        raise CalibrationError(message, hint=f"1 to {MAX_CLIPS} clips, and a seed of 0 or more")
    random = np.random.default_rng(seed)
    features = random.uniform(0, FEATURE_MAX, (clips, _RANDOM_SLICES, FEATURES)).astype(np.float32)
    return RepresentativeDataset(anchored_frames(list(features), stride), clips, RANDOM)


def create_representative_dataset_from_data(
    features: npt.ArrayLike, *, stride: int = 3, minimum: int = MINIMUM_CLIPS
) -> RepresentativeDataset:
    """Make a representative dataset of front-end features.

    Args:
        features: [clips, slices, 40], or a sequence of [slices, 40]: uint16 as the front-end gives them, or floats
            0..26.
        stride: Slices a frame.
        minimum: The least number of clips.

    Raises:
        CalibrationError: Too few clips, another shape or type, NaN, or another scale.
    """
    return representative_dataset(clips_from_array(features), "features", stride=stride, minimum=minimum)


def representative_dataset(
    clips: Sequence[FloatArray], source: str, *, stride: int, minimum: int = MINIMUM_CLIPS
) -> RepresentativeDataset:
    """Check clips on the scale 0..26, and make frames of them.

    Raises:
        CalibrationError: Too few clips, NaN, or another scale.
    """
    _check_stride(stride)
    clips = [clip for clip in clips if len(clip)]
    if len(clips) < max(minimum, 1):
        raise CalibrationError(
            f"{len(clips)} calibration clips; at least {shown(max(minimum, 1))} are needed",
            hint="give more clips, or --allow-small-calibration",
        )
    check_scale(clips)
    return RepresentativeDataset(anchored_frames(clips, stride), len(clips), source)


def _check_stride(stride: int) -> None:
    if not 1 <= stride <= MAX_STRIDE:
        hint = f"give a stride of 1 to {MAX_STRIDE}, as in the training configuration"
        raise CalibrationError(f"a stride of {shown(stride)}", hint=hint)


def check_shape(frames: FloatArray, shape: tuple[int, ...]) -> None:
    """Refuse frames that do not have the shape [frames, stride, 40] of the model's input.

    Raises:
        CalibrationError: They have another shape.
    """
    if (1, *frames.shape[1:]) != shape:
        message = f"the calibration frames have shape {[1, *frames.shape[1:]]}, the model takes {list(shape)}"
        raise CalibrationError(message, hint="give the dataset the model's stride")


def check_scale(clips: Sequence[FloatArray]) -> None:
    """Refuse features that are not on the scale 0..26.

    Raises:
        CalibrationError: They are not; the message names the likely cause.
    """
    lows, peaks = (np.array([limit(clip) for clip in clips]) for limit in (np.min, np.max))
    if not np.isfinite([lows, peaks]).all():  # min and max of anything with a NaN are NaN
        raise CalibrationError("the calibration features hold NaN or infinity", hint="find the broken clip")
    lowest, peak = lows.min(), peaks.max()
    message = f"the calibration features go from {lowest:.4g} to {peak:.4g}, not from 0 to about {FEATURE_MAX:g}"
    if lowest < 0:
        raise CalibrationError(message, hint="front-end features are never negative; they may be normalised")
    if peak < _LEAST_PEAK:
        raise CalibrationError(message, hint=f"scaled to 0..1? Multiply by {FEATURE_MAX:g}, or give uint16 features")
    if peak > _GREATEST_PEAK:
        cause = f"raw front-end values? Give them as uint16, or divide by {FEATURE_FLOAT_SCALE}"
        raise CalibrationError(message, hint=cause)


def anchored_frames(clips: Sequence[FloatArray], stride: int) -> FloatArray:
    """All clips in sequence as frames [frames, stride, 40]; two cells of the first frame fix the input's range.

    No slice is dropped: the last slice is repeated to fill the last frame. Values above 26 become 26, as on the device,
    whose int8 ends there.
    """
    line = np.concatenate(clips)
    line = np.concatenate([line, np.repeat(line[-1:], -len(line) % stride, axis=0)])
    np.clip(line, 0, FEATURE_MAX, out=line)
    line[0, :2] = 0.0, FEATURE_MAX
    return line.reshape(-1, stride, FEATURES)
