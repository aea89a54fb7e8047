"""The rules for a model that a device gets while it runs (`add_runtime_model`, ESPHome 2026.8.0 and later).

Such a model lies in one heap buffer, PSRAM first. Its id, arena, cutoff and window are arguments of a call that only a
lambda or an external component makes; ESPHome checks the id and little else. Sources: `micro_wake_word.cpp`,
`streaming_model.cpp` and `model_data.h` of esphome 2026.10.0.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mww.core.errors import UnsupportedModelError
from mww.esphome.contract import FEATURE_STEP_MS, VARIABLE_ARENA_SIZE
from mww.esphome.manifest import Manifest
from mww.esphome.releases import known_releases, release_key
from mww.tflm.arena import fits, predict_arenas
from mww.verification.rules import Finding, Subject, rule

_ENDS_ALL: Final = "an enabled model that fails to load ends the inference task for all models, after each start again"


def _at_run_time(subject: Subject) -> bool:
    return subject.at_run_time


def _with_manifest(subject: Subject) -> bool:
    return subject.at_run_time and subject.manifest is not None


def _manifest(subject: Subject) -> Manifest:
    assert subject.manifest is not None
    return subject.manifest


@rule(
    "runtime-model-release",
    "The manifest asks for a release that takes models at run time",
    hint="set minimum_esphome_version to 2026.8.0",
    applies=_with_manifest,
    severity=("warn",),
)
def release(subject: Subject) -> Iterator[Finding]:
    """Older releases have no `add_runtime_model`."""
    first = next(entry.since for entry in known_releases() if entry.facts.runtime_models)
    minimum = _manifest(subject).minimum_esphome_version or ""
    numbers = [int(part) for part in minimum.split(".") if part.isascii() and part.isdigit() and len(part) < 10]
    if tuple(numbers[:3]) < release_key(first)[:3]:
        message = f"minimum_esphome_version is {minimum or 'not set'}; models at run time came with {first}"
        yield Finding(message, first, minimum or None, "warn")


@rule(
    "runtime-model-step",
    f"The model takes a slice each {FEATURE_STEP_MS} ms",
    hint="train it at 10 ms, or use it only on a device whose last compiled model has the same step",
    applies=_with_manifest,
    severity=("warn",),
)
def step(subject: Subject) -> Iterator[Finding]:
    """The front-end keeps the step of the last compiled model, or 10 ms without one, and nothing compares them."""
    value = _manifest(subject).feature_step_size
    if value != FEATURE_STEP_MS:
        message = (
            f"its step is {value} ms; a device without a compiled model of that step runs it at {FEATURE_STEP_MS} ms"
        )
        yield Finding(message, str(FEATURE_STEP_MS), str(value), "warn")


@rule(
    "runtime-model-id",
    "The model's file name can serve as its id",
    hint="name the file with letters, digits, _ and -, and give each model of a device another name",
    applies=_with_manifest,
    severity=("warn",),
)
def identifier(subject: Subject) -> Iterator[Finding]:
    """A second model of an id is refused, and each new id uses a slot of the preferences permanently."""
    name = _manifest(subject).path.stem
    if not name.isascii() or not name.replace("_", "").replace("-", "").isalnum():
        yield Finding(f"{name[:60]!r} is not a plain id", "letters, digits, _ and -", name[:60], "warn")


@rule(
    "runtime-model-arena",
    "The arena suffices at the first attempt on every chip",
    hint="give the arena that mww arena predicts; " + _ENDS_ALL,
    applies=_with_manifest,
)
def arena(subject: Subject) -> Iterator[Finding]:
    """A model that does not load stops the inference task, and with it every other model."""
    size = _manifest(subject).tensor_arena_size
    try:
        predictions = predict_arenas(subject.model)
    except UnsupportedModelError as error:
        yield Finding(f"no arena suffices: {error.message}; {_ENDS_ALL}", hint=error.hint)
        return
    for prediction in predictions:
        if not fits(prediction.minimum, size):
            message = f"{prediction.chip} needs {prediction.minimum} bytes, the manifest gives {size}; {_ENDS_ALL}"
            yield Finding(message, str(prediction.minimum), str(size))


@rule(
    "runtime-model-memory",
    "The memory that the model takes from the heap",
    hint="plan for these blocks in PSRAM, or in internal RAM on a board without",
    applies=_at_run_time,
    severity=("warn",),
)
def memory(subject: Subject) -> Iterator[Finding]:
    """Model and arena come from one heap, PSRAM first, each in one block, for as long as the model is there."""
    try:
        largest = max(prediction.minimum for prediction in predict_arenas(subject.model))
    except UnsupportedModelError:
        return
    size = len(subject.model.content)
    total = size + largest + VARIABLE_ARENA_SIZE
    message = (
        f"{total} bytes of heap: the model {size}, the arena {largest} on the chip that needs most, and "
        f"{VARIABLE_ARENA_SIZE} for its variables; the flash of a compiled model holds none of it"
    )
    yield Finding(message, status="pass")
