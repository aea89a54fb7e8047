"""A bench in a separate process on this machine: requests come on standard input, results go to standard output.

The process ends when its input ends. Nothing heavy is imported before numpy's matrix products are set up.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO

from harness.engines.exact.blas import set_up_blas
from mww.core.errors import MwwError

if TYPE_CHECKING:
    from harness.clips.npz import Archive
    from harness.run.cluster.parcels import Parcel
    from harness.run.judging import Observed
    from harness.run.workbench import Bench, Setup
    from mww.core.readable import Readable


def main(words: Sequence[str]) -> None:
    """Answer requests until there are no more: `(Setup, target)` opens a bench, on which lists of `Parcel` are run.

    Opening has no answer; to each parcel it is an `Observed`, or None where its file is not what it was.
    """
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # so that prints do not disturb the answers
        set_up_blas()
        from harness.engines.exact.checked import ExactEngine

        ExactEngine.asks_reference = False  # the parent process does this
        for observed in _answers(sys.stdin.buffer):
            pickle.dump(observed, answers)
            answers.flush()


def _answers(requests: BinaryIO) -> Iterator[Observed | None]:
    from harness.clips.npz import Archive
    from harness.run.cluster.parcels import run_parcels
    from harness.run.judging import nothing_but
    from harness.run.workbench import Bench

    bench: Bench | None = None
    problem: MwwError | None = None
    archives: dict[str, Archive] = {}

    def archive(file: Readable) -> Archive:
        return archives.get(str(file)) or archives.setdefault(str(file), Archive(file))

    while (request := _next(requests)) is not None:
        if not isinstance(request, tuple):
            if bench is not None:
                yield from run_parcels(bench, request, archive, lambda: False)
            elif problem is not None:
                yield from [nothing_but(problem)] * len(request)
            continue
        if bench is not None:
            bench.close()
        bench = problem = None
        try:
            bench = Bench(*request)
            bench.load()
        except MwwError as error:
            bench, problem = None, error
    if bench is not None:
        bench.close()


def _next(requests: BinaryIO) -> tuple[Setup, str] | list[Parcel] | None:
    try:
        request: tuple[Setup, str] | list[Parcel] = pickle.load(requests)
    except EOFError:
        return None
    return request
