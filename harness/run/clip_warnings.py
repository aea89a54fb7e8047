"""Outputs that explain a model which never wakes: the same at every inference, or never below the cutoff."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

from harness.clips.sound import ClipWarning
from harness.run.results import ClipResult
from mww.esphome.contract import MIN_SLICES_BEFORE_DETECTION
from mww.esphome.model import Model
from mww.tflite.model_file import read_model
from mww.verification.bounds import output_bounds
from mww.verification.rules import Subject

_CAUSES: Final = ("silence",)
"""What in the input makes any model's output constant."""


def with_warnings(model: Model, clips: Sequence[ClipResult], positive: Collection[str]) -> tuple[ClipResult, ...]:
    """The results with what came in and what came out that is suspicious; `positive` are the clips with the word.

    A good model gives 0 all through many a clip without the word. So a constant 0 is only suspicious where the model
    can give nothing else, or where the word is in the clip; and any constant only where all clips agree.
    """
    long_enough = [clip for clip in clips if clip.status != "error" and _is_long_enough(model, clip)]
    values = {value for clip in long_enough for value in (clip.trace.outputs.min(), clip.trace.outputs.max())}
    constant = int(values.pop()) if len(values) == 1 else None
    if constant == 0 and not {clip.name for clip in long_enough} & set(positive):
        constant = 0 if output_bounds(Subject(read_model(model.content)))[1] == 0 else None
    judged = {clip.name for clip in long_enough}
    return tuple(
        replace(clip, warnings=(*_of_input(clip), *(_of_outputs(model, clip, constant) if clip.name in judged else ())))
        for clip in clips
    )


def _is_long_enough(model: Model, clip: ClipResult) -> bool:
    return len(clip.trace.outputs) * model.stride >= MIN_SLICES_BEFORE_DETECTION


def _of_input(clip: ClipResult) -> tuple[ClipWarning, ...]:
    return clip.input.warnings if clip.input is not None else ()


def _of_outputs(model: Model, clip: ClipResult, constant: int | None) -> list[ClipWarning]:
    if any(warning.code in _CAUSES for warning in _of_input(clip)):
        return []
    warnings = []
    if constant is not None:
        message = f"every output is {constant}, whatever is heard: the model is broken, mww verify may tell where"
        warnings.append(ClipWarning("constant-output", message))
    lowest = int(clip.trace.outputs.min())
    if lowest >= model.cutoff_byte:
        message = (
            f"no output is below the cutoff's {model.cutoff_byte} (the lowest is {lowest}): ESPHome begins to listen "
            f"only after {MIN_SLICES_BEFORE_DETECTION} slices below it, so that it never wakes"
        )
        warnings.append(ClipWarning("never-below-cutoff", message))
    return warnings
