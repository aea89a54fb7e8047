"""Start-up: the time of a short command, compared with `import numpy`, which every such tool needs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from harness.bench.inputs import manifest
from harness.bench.measuring import BUG, Goal, Plan, Row
from harness.bench.programs import mww, run
from mww.core.errors import BenchmarkError

_RUNS: Final = 4
"""Processes whose times one repetition adds up: a single start takes a tenth of a second and varies much."""


def start(plan: Plan) -> list[Row]:
    """Run `mww verify` on a model, and `--help` of the command with the most options."""
    if not run(mww("verify", manifest(), "--json")).document["compatible"]:
        raise BenchmarkError("mww verify did not check the model", hint=BUG)
    verify, help_of_run = mww("verify", manifest()), mww("run", "--help")
    run(help_of_run)
    return [_row("`mww verify MODEL`", verify, plan), _row("`mww run --help`", help_of_run, plan)]


def _row(what: str, words: Sequence[str], plan: Plan) -> Row:
    numpy = [sys.executable, "-c", "import numpy"]
    own, others = plan.by_turns(lambda: _together(words, plan), lambda: _together(numpy, plan))
    return Row(
        what=what,
        against='`python -c "import numpy"`',
        unit="ms",
        own=tuple(own),
        reference=tuple(others),
        comparison="ratio",
        goal=Goal("at most", 3.0),
        same="the interpreter and its packages",
    )


def _together(words: Sequence[str], plan: Plan) -> float:
    """Milliseconds of a single start."""
    runs = plan.size(_RUNS, 1)
    return sum(run(words).seconds for _ in range(runs)) / runs * 1000
