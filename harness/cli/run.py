"""`mww run`: stream clips through a target and judge every output.

Only the options are here: those of `harness.run.options`, and those of the command line alone. `harness.cli.run_models`
does the work, and imports what it needs.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final

import click

from harness.cli.output import json_option
from harness.cli.run_options import clip_options, options_of_a_run, place, taken_options
from harness.engines.catalog import DEFAULT_ENGINE
from harness.run.options import RunOptions

_AHEAD: Final = 4
"""Worker processes that are started before the number of clips is known."""

_PATH = click.Path(path_type=Path)


@click.command("run")
@click.argument("models", metavar="MODEL...", nargs=-1, required=True, type=_PATH)
@clip_options
@click.option("--golden", type=place, metavar="GOLDEN.npz", help="Recorded clips and outputs; see mww record.")
@options_of_a_run()
@click.option("--write-allowance", type=_PATH, metavar="FILE.yaml", help="Accept the differences of this run.")
@click.option("--reason", metavar="TEXT", help="Why they are accepted; with --write-allowance.")
@click.option("--by", metavar="NAME", help="Who accepts it.  [default: your login]")
@click.option("--report", type=_PATH, metavar="DIR", help="Write run.json and a report into this folder.")
@click.option("--junit", type=_PATH, metavar="FILE", help="Write JUnit XML.")
@click.option("--resume", is_flag=True, help="Take finished clips from the interrupted run in --report DIR.")
@json_option
def command(**words: Any) -> int:
    """Stream clips through each MODEL, a manifest or .tflite, and judge every output.

    Without --golden the outputs are compared with those that the engine exact computes on this machine; if the target
    is the emulator with tflm or exact, nothing is compared. Exits with 0 for pass, 1 for fail, 2 for error.
    """
    from harness.engines.process import started_ahead

    options = RunOptions(**taken_options(words))
    engine = options.chosen_engine
    # Importing an interpreter's package takes as long as everything that follows.
    ahead = started_ahead(engine.name, min(options.jobs, _AHEAD)) if engine else nullcontext()
    with ahead, started_ahead(DEFAULT_ENGINE, 0):  # the engine `exact` is checked in that worker, for each model
        from harness.cli.run_models import Errand, run_models

        return run_models(Errand(**words), options)
