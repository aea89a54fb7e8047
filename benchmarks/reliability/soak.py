"""An hour of audio, thousands of loads: what grows, and whether it gets slower. Run by `make soak`."""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import psutil

from benchmarks.reliability.page import put_row
from benchmarks.reliability.processes import published
from harness.targets.base import Target
from harness.targets.device import DeviceTarget
from harness.targets.emulator import EmulatorTarget
from harness.targets.registry import TargetOptions
from harness.virtual.process import VirtualBoard
from mww.esphome.model import load_model

HOUR = 120_000
"""Inferences: at a stride of three slices one every 30 ms."""
STEPS = 50
WARM_UP = 10
"""Steps that may still grow: caches, allocator arenas."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One step: of this process and all its children together."""

    memory: int
    threads: int
    descriptors: int
    median: float
    """Seconds of a request."""
    slowest: float


def soak(step: Callable[[], Sequence[float]], steps: int) -> list[Sample]:
    """Take `steps` steps and look at the processes after each; a step returns the seconds that each request took."""
    return [_sample(np.asarray(step())) for _ in range(steps)]


def row(name: str, started: float, samples: list[Sample]) -> list[str]:
    """One row of the table: growth from the warm-up's end to the end, and the latency of the first and last fifth."""
    first, last = samples[min(WARM_UP, len(samples) // 5)], samples[-1]
    fifth = max(1, len(samples) // 5)
    early, late = (1000 * float(np.median([s.median for s in part])) for part in (samples[:fifth], samples[-fifth:]))
    grown = (last.memory - first.memory) / (1 << 20)
    return [
        name,
        f"{time.monotonic() - started:.0f} s",
        f"{grown:+.1f} MB of {last.memory >> 20}",
        f"{last.threads - first.threads:+d}",
        f"{last.descriptors - first.descriptors:+d}",
        f"{early:.2f} ms, {late:.2f} ms",
        f"{1000 * max(sample.slowest for sample in samples):.0f} ms",
    ]


def _sample(seconds: npt.NDArray[np.float64]) -> Sample:
    gc.collect()
    memory = threads = descriptors = 0
    own = psutil.Process()
    for process in (own, *own.children(recursive=True)):
        memory += process.memory_full_info().uss
        threads += process.num_threads()
        descriptors += process.num_fds()
    return Sample(memory, threads, descriptors, float(np.median(seconds)), float(seconds.max()))


def _frames(count: int) -> npt.NDArray[np.int8]:
    return np.random.default_rng(0).integers(-128, 127, (count, 3, 40)).astype(np.int8)


@contextmanager
def _loaded(target: Target) -> Iterator[Target]:
    with target:
        target.load(load_model(published() / "okay_nabu.json"))
        yield target


def audio(target: Target, inferences: int) -> list[Sample]:
    """Infer without a pause, in one clip that never ends, a second of audio a request."""
    frames = _frames(33)
    with _loaded(target):
        return soak(lambda: [_inferred(target, frames) for _ in range(inferences // STEPS // 33 + 1)], STEPS)


def paced(target: Target, minutes: float) -> list[Sample]:
    """Infer a frame every 30 ms."""
    frame = _frames(1)
    next_at = time.monotonic()

    def wait_and_infer() -> float:
        nonlocal next_at
        time.sleep(max(0.0, next_at - time.monotonic()))
        next_at += 0.03
        return _inferred(target, frame)

    with _loaded(target):
        return soak(lambda: [wait_and_infer() for _ in range(max(1, round(minutes * 2000 / STEPS)))], STEPS)


def loads(target: Target, count: int) -> list[Sample]:
    """Load the model and infer a frame, again and again."""
    model, frame = load_model(published() / "okay_nabu.json"), _frames(1)

    def load() -> float:
        started = time.perf_counter()
        target.load(model)
        _inferred(target, frame)
        return time.perf_counter() - started

    with _loaded(target):
        return soak(lambda: [load() for _ in range(max(1, count // STEPS))], STEPS)


def _inferred(target: Target, frames: npt.NDArray[np.int8]) -> float:
    started = time.perf_counter()
    result = len(target.infer(frames).outputs)
    if result != len(frames):
        raise SystemExit(f"{result} outputs for {len(frames)} frames")
    return time.perf_counter() - started


def soaks(size: float) -> Iterator[tuple[str, Callable[[], list[Sample]]]]:
    """What there is to soak, by name."""
    hour, count, on_board, minutes = int(HOUR * size), int(10_000 * size), int(200 * size), 10 * size
    yield f"{hour} inferences, emulator", lambda: audio(EmulatorTarget(), hour)
    yield f"{count} loads, emulator", lambda: loads(EmulatorTarget(), count)
    with VirtualBoard() as board:

        def target() -> DeviceTarget:
            return DeviceTarget(board.port, TargetOptions())

        yield f"{on_board} loads, virtual board", lambda: loads(target(), on_board)
        yield f"{hour} inferences, virtual board", lambda: audio(target(), hour)
        yield f"{minutes:g} minutes at real pace, virtual board", lambda: paced(target(), minutes)


def main() -> None:
    """Soak, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=float, default=1.0, help="share of the full size")
    parser.add_argument("--only", default="", help="a word in the names of the rows to take")
    parser.add_argument("--write", action="store_true", help="put the rows into docs/reliability.md")
    options = parser.parse_args()
    print("| Soak | time | memory | threads | descriptors | latency, first and last fifth | slowest |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for name, samples in soaks(options.size):
        if options.only not in name:
            continue
        cells = row(name, time.monotonic(), samples())
        print(f"| {' | '.join(cells)} |", flush=True)
        if options.write:
            put_row("Soak", cells)


if __name__ == "__main__":
    main()
