"""The options of a run, each written once.

A field of `RunOptions` is the keyword of `harness.check.check`, and with its metadata also the option of `mww run`
(made by `harness.cli.run_options`) and the row of docs/reference/run-options.md (made by `tools.run_options`). So an
option is added here, and where it has its effect.

What only the command line has (which files to write, how to say where clips are) is in `harness.cli.run`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from harness.engines.catalog import ENGINES, EngineSpec, default_engine, engine_spec
from harness.serial.connection import DEFAULT_BAUD
from harness.targets.registry import DEFAULT_TARGET, TARGET_NAMES, TargetOptions, target_spec
from mww.core.errors import UsageError
from mww.core.progress import Progress, no_progress
from mww.core.readable import shown
from mww.esphome.chips import CHIP_NAMES
from mww.esphome.contract import MAX_LEAD_IN

if TYPE_CHECKING:
    from harness.run.allowances import AllowanceFile
    from harness.run.evaluation.labels import Label
    from mww.esphome.model import Model

_KEY: Final = "option"

Source: TypeAlias = Literal["features", "audio"]
"""The input of a target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """The metadata of a field of `RunOptions`.

    Attributes:
        meaning: A sentence for the reference page and `--help`.
        flag: The option of `mww run`, or a pair of options `--x/--no-x`; None where the command line does not have it.
        default: The meaning of a missing value, in words; None where the default itself shows it.
        metavar: How `--help` names the value.
        choices: All values there are; empty where they are not a list.
        low: The smallest number.
        high: The largest number.
        is_number: Whether the value is a number with a fraction.
        is_path: Whether the value is a path.
        is_switch: Whether the flag takes no value.
        repeats: Whether it can be given several times.
    """

    meaning: str
    flag: str | None = None
    default: str | None = None
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    low: int | None = None
    high: int | None = None
    is_number: bool = False
    is_path: bool = False
    is_switch: bool = False
    repeats: bool = False


def _says(meaning: str, flag: str | None = None, **more: Any) -> Mapping[str, Option]:
    """The metadata of a field."""
    return {_KEY: Option(meaning=meaning, flag=flag, **more)}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How to run, the same for each model. The metadata of a field gives its meaning."""

    target: str = field(
        default=DEFAULT_TARGET,
        metadata=_says(
            f"Where the model runs: {TARGET_NAMES}, or a board's port; several ports share the clips.",
            "--target",
            repeats=True,
        ),
    )
    more_targets: tuple[str, ...] = field(
        default=(),
        metadata=_says(
            "Other boards of the same kind, which share the clips; a board that fails is left out from then on."
        ),
    )
    engine: str | None = field(
        default=None,
        metadata=_says(
            "The emulator's interpreter.",
            "--engine",
            choices=tuple(ENGINES),
            default="tflm if it is installed, else exact",
        ),
    )
    chip: str | None = field(
        default=None,
        metadata=_says("The chip.", "--chip", choices=CHIP_NAMES, default="the target's own, or its default"),
    )
    baud: int | None = field(
        default=None, metadata=_says("Baud rate of a board's serial port.", "--baud", low=1, default=str(DEFAULT_BAUD))
    )
    flash: bool = field(
        default=True,
        metadata=_says("Give a board the model when it has another.", "--flash/--no-flash"),
    )
    faults: tuple[str, ...] = field(
        default=(),
        metadata=_says("A fault of the virtual board; see mww virtual.", "--fault", metavar="SPEC", repeats=True),
    )
    timeout: float | None = field(
        default=None,
        metadata=_says(
            "Longest time from a request to a board's answer, even if the board sends other data.",
            "--timeout",
            metavar="SECONDS",
            is_number=True,
            low=1,
            high=3600,
            default="30, and 300 for QEMU",
        ),
    )
    misalignment: int = field(
        default=0,
        metadata=_says(
            "A board opens a copy of the model that begins this many bytes after a multiple of 16.",
            "--misalignment",
            metavar="BYTES",
            low=0,
            high=15,
        ),
    )
    machine_image: Path | None = field(
        default=None,
        metadata=_says(
            "The program of a bare machine; see docs/machine-code.md.",
            "--machine-image",
            metavar="ELF",
            is_path=True,
            default="what MWW_MACHINE_IMAGE names",
        ),
    )
    source: Source = field(
        default="features",
        metadata=_says(
            "The board's input: this computer's features, or the sound, for the board's own front-end.",
            "--from",
            choices=("features", "audio"),
        ),
    )
    tolerance: int | None = field(
        default=None,
        metadata=_says(
            "Largest difference of an output byte that passes.",
            "--tolerance",
            low=0,
            high=255,
            default="0, or 1 for an engine other than the device's",
        ),
    )
    lead_in: float = field(
        default=0.0,
        metadata=_says(
            "Digital silence in front of each WAV.",
            "--lead-in",
            metavar="SECONDS",
            low=0,
            high=MAX_LEAD_IN,
            is_number=True,
        ),
    )
    vad: Model | Path | str | None = field(
        default=None,
        metadata=_says(
            "A VAD model that can block detections; it runs on this computer.",
            "--vad",
            metavar="MANIFEST.json",
            is_path=True,
        ),
    )
    labels: Mapping[str, Label] | Path | str | None = field(
        default=None,
        metadata=_says(
            "The labels of the clips, as docs/reports.md shows.",
            "--labels",
            metavar="FILE.csv",
            is_path=True,
            default="folders named positive and negative",
        ),
    )
    min_recall: float | None = field(
        default=None,
        metadata=_says(
            "Smallest share of positive clips that must be detected, else the run fails.",
            "--min-recall",
            metavar="R",
            is_number=True,
            low=0,
            high=1,
            default="no limit",
        ),
    )
    max_false_accepts_per_hour: float | None = field(
        default=None,
        metadata=_says(
            "Most detections an hour in negative clips, else the run fails.",
            "--max-false-accepts-per-hour",
            metavar="N",
            is_number=True,
            low=0,
            default="no limit",
        ),
    )
    jobs: int = field(
        default=1,
        metadata=_says("Number of clips at a time, for targets that can be open several times.", "--jobs", low=1),
    )
    cluster: str | None = field(
        default=None,
        metadata=_says("Distribute clips over a Dask scheduler's workers, or local:N.", "--cluster", metavar="ADDRESS"),
    )
    allowances: AllowanceFile | Path | str | None = field(
        default=None,
        metadata=_says(
            "Accepted differences.",
            "--allowances",
            metavar="FILE.yaml",
            is_path=True,
            default="mww-allowances.yaml beside the golden, or here",
        ),
    )
    bisect: bool | None = field(
        default=None,
        metadata=_says("Search for a wrong operator.", "--bisect/--no-bisect", default="on a virtual board"),
    )
    profile: bool = field(
        default=False,
        metadata=_says("Measure how long each operator takes on the device.", "--profile", is_switch=True),
    )
    progress: Progress = field(
        default=no_progress, metadata=_says("Called with the model's name, clips done and clips in all.")
    )
    unfinished: Path | None = field(
        default=None,
        metadata=_says("The file that keeps finished clips; clips in it do not run again (mww run --resume)."),
    )

    def names(self, clips: int, lost: Collection[str]) -> list[str]:
        """The targets to open for a number of clips; without lost targets while others remain."""
        if not self.more_targets:
            return [self.target] * min(self.jobs, clips)
        names = [self.target, *self.more_targets]
        return ([name for name in names if name not in lost] or names)[:clips]

    @property
    def target_options(self) -> TargetOptions:
        """The options of the target: those that have the same name there."""
        names = {each.name for each in fields(self)} & {each.name for each in fields(TargetOptions)}
        return TargetOptions(**{name: getattr(self, name) for name in names})

    @property
    def chosen_engine(self) -> EngineSpec | None:
        """The target's interpreter, where the user chooses it; None for other targets."""
        return engine_spec(self.engine or default_engine()) if target_spec(self.target).takes_engine else None

    @property
    def largest_difference(self) -> int:
        """The largest difference of an output byte that passes.

        Raises:
            UsageError: The tolerance is not a difference of bytes.
        """
        if self.tolerance is None:
            return self.chosen_engine.tolerance if self.chosen_engine else 0
        if not 0 <= self.tolerance <= 255:
            raise UsageError(f"a tolerance of {shown(self.tolerance)}", hint="0 to 255, the steps of the uint8 output")
        return self.tolerance


def run_options() -> Mapping[str, tuple[Option, object]]:
    """Every option by its keyword, with its default, in the order of `--help`."""
    return {each.name: (each.metadata[_KEY], each.default) for each in fields(RunOptions)}
