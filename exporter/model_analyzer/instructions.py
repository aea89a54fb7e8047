"""Instructions that an inference takes on an emulated processor: measured for the published models, else scaled.

`instructions.toml` has the measurements with their provenance. They are not a time: on a chip memory decides as much.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal

from exporter.model_analyzer.architecture import ModelAnalysis
from mww.core.resources import read_toml
from mww.esphome.chips import INSTRUCTION_SETS

DATA: Final = Path(__file__).with_name("instructions.toml")


@dataclass(frozen=True, slots=True)
class CountedModel:
    """A file that was counted: the median of an inference, and what the two scales of an estimate are for it."""

    name: str
    sha256: str
    macs: int
    moved_bytes: int
    instructions: int
    operators: dict[str, int]


@dataclass(frozen=True, slots=True)
class Count:
    """What was counted with one library on one processor."""

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
        kernels: Whose kernels run, as a result's `versions.kernels` says it.
        low: Lower end.
        high: Upper end.
        kind: "measured" when it is of this very file, "scaled" when computed from the published models.
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
    """What is known for the instruction set that stands for a chip; nothing for chips with other kernels."""
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
    """A range over the counted models and over what may scale the count: multiplications, or bytes moved."""
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
