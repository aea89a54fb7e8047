"""An hour of audio, thousands of loads: what grows, and whether it gets slower. Run by `make soak`."""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import psutil

from benchmarks.reliability.processes import published
from harness.model import load_model
from harness.targets.base import Target
from harness.targets.device import DeviceTarget
from harness.targets.emulator import EmulatorTarget
from harness.targets.registry import TargetOptions
from harness.virtual.process import VirtualBoard

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
    seconds: float


def soak(step: Callable[[], None], steps: int) -> list[Sample]:
    """Take `steps` steps and look at the processes after each."""
    samples = []
    for _ in range(steps):
        started = time.perf_counter()
        step()
        samples.append(_sample(time.perf_counter() - started))
    return samples


def account(name: str, samples: list[Sample]) -> str:
    """One line of the table: growth from the warm-up's end to the end, and the pace of the first and last fifth."""
    first, last = samples[min(WARM_UP, len(samples) // 5)], samples[-1]
    fifth = max(1, len(samples) // 5)
    early, late = (float(np.median([s.seconds for s in part])) for part in (samples[:fifth], samples[-fifth:]))
    grown = (last.memory - first.memory) / (1 << 20)
    counts = f"{last.threads - first.threads:+d} | {last.descriptors - first.descriptors:+d}"
    total = sum(sample.seconds for sample in samples)
    return f"| {name} | {total:.0f} s | {grown:+.1f} MB of {last.memory >> 20} | {counts} | {late / early:.2f} |"


def _sample(seconds: float) -> Sample:
    gc.collect()
    memory = threads = descriptors = 0
    own = psutil.Process()
    for process in (own, *own.children(recursive=True)):
        memory += process.memory_full_info().uss
        threads += process.num_threads()
        descriptors += process.num_fds()
    return Sample(memory, threads, descriptors, seconds)


def _frames(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(-128, 127, (count, 3, 40)).astype(np.int8)


@contextmanager
def _loaded(target: Target) -> Iterator[Target]:
    with target:
        target.load(load_model(published() / "okay_nabu.json"))
        yield target


def audio(target: Target, inferences: int) -> list[Sample]:
    """Infer without a pause, in one clip that never ends."""
    frames = _frames(inferences // STEPS)
    with _loaded(target):
        return soak(lambda: _checked(len(target.infer(frames).outputs), len(frames)), STEPS)


def paced(target: Target, minutes: float) -> list[Sample]:
    """Infer a second of audio each second."""
    frames = _frames(33)
    next_at = time.monotonic()

    def step() -> None:
        nonlocal next_at
        for _ in range(max(1, round(minutes * 60 / STEPS))):
            time.sleep(max(0.0, next_at - time.monotonic()))
            next_at += 0.99
            target.infer(frames)

    with _loaded(target):
        return soak(step, STEPS)


def loads(target: Target, count: int) -> list[Sample]:
    """Load the model and infer a frame, again and again."""
    model, frames = load_model(published() / "okay_nabu.json"), _frames(1)

    def step() -> None:
        for _ in range(max(1, count // STEPS)):
            target.load(model)
            _checked(len(target.infer(frames).outputs), 1)

    with _loaded(target):
        return soak(step, STEPS)


def _checked(found: int, expected: int) -> None:
    if found != expected:
        raise SystemExit(f"{found} outputs for {expected} frames")


def main() -> None:
    """Soak, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=float, default=1.0, help="Share of the full size.")
    size = parser.parse_args().size
    print("| | time | memory | threads | descriptors | pace, last fifth to first |")
    print("|---|---|---|---|---|---|", flush=True)
    hour, count, on_board, minutes = int(HOUR * size), int(10_000 * size), int(200 * size), 10 * size
    print(account(f"{hour} inferences, emulator", audio(EmulatorTarget(), hour)), flush=True)
    print(account(f"{count} loads, emulator", loads(EmulatorTarget(), count)), flush=True)
    with VirtualBoard() as board:

        def target() -> DeviceTarget:
            return DeviceTarget(board.port, TargetOptions())

        print(account(f"{on_board} loads, virtual board", loads(target(), on_board)), flush=True)
        print(account(f"{hour} inferences, virtual board", audio(target(), hour)), flush=True)
        print(account(f"{minutes:g} minutes at real pace, virtual board", paced(target(), minutes)), flush=True)


if __name__ == "__main__":
    main()
