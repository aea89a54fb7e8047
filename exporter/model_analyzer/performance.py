"""The cost of an inference on a chip: published times, scaled with their uncertainty; and instructions.

Only a model file that was measured has measured figures; all others are estimates and named so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal

from exporter.model_analyzer.architecture import ModelAnalysis, analyze_model_architecture
from mww.core.errors import UnknownRuntimeError
from mww.core.readable import shown
from mww.core.resources import read_toml
from mww.esphome.chips import CHIP_NAMES, DEFAULT_CHIP, INSTRUCTION_SETS
from mww.esphome.contract import FEATURE_STEP_MS

DATA: Final = Path(__file__).with_name("instructions.toml")

NOT_A_TIME: Final = (
    "instructions are not a time: okay_nabu takes 0.34 to 0.55 million with portable kernels, and the published 6.6 to "
    "6.8 ms on an ESP32-S3 with vector kernels are 1.6 million cycles at 240 MHz, its 45 ms with reference kernels 10.8"
)
"""The published time beside the counts: memory, caches and kernels decide, so no factor converts one into the other."""

FRONT_END_MS: Final = {"esp32s3": 0.74}
"""Milliseconds of the feature front-end for a slice, published with the figures above."""


@dataclass(frozen=True, slots=True)
class CountedModel:
    """A counted file: the median of an inference, and the two quantities that scale an estimate."""

    name: str
    sha256: str
    macs: int
    moved_bytes: int
    instructions: int
    operators: dict[str, int]


@dataclass(frozen=True, slots=True)
class Count:
    """The counts with a library on a processor."""

    machine: str
    kernels: str
    library: str
    processor: str
    models: tuple[CountedModel, ...]


@dataclass(frozen=True, slots=True)
class InstructionEstimate:
    """Instructions an inference, as a range.

    Attributes:
        machine: The instruction set, as `--target machine:` names it.
        kernels: The kernels, as in a result's `versions.kernels`.
        low: Lower end.
        high: Upper end.
        kind: "measured" for this file itself, "scaled" when computed from the published models.
        basis: Where it comes from, for people.
        by_operator: What each kind of operator takes, the dearest first; empty unless it was measured.
    """

    machine: str
    kernels: str
    low: int
    high: int
    kind: Literal["measured", "scaled"]
    basis: str
    by_operator: dict[str, int]


@cache
def counts() -> tuple[Count, ...]:
    """The measurements of `instructions.toml`."""
    return tuple(
        Count(
            machine=entry["machine"],
            kernels=entry["kernels"],
            library=", ".join(
                text
                for text in (
                    f"esp-tflite-micro {entry['esp_tflite_micro']}",
                    entry["esp_nn"] and f"esp-nn {entry['esp_nn']}",
                    entry["built"],
                )
                if text
            ),
            processor=entry["processor"],
            models=tuple(
                CountedModel(**{name: value for name, value in model.items() if name != "clip"})
                for model in entry["model"]
            ),
        )
        for entry in read_toml(DATA)["measurement"]
    )


def estimate_instructions(analysis: ModelAnalysis, chip: str) -> Iterator[InstructionEstimate]:
    """The known counts for the instruction set of a chip; empty for chips with other kernels."""
    for count in counts():
        if INSTRUCTION_SETS[count.machine] != chip:
            continue
        same = next((model for model in count.models if model.sha256 == analysis.sha256), None)
        if same is not None:
            amount, basis = same.instructions, f"counted by {count.processor}; {count.library}"
            yield InstructionEstimate(
                count.machine, count.kernels, amount, amount, "measured", basis, dict(same.operators)
            )
        elif analysis.cost.macs:
            yield _scaled(analysis, count)


def _scaled(analysis: ModelAnalysis, count: Count) -> InstructionEstimate:
    """A range over the counted models and the two scales: multiplications, or bytes moved."""
    scaled = [
        model.instructions * share
        for model in count.models
        for share in (analysis.cost.macs / model.macs, analysis.cost.moved_bytes / model.moved_bytes)
    ]
    names = ", ".join(model.name for model in count.models)
    basis = f"scaled by multiply-accumulates and by bytes moved from {names}; {count.library}"
    return InstructionEstimate(
        count.machine, count.kernels, round(min(scaled)), round(max(scaled)), "scaled", basis, {}
    )


@dataclass(frozen=True, slots=True)
class PublishedFigure:
    """Milliseconds an inference of okay_nabu, as published by others for one chip and kind of kernels."""

    chip: str
    kernels: Literal["esp-nn", "reference"]
    low_ms: float
    high_ms: float
    source: str


@dataclass(frozen=True, slots=True)
class MeasuredModel:
    """A file that may be the measured one; the source does not name the version of okay_nabu."""

    sha256: str
    macs: int
    moved_bytes: int


FIGURES: Final = (
    PublishedFigure("esp32s3", "esp-nn", 6.6, 6.8, "okay_nabu on a CoreS3 (ESP32-S3), quad PSRAM at 40 MHz"),
    PublishedFigure("esp32s3", "reference", 45.0, 45.0, "okay_nabu on an ESP32-S3, about 45 ms"),
)
"""No figure exists for another chip."""

OKAY_NABU: Final = (
    MeasuredModel("0689abe1912a95a3318a0d8cb2e67bad0cbcfe3e24dd6e050c75debddfb6f891", 24_096, 67_577),
    MeasuredModel("d89128c4d16a72de429119fb2254ce46649553c2a24f5dd840175c80d7b9d094", 36_480, 82_525),
)
"""The published versions: 60,264 bytes, and 80,824 bytes (pymicro-wakeword 2.5.0)."""


@dataclass(frozen=True, slots=True)
class TimeEstimate:
    """Milliseconds an inference, as a range.

    Attributes:
        kernels: The kernels.
        low_ms: Lower end.
        high_ms: Upper end.
        kind: "published" when the figure may be for this file, "scaled" when computed from it.
        basis: The origin of the range, for people.
    """

    kernels: str
    low_ms: float
    high_ms: float
    kind: Literal["published", "scaled"]
    basis: str


@dataclass(frozen=True, slots=True)
class PerformanceEstimate:
    """The cost of an inference on a chip.

    Attributes:
        model: Path of the model.
        chip: The chip.
        macs: Multiply-accumulates an inference.
        macs_by_operator: The same by operator, largest first.
        weight_bytes: Constants read an inference.
        moved_bytes: All bytes read and written an inference.
        frame_ms: Milliseconds of sound a frame, in which an inference must fit; None where the file does not tell.
        front_end_ms: Milliseconds a frame that the features take, or None without a published figure.
        times: Estimates; empty without a published figure for the chip.
        note: What the times are, or why they do not exist.
        instructions: Counted or scaled for the instruction set of the chip, one for each library that was counted;
            empty for chips whose kernels were not. They are no basis for a time: see `NOT_A_TIME`.
    """

    model: str
    chip: str
    macs: int
    macs_by_operator: dict[str, int]
    weight_bytes: int
    moved_bytes: int
    frame_ms: int | None
    front_end_ms: float | None
    times: tuple[TimeEstimate, ...]
    note: str
    instructions: tuple[InstructionEstimate, ...] = ()

    @property
    def load(self) -> tuple[float, float] | None:
        """The share of time that the chip spends on the model and its features, as a range; None without figures."""
        if not self.times or not self.frame_ms:
            return None
        extra = self.front_end_ms or 0.0
        return (self.times[0].low_ms + extra) / self.frame_ms, (self.times[0].high_ms + extra) / self.frame_ms


def estimate_performance(path: Path | str, chip: str = DEFAULT_CHIP) -> PerformanceEstimate:
    """Estimate the cost of an inference on a chip of `mww.esphome.chips`.

    Raises:
        ModelFileError: The model cannot be read.
        UnknownRuntimeError: The chip is not known.
    """
    return performance_of(analyze_model_architecture(path), chip)


def performance_of(analysis: ModelAnalysis, chip: str) -> PerformanceEstimate:
    """The estimate for a model whose structure is known."""
    if chip not in CHIP_NAMES:
        raise UnknownRuntimeError(f"the chip {shown(chip)} is not known", hint=f"known: {', '.join(CHIP_NAMES)}")
    by_operator: dict[str, int] = {}
    for layer in analysis.layers:
        if layer.cost.macs:
            by_operator[layer.op] = by_operator.get(layer.op, 0) + layer.cost.macs
    times = tuple(_estimate(analysis, figure) for figure in FIGURES if figure.chip == chip and analysis.cost.macs)
    stride = analysis.stride
    step = analysis.feature_step_ms
    if step is None and stride and stride > 1:  # a bare model of one slice a frame may be of either version
        step = FEATURE_STEP_MS
    per_slice = FRONT_END_MS.get(chip)
    return PerformanceEstimate(
        model=analysis.model,
        chip=chip,
        macs=analysis.cost.macs,
        macs_by_operator=dict(sorted(by_operator.items(), key=lambda item: -item[1])),
        weight_bytes=analysis.cost.weight_bytes,
        moved_bytes=analysis.cost.moved_bytes,
        frame_ms=stride * step if stride and step else None,
        front_end_ms=per_slice * stride if per_slice is not None and stride else None,
        times=times,
        note="estimates, not measurements; mww run on a board measures" if times else f"no published figure for {chip}",
        instructions=tuple(estimate_instructions(analysis, chip)),
    )


def _estimate(analysis: ModelAnalysis, figure: PublishedFigure) -> TimeEstimate:
    """A range over the two scales (multiplications, bytes) and over the versions that may have been measured."""
    if any(analysis.sha256 == model.sha256 for model in OKAY_NABU):
        basis = f"published: {figure.source}; the source does not name the version of the model"
        return TimeEstimate(figure.kernels, figure.low_ms, figure.high_ms, "published", basis)
    ratios = [analysis.cost.macs / model.macs for model in OKAY_NABU]
    ratios += [analysis.cost.moved_bytes / model.moved_bytes for model in OKAY_NABU]
    low, high = round(figure.low_ms * min(ratios), 1), round(figure.high_ms * max(ratios), 1)
    basis = f"scaled by multiply-accumulates and by bytes moved from {figure.low_ms:g}..{figure.high_ms:g} ms"
    return TimeEstimate(figure.kernels, low, high, "scaled", f"{basis} ({figure.source})")
