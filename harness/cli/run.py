"""`mww run`: stream clips through a target and judge every output.

Here are the words; what is done with them, and all that it imports, is in `harness.cli.run_models`.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final

import click

from harness.cli.inputs import clip_options, place
from harness.cli.output import json_option
from harness.engines.catalog import ENGINES, default_engine
from harness.engines.process import started_ahead
from harness.targets.registry import EMULATOR
from mww.esphome.chips import CHIP_NAMES

_AHEAD: Final = 4
"""Processes that are started before it is known how many clips there are."""

_PATH = click.Path(path_type=Path)


@click.command("run")
@click.argument("models", metavar="MODEL...", nargs=-1, required=True, type=_PATH)
@clip_options
@click.option("--golden", type=place, metavar="GOLDEN.npz", help="Recorded clips and outputs; see mww record.")
@click.option("--vad", type=_PATH, metavar="MANIFEST.json", help="A VAD model that gates detections.")
@click.option("--labels", type=_PATH, metavar="FILE.csv", help="What clips hold, where no folder tells.")
@click.option(
    "--target",
    "targets",
    multiple=True,
    help=f"emulator, virtual, qemu, or a board's port; several ports share the clips.  [default: {EMULATOR}]",
)
@click.option("--engine", type=click.Choice(list(ENGINES)), help="The emulator's interpreter.  [default: tflm]")
@click.option("--chip", type=click.Choice(CHIP_NAMES), help="The chip, where the target does not tell.")
@click.option("--baud", type=click.IntRange(min=1), help="Of a board's serial port.")
@click.option("--tolerance", type=click.IntRange(0, 255), help="Largest difference that passes.  [default: 0, or 1]")
@click.option(
    "--allowances",
    type=_PATH,
    metavar="FILE.yaml",
    help="Accepted differences.  [default: mww-allowances.yaml beside the golden, or here]",
)
@click.option("--write-allowance", type=_PATH, metavar="FILE.yaml", help="Accept what this run finds.")
@click.option("--reason", metavar="TEXT", help="Why it is accepted; with --write-allowance.")
@click.option("--by", metavar="NAME", help="Who accepts it.  [default: your login]")
@click.option("--no-flash", is_flag=True, help="Never give a board another model.")
@click.option("--bisect/--no-bisect", default=None, help="Look for a wrong operator.  [default: on a virtual board]")
@click.option("--fault", "faults", multiple=True, metavar="SPEC", help="Of the virtual board; see mww virtual.")
@click.option("--report", type=_PATH, metavar="DIR", help="Write run.json and a report into this folder.")
@click.option("--junit", type=_PATH, metavar="FILE", help="Write JUnit XML.")
@click.option("--resume", is_flag=True, help="Take finished clips from the interrupted run in --report DIR.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Clips at a time.")
@click.option("--cluster", metavar="ADDRESS", help="Spread clips over a Dask scheduler's workers, or local:N.")
@json_option
def command(*, targets: tuple[str, ...], engine: str | None, jobs: int, **words: Any) -> int:
    """Stream clips through each MODEL, a manifest or .tflite, and judge every output.

    Without --golden the outputs are compared with those of a second interpreter, TFLite Micro, on this machine; where
    the target is that interpreter itself, nothing is compared. Exits with 0 for pass, 1 for fail, 2 for error.
    """
    ahead = (
        started_ahead(engine or default_engine(), min(jobs, _AHEAD)) if targets in {(), (EMULATOR,)} else nullcontext()
    )
    with ahead:  # an interpreter's package takes as long to import as all that follows
        from harness.cli.run_models import run_models

        return run_models(targets=targets or (EMULATOR,), engine=engine, jobs=jobs, **words)
