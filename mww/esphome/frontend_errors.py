"""Errors of a device's front-end: they can be planted on a virtual board, and a run recognises them by the features.

Each is a change of settings, of the sound before the front-end, or of the features after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from mww.esphome.contract import FEATURE_FLOAT_SCALE, FEATURE_MAX
from mww.esphome.frontend import Slices, quantize_features
from mww.esphome.frontend_numpy import FrontendSettings, NumpyFrontend

Samples = npt.NDArray[np.int16]
Features = npt.NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class FrontendError:
    """An error of a front-end.

    Attributes:
        kind: Its name in `--fault frontend=KIND`.
        account: The error, as the end of a sentence that begins with "the front-end".
        look_at: The part of the firmware to check.
        change: The change of the settings.
        sound: What happens to samples before the front-end.
        quantize: What turns features into the model's input.
        keeps_state: Whether it goes on where the last stream ended.
    """

    kind: str
    account: str
    look_at: str
    change: Callable[[FrontendSettings], FrontendSettings] = lambda settings: settings
    sound: Callable[[Samples], Samples] = lambda samples: samples
    quantize: Callable[[Features], Slices] = quantize_features
    keeps_state: bool = False

    def features(self, sound: bytes, before: bytes, step_ms: int) -> Slices:
        """The features for little-endian int16 samples; `before` are the samples of earlier streams."""
        frontend = NumpyFrontend(self.change(FrontendSettings(step_ms)))
        if self.keeps_state:
            frontend.process(before)
        return self.quantize(frontend.process(self.sound(np.frombuffer(sound, "<i2")).tobytes()))


def _other_step(step_ms: int) -> FrontendError:
    return FrontendError(
        "step",
        f"makes a slice each {step_ms} ms",
        "window.step_size_ms: the manifest's feature_step_size",
        change=lambda settings: replace(settings, step_ms=step_ms),
    )


def _louder(shift: int) -> FrontendError:
    factor = f"{2**shift} times as loud" if shift > 0 else f"at 1/{2**-shift} of its level"
    return FrontendError(
        "volume",
        f"hears the sound {factor}",
        "the samples before it: gain_factor, a shift of bits, the width of a sample",
        sound=lambda samples: _scaled(samples, shift),
    )


def _scaled(samples: Samples, shift: int) -> Samples:
    wide = samples.astype(np.int32)
    scaled: Samples = np.clip(wide << shift if shift > 0 else wide >> -shift, -32768, 32767).astype(np.int16)
    return scaled


def _quantize_by_float(features: Features) -> Slices:
    """Quantise with the float scale of a model's input: close to ESPHome's integer rule, but not equal."""
    scaled = np.rint(features / FEATURE_FLOAT_SCALE * (255 / FEATURE_MAX)) - 128
    quantized: Slices = np.clip(scaled, -128, 127).astype(np.int8)
    return quantized


_GAIN: Final = FrontendError(
    "gain",
    "runs without its gain control",
    "pcan_gain_control.enable_pcan: 1 in ESPHome, 0 in the library's defaults",
    change=lambda settings: replace(settings, gain_control=False),
)
_NOISE: Final = FrontendError(
    "noise-reduction",
    "runs without its noise reduction",
    "noise_reduction.min_signal_remaining: 0.05",
    change=lambda settings: replace(settings, min_signal_remaining=1.0),
)
_SMOOTHING: Final = FrontendError(
    "smoothing",
    "exchanges the noise smoothing of even and odd features",
    "noise_reduction.even_smoothing and odd_smoothing: 0.025 and 0.06",
    change=lambda settings: replace(
        settings, even_smoothing=settings.odd_smoothing, odd_smoothing=settings.even_smoothing
    ),
)
_LOG: Final = FrontendError(
    "log",
    "gives no logarithms",
    "log_scale.enable_log: 1",
    change=lambda settings: replace(settings, log=False),
)
_BYTE_ORDER: Final = FrontendError(
    "byte-order",
    "hears samples with their two bytes exchanged",
    "the samples before it: they are little-endian",
    sound=lambda samples: samples.byteswap(),
)
_QUANTISER: Final = FrontendError(
    "quantiser",
    "is right, but its features are quantised with the model's float scale instead of ESPHome's integer rule",
    "int8 = clamp((feature * 256 + 333) / 666 - 128), in integers",
    quantize=_quantize_by_float,
)
_NO_RESET: Final = FrontendError(
    "noreset",
    "is not reset between clips: it continues from the sound before",
    "the start of a stream: FrontendPopulateState or FrontendReset",
    keeps_state=True,
)
_STEPS: Final = (10, 20, 30, 5, 15, 25)
_SHIFTS: Final = (-1, 1, -2, 2, -3, 3, -4, 4, -8)


def planted(kind: str, step_ms: int) -> FrontendError:
    """The error of that kind for a virtual board with a step of `step_ms`."""
    errors = {error.kind: error for error in reversed(list(known_errors(step_ms)))}
    return errors[kind]


def known_errors(step_ms: int) -> Iterator[FrontendError]:
    """Every error that is recognised at a step of `step_ms`, the likelier of a kind first."""
    yield _NO_RESET
    yield from (_other_step(step) for step in _STEPS if step != step_ms)
    yield from (_GAIN, _NOISE, _SMOOTHING, _LOG, _QUANTISER, _BYTE_ORDER)
    yield from map(_louder, _SHIFTS)


ERROR_KINDS: Final = tuple(dict.fromkeys(error.kind for error in known_errors(0)))
"""Every kind."""
