"""The benchmarks by name; each is a function that takes a `Plan` and returns rows."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Final

from harness.bench.measuring import Plan, Row
from mww.core.errors import MwwError, UsageError
from mww.core.scratch import scratch_folder

REPETITIONS: Final = 5


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark's name, the question that it answers, and where it is: `module:function` below this package."""

    name: str
    question: str
    place: str

    def measure(self, plan: Plan) -> list[Row]:
        """Carry it out."""
        module, function = self.place.split(":")
        measure: Callable[[Plan], list[Row]] = getattr(import_module(f"harness.bench.{module}"), function)
        return measure(plan)


_ALL: Final = (
    Benchmark("export", "Is an export faster than the official way?", "exporting:export"),
    Benchmark("export-direct", "How fast is an export without TensorFlow?", "exporting:export_direct"),
    Benchmark("smaller", "What does ordering the operators win?", "smaller:smaller"),
    Benchmark("worker", "What does it cost that an interpreter has a process of its own?", "running:worker"),
    Benchmark("emulator", "Does `mww run` infer as fast as the interpreter does?", "running:emulator"),
    Benchmark("jobs", "Do two jobs do twice as much?", "running:jobs"),
    Benchmark("hour", "How long does an hour of audio take?", "running:hour"),
    Benchmark("exact", "How much faster is the exact engine than the device's own runtime?", "exact:exact"),
    Benchmark("sound", "How long do four models take over an hour of sound?", "exact:sound"),
    Benchmark("link", "Does a board wait for the link?", "link:link"),
    Benchmark("link-cost", "What does a frame cost the host?", "link:link_cost"),
    Benchmark("start", "How long does a short command take?", "starting:start"),
    Benchmark("flash", "Is flashing slower than with the bare esptool?", "flashing:flash"),
    Benchmark("memory", "Do hours of audio need more memory than minutes?", "memory:memory"),
    Benchmark("page", "How large does a page get?", "memory:page"),
)
BENCHMARKS: Final = {benchmark.name: benchmark for benchmark in _ALL}


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of a benchmark.

    Attributes:
        benchmark: Which.
        rows: Its comparisons; none where it could not be carried out.
        seconds: That it took.
        load: Of the machine in the minute before: what else it was doing.
        problem: Why it could not be carried out, or None.
    """

    benchmark: Benchmark
    rows: tuple[Row, ...]
    seconds: float
    load: float
    problem: MwwError | None = None


def find_benchmarks(names: Iterable[str]) -> tuple[Benchmark, ...]:
    """The benchmarks of these names; of no names, all.

    Raises:
        UsageError: It does not exist of that name.
    """
    chosen = tuple(names)
    for name in chosen:
        if name not in BENCHMARKS:
            raise UsageError(f"unknown benchmark {name!r}", hint=f"benchmarks: {', '.join(BENCHMARKS)}")
    return tuple(benchmark for name, benchmark in BENCHMARKS.items() if name in chosen or not chosen)


def measure(benchmark: Benchmark, *, quick: bool, tell: Callable[[str], None]) -> Measured:
    """Carry out a benchmark in a folder of its own, which is removed; what goes wrong is reported in the result."""
    started, load = time.monotonic(), round(os.getloadavg()[0], 1)
    rows, problem = [], None
    with scratch_folder("mww-bench-") as scratch:
        try:
            rows = benchmark.measure(Plan(1 if quick else REPETITIONS, quick, scratch, tell))
        except MwwError as error:  # of a package that is not here, the others need not know
            problem = error
    return Measured(benchmark, tuple(rows), time.monotonic() - started, load, problem)
