"""Several models on a device: flash, memory and time of each and together, and what ESPHome does with the list.

Sizes are exact (the file, the predicted arena). Times are measured where a run on that chip is given, estimated where a
published figure can be scaled, and missing otherwise. What else the firmware needs is not known here, so `fits` means
that the models do not exceed the chip, not that a whole firmware fits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from exporter.model_analyzer.architecture import analyze_source
from exporter.model_analyzer.performance import performance_of
from exporter.model_analyzer.source import Source
from mww.core.errors import UnsupportedModelError
from mww.esphome.chips import find_chip
from mww.esphome.contract import FEATURE_STEP_MS, VARIABLE_ARENA_SIZE
from mww.tflm.arena import fits, predict_arena

Basis = Literal["measured", "estimated"]

PSRAM_BYTES: Final = 2 << 20
"""The smallest PSRAM that ESP32 modules carry."""

_TIGHT_SHARE: Final = 0.8
"""Share of real time above which the inference task has little reserve: Wi-Fi and audio run beside it."""
_TIGHT_MEMORY: Final = 0.25
"""Share of a chip's SRAM above which models leave little for Wi-Fi, audio and ESPHome itself."""


@dataclass(frozen=True, slots=True)
class Note:
    """A note for the user; `code` is stable."""

    code: str
    message: str
    stops: bool = False
    """Whether the models cannot work."""


@dataclass(frozen=True, slots=True)
class ModelBudget:
    """What a model needs on a chip.

    Attributes:
        name: The file's name without its suffix.
        flash: Bytes of the `.tflite`, which the firmware contains.
        arena: Bytes of the tensor arena that the device allocates; None where the model cannot load.
        variables: Bytes of the variable arena.
        step_ms: Milliseconds a slice.
        inference_ms: Milliseconds an inference; None without a figure for the chip.
        basis: Where `inference_ms` comes from; None without one.
        share: Part of real time: inference time over the time between inferences.
    """

    name: str
    flash: int
    arena: int | None
    variables: int
    step_ms: int
    inference_ms: float | None
    basis: Basis | None
    share: float | None


@dataclass(frozen=True, slots=True)
class ChipBudget:
    """All models on a chip; `share` is None unless every model has a time."""

    chip: str
    models: tuple[ModelBudget, ...]
    flash: int
    ram: int
    share: float | None
    notes: tuple[Note, ...] = field(default=())

    @property
    def fits(self) -> bool:
        """Whether no note stops the models."""
        return not any(note.stops for note in self.notes)


def budget(
    models: Sequence[Source],
    chip: str,
    *,
    vad: Source | None = None,
    psram: bool = False,
    measured_ms: Mapping[tuple[str, str], float] | None = None,
) -> ChipBudget:
    """Add up what models need on a chip.

    Args:
        models: In the order of ESPHome's `models:` list.
        chip: The chip.
        vad: The model under `vad:`, which ESPHome puts after all others.
        psram: Whether the board has PSRAM, which arenas use first.
        measured_ms: Milliseconds an inference by sha256 and chip, from runs on boards.
    """
    every = [*models, *([vad] if vad else [])]
    entries = tuple(_model(source, chip, measured_ms or {}) for source in every)
    ram = sum((entry.arena or 0) + entry.variables for entry in entries)
    shares = [entry.share for entry in entries]
    share = None if None in shares else sum(part for part in shares if part is not None)
    notes = (
        *_loading(every, entries, chip),
        *_steps(models, vad),
        *_order(models),
        *_memory(ram, chip, psram),
        *_time(share, entries),
    )
    return ChipBudget(chip, entries, sum(entry.flash for entry in entries), ram, share, notes)


def _model(source: Source, chip: str, measured_ms: Mapping[tuple[str, str], float]) -> ModelBudget:
    step = source.manifest.feature_step_size if source.manifest else FEATURE_STEP_MS
    analysis = analyze_source(source)
    performance, stride = performance_of(analysis, chip), analysis.stride
    inference_ms = measured_ms.get((source.model.sha256, chip))
    basis: Basis | None = None if inference_ms is None else "measured"
    if inference_ms is None and performance.times:
        chosen = performance.times[0]
        inference_ms, basis = round((chosen.low_ms + chosen.high_ms) / 2, 2), "estimated"
    return ModelBudget(
        name=source.asked.stem,
        flash=len(source.model.content),
        arena=_arena(source, chip),
        variables=VARIABLE_ARENA_SIZE,
        step_ms=step,
        inference_ms=inference_ms,
        basis=basis,
        share=round(inference_ms / (stride * step), 4) if inference_ms is not None and stride and step else None,
    )


def _arena(source: Source, chip: str) -> int | None:
    """The arena that the device allocates: the result of its probe for a manifest, the minimum for a bare model."""
    size = source.manifest.tensor_arena_size if source.manifest else None
    try:
        prediction = predict_arena(source.model, chip, manifest_size=size)
    except UnsupportedModelError:
        return None
    return prediction.minimum if size is None else prediction.probe or None


def _loading(sources: Sequence[Source], entries: Sequence[ModelBudget], chip: str) -> Iterator[Note]:
    for source, entry in zip(sources, entries, strict=True):
        if entry.arena is None:
            message = f"{entry.name} does not load on {chip}: mww verify and mww arena say why"
            yield Note("does-not-load", message, stops=True)
        elif source.manifest is not None:
            needed = predict_arena(source.model, chip).minimum
            size = source.manifest.tensor_arena_size
            if not fits(needed, size):
                message = f"{entry.name} needs {needed} bytes of arena, its manifest gives {size}"
                yield Note("arena-too-small", f"{message}: a failed first attempt can crash the chip", stops=True)


def _steps(models: Sequence[Source], vad: Source | None) -> Iterator[Note]:
    """ESPHome compares only the steps of `models:`; the VAD comes after them, and the last step applies to all."""
    steps = {source.asked.stem: source.manifest.feature_step_size for source in models if source.manifest}
    if len(set(steps.values())) > 1:
        listed = ", ".join(f"{name} {step} ms" for name, step in steps.items())
        yield Note("steps-differ", f"ESPHome refuses models with different steps: {listed}", stops=True)
    elif vad and vad.manifest and steps and vad.manifest.feature_step_size not in steps.values():
        message = f"the VAD's step of {vad.manifest.feature_step_size} ms becomes that of all models, without a warning"
        yield Note("vad-step-wins", message, stops=True)


def _order(models: Sequence[Source]) -> Iterator[Note]:
    if len(models) > 1:
        first, *others = (source.asked.stem for source in models)
        message = (
            f"ESPHome enables only the first model ({first}) at first boot; switch {', '.join(others)} on in Home "
            "Assistant, or with micro_wake_word.enable_model"
        )
        yield Note("only-first-enabled", message)


def _memory(ram: int, chip: str, psram: bool) -> Iterator[Note]:
    sram = find_chip(chip).sram
    room = sram + (PSRAM_BYTES if psram else 0)
    if ram > room:
        yield Note("memory", f"{ram} bytes of RAM are more than the chip has ({room})", stops=True)
    elif not psram and ram > sram * _TIGHT_MEMORY:
        message = f"{ram} bytes are {ram / sram:.0%} of the chip's SRAM, which Wi-Fi and ESPHome need too"
        yield Note("memory-tight", f"{message}: use a board with PSRAM, or measure the free heap")


def _time(share: float | None, entries: Sequence[ModelBudget]) -> Iterator[Note]:
    unknown = [entry.name for entry in entries if entry.share is None]
    if unknown:
        message = f"the time of {', '.join(unknown)} on this chip is unknown; give a run on a board with --run"
        yield Note("time-unknown", message)
    if share is not None and share >= 1:
        yield Note("time", f"the models need {share:.0%} of real time: sound is lost", stops=True)
    elif share is not None and share > _TIGHT_SHARE:
        yield Note("time-tight", f"the models need {share:.0%} of real time")
