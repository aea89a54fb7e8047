"""How to run, as callers say it: the options of a run, and what they mean where they leave something open."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.engines.catalog import EngineSpec, default_engine, engine_spec
from harness.run.allowances.file import AllowanceFile
from harness.run.evaluation.labels import Label
from harness.targets.registry import EMULATOR, TargetOptions
from mww.core.errors import UsageError
from mww.core.progress import Progress, no_progress
from mww.esphome.model import Model


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to run, the same for each model: the keyword arguments of `check`.

    `unfinished` is the file in which finished clips are kept; those that it holds already are not run again. Clips run
    at `more_targets` too, which are boards of the same kind; one that is lost is done without. `cluster` is the address
    of a Dask scheduler, over whose workers clips are spread.
    """

    target: str = EMULATOR
    engine: str | None = None
    chip: str | None = None
    baud: int | None = None
    flash: bool = True
    faults: tuple[str, ...] = ()
    tolerance: int | None = None
    lead_in: float = 0.0
    vad: Model | Path | str | None = None
    labels: Mapping[str, Label] | None = None
    jobs: int = 1
    progress: Progress = no_progress
    allowances: AllowanceFile | Path | str | None = None
    bisect: bool | None = None
    unfinished: Path | None = None
    more_targets: tuple[str, ...] = ()
    cluster: str | None = None

    def names(self, clips: int, lost: Collection[str]) -> list[str]:
        """The targets to open for so many clips; without those that are lost, where there are others."""
        if not self.more_targets:
            return [self.target] * min(self.jobs, clips)
        names = [self.target, *self.more_targets]
        return ([name for name in names if name not in lost] or names)[:clips]

    @property
    def target_options(self) -> TargetOptions:
        """What a target is told."""
        return TargetOptions(self.engine, self.chip, self.baud, self.flash, self.faults)

    @property
    def emulated(self) -> EngineSpec | None:
        """The engine that the emulator runs; None for other targets."""
        return engine_spec(self.engine or default_engine()) if self.target == EMULATOR else None

    @property
    def largest_difference(self) -> int:
        """The largest difference of an output byte that passes.

        Raises:
            UsageError: The tolerance is not a difference of bytes.
        """
        if self.tolerance is None:
            return self.emulated.tolerance if self.emulated else 0
        if not 0 <= self.tolerance <= 255:
            raise UsageError(f"a tolerance of {self.tolerance}", hint="0 to 255, the steps of the uint8 output")
        return self.tolerance
