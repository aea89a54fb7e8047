"""Distributes clips over benches: a free bench takes the next clip; clips of a lost board go to other benches."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from harness.clips.clip import Clip
from harness.run.judging import Observed, nothing_but
from harness.run.workbench import Bench
from mww.core.errors import MwwError


class Runner(Protocol):
    """Runs clips: a bench in this or another process."""

    target: str

    @property
    def at_once(self) -> int:
        """See `Bench`."""
        ...

    def run(self, clips: Sequence[Clip], stopped: Callable[[], bool]) -> Iterator[Observed]:
        """See `Bench`."""
        ...

    def gone(self) -> bool:
        """See `Bench`."""
        ...


@dataclass(frozen=True, slots=True)
class Loss:
    """A bench whose board is lost: the target's name, its last clip, and the error."""

    target: str
    clip: str
    error: MwwError


ShareClips: TypeAlias = Callable[
    [Sequence[Bench], Sequence[Clip], Callable[[Clip, Observed], None]], tuple[list[Observed], list[Loss]]
]
"""Maps clips to their observations: `run_clips` on this machine, or a cluster."""


def run_clips(
    benches: Sequence[Runner], clips: Sequence[Clip], finished: Callable[[Clip, Observed], None]
) -> tuple[list[Observed], list[Loss]]:
    """Run clips on all benches, and return the observations, in the clips' order, and the lost benches.

    `finished` is called for each clip as it ends, by one thread at a time.
    """
    queue = _Queue(clips, finished, len(benches))
    if len(benches) == 1:  # in this thread, where an interrupt ends it at once
        queue.work(benches[0])
    else:
        with ThreadPoolExecutor(len(benches)) as pool:
            try:
                for future in [pool.submit(queue.work, bench) for bench in benches]:
                    future.result()
            except BaseException:
                queue.stop()
                raise
    return queue.results(), queue.losses


class _Queue:
    """The waiting, running and finished clips, for one thread for each bench."""

    def __init__(self, clips: Sequence[Clip], finished: Callable[[Clip, Observed], None], benches: int) -> None:
        self._clips, self._finished, self._benches = clips, finished, benches
        self._waiting = deque(range(len(clips)))
        self._running = 0
        self._passed_on: set[int] = set()
        self._seen: dict[int, Observed] = {}
        self._change = threading.Condition()
        self._stopped = threading.Event()
        self.losses: list[Loss] = []

    def stop(self) -> None:
        """Let every thread end as soon as it can."""
        self._stopped.set()
        with self._change:
            self._change.notify_all()

    def work(self, bench: Runner) -> None:
        """Run clips until the queue is empty, or the bench's board is lost while others remain."""
        while taken := self._take(bench.at_once):
            try:
                for observed in bench.run([self._clips[index] for index in taken], self._stopped.is_set):
                    gone = self._benches > 1 and observed.streamed.error is not None and bench.gone()
                    if self._settle(taken.popleft(), observed, bench.target if gone else None):
                        self._give_back(taken)
                        return
            except BaseException:
                self.stop()
                raise

    def results(self) -> list[Observed]:
        """The observations of each clip; for clips without a remaining bench, the error."""
        for index in self._waiting:
            self._seen[index] = nothing_but(self.losses[-1].error)
            self._finished(self._clips[index], self._seen[index])
        return [self._seen[index] for index in range(len(self._clips))]

    def _take(self, most: int) -> deque[int]:
        """The next clips, fewer towards the end; with an empty queue it waits while a running clip may return to it."""
        with self._change:
            while not self._waiting and self._running and not self._stopped.is_set():
                self._change.wait()
            if self._stopped.is_set():
                return deque()
            share = len(self._waiting) if self._benches == 1 else -(-len(self._waiting) // (2 * self._benches))
            taken = deque(self._waiting.popleft() for _ in range(min(most, share)))
            self._running += len(taken)
            return taken

    def _give_back(self, taken: deque[int]) -> None:
        """Return clips that a bench took and did not begin to the queue."""
        with self._change:
            self._running -= len(taken)
            self._waiting.extendleft(reversed(taken))
            self._change.notify_all()

    def _settle(self, index: int, observed: Observed, lost: str | None) -> bool:
        """Note a finished clip, or queue it once more where its board was lost; returns whether it was lost."""
        with self._change:
            self._running -= 1
            self._change.notify_all()
            if self._stopped.is_set():  # a clip that was stopped is not a finished clip
                return True
            error = observed.streamed.error
            if lost is not None and error is not None:
                self.losses.append(Loss(lost, self._clips[index].name, error))
                if index not in self._passed_on:
                    self._passed_on.add(index)
                    self._waiting.appendleft(index)
                    return True
            self._seen[index] = observed
            self._finished(self._clips[index], observed)
            return lost is not None
