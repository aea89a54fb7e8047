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
from mww.core.readable import shown
from mww.core.scratch import scratch_folder

REPETITIONS: Final = 5


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark's name, the question that it answers, and where it is: `module:function` below this package."""

    name: str
    question: str
    place: str

    def measure(self, plan: Plan) -> list[Row]:
        """Run the benchmark."""
        module, function = self.place.split(":")
        measure: Callable[[Plan], list[Row]] = getattr(import_module(f"harness.bench.{module}"), function)
        return measure(plan)


_ALL: Final = (
    Benchmark("export", "Is an export faster than the official way?", "exporting:export"),
    Benchmark("smaller", "How much arena does a better order of operators save?", "smaller:smaller"),
    Benchmark("worker", "What does a separate process for the interpreter cost?", "running:worker"),
    Benchmark("emulator", "Does `mww run` infer as fast as the interpreter does?", "running:emulator"),
    Benchmark("jobs", "Are two jobs twice as fast as one?", "running:jobs"),
    Benchmark("hour", "How long does an hour of audio take?", "running:hour"),
    Benchmark("exact", "How much faster is the exact engine than the device's own runtime?", "exact:exact"),
    Benchmark("sound", "How long do four models take over an hour of sound?", "exact:sound"),
    Benchmark("sound-jobs", "Are two jobs twice as fast with the exact engine?", "exact:sound_jobs"),
    Benchmark("link", "Does the link keep a board waiting?", "link:link"),
    Benchmark("link-cost", "How much processor time does the host need for a frame?", "link:link_cost"),
    Benchmark("start", "How long does a short command take?", "starting:start"),
    Benchmark("flash", "Is `mww flash` slower than esptool alone?", "flashing:flash"),
    Benchmark("memory", "Do hours of audio need more memory than minutes?", "memory:memory"),
    Benchmark("page", "How large does a report page get?", "memory:page"),
)
BENCHMARKS: Final = {benchmark.name: benchmark for benchmark in _ALL}


@dataclass(frozen=True, slots=True)
class Measured:
    """The result of a benchmark.

    Attributes:
        benchmark: Which.
        rows: Its comparisons; empty where it could not run.
        seconds: How long it took.
        load: The machine's load average over the minute before.
        problem: Why it could not run, or None.
    """

    benchmark: Benchmark
    rows: tuple[Row, ...]
    seconds: float
    load: float
    problem: MwwError | None = None


def find_benchmarks(names: Iterable[str]) -> tuple[Benchmark, ...]:
    """The benchmarks with these names; all of them where no name is given.

    Raises:
        UsageError: No benchmark has that name.
    """
    chosen = tuple(names)
    for name in chosen:
        if name not in BENCHMARKS:
            raise UsageError(f"unknown benchmark {shown(name)}", hint=f"benchmarks: {', '.join(BENCHMARKS)}")
    return tuple(benchmark for name, benchmark in BENCHMARKS.items() if name in chosen or not chosen)


def measure(benchmark: Benchmark, *, quick: bool, report: Callable[[str], None]) -> Measured:
    """Run a benchmark in a temporary folder; a failure is reported in the result."""
    started, load = time.monotonic(), round(os.getloadavg()[0], 1)
    rows, problem = [], None
    with scratch_folder("mww-bench-") as scratch:
        try:
            rows = benchmark.measure(Plan(1 if quick else REPETITIONS, quick, scratch, report))
        except MwwError as error:  # a missing package stops only the benchmarks that need it
            problem = error
    return Measured(benchmark, tuple(rows), time.monotonic() - started, load, problem)
