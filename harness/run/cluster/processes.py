"""Clips distributed over processes of this machine, for an engine that computes in its caller's process.

Threads would wait for each other: between numpy's calls only one thread runs.
"""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from harness.clips.clip import AudioClip, Clip
from harness.run.cluster.parcels import pack, pack_whole, seconds
from harness.run.judging import Observed, nothing_but, with_golden
from harness.run.sharing import Loss, run_clips
from harness.run.workbench import AT_ONCE, Bench, Setup
from mww.core.children import end_child, start_child
from mww.core.closing import Closing
from mww.core.errors import EngineError, MwwError

WORTH: Final = 900.0
"""Seconds of sound that justify another process, which takes about a second to start."""
_FEATURES: Final = 8
"""Seconds of features that take as long as one second of sound."""
_POLL: Final = 0.1
_END: Final = 5.0


class Processes(Closing):
    """A process for each job, including this process; others start when they have work."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._helpers: list[Helper] = []

    def run_clips(
        self, benches: Sequence[Bench], clips: Sequence[Clip], finished: Callable[[Clip, Observed], None]
    ) -> tuple[list[Observed], list[Loss]]:
        """Run clips as `harness.run.sharing.run_clips` does, on a bench in this process and on benches in others."""
        (bench,) = benches
        helpers = min(self._jobs, len(clips), 1 + int(_work(clips) / WORTH)) - 1
        self._helpers = [helper for helper in self._helpers if not helper.gone()]
        while len(self._helpers) < helpers:
            self._helpers.append(Helper(len(self._helpers) + 2))
        used = self._helpers[: max(0, helpers)]
        for helper in used:
            helper.open(bench.setup, bench.target)
        return run_clips([bench, *used], clips, finished)

    def close(self) -> None:
        """End the processes."""
        for helper in self._helpers:
            helper.close()


def _work(clips: Sequence[Clip]) -> float:
    """The work of clips as seconds of sound; 0 where another process cannot read a clip."""
    total = 0.0
    for clip in clips:
        parcel = pack(clip)
        if parcel is None:
            return 0.0
        total += seconds(parcel) / (1 if isinstance(clip, AudioClip) else _FEATURES)
    return total


class Helper:
    """A process with a bench, with the interface of a bench; for one thread at a time."""

    at_once = AT_ONCE

    def __init__(self, number: int) -> None:
        self._name = self.target = f"process {number}"
        self._setup: Setup | None = None
        self._process = start_child("harness.run.cluster.bench_process")
        self._reader = ThreadPoolExecutor(1, self.target)

    def open(self, setup: Setup, target: str) -> None:
        """Let it open a bench and load the models, while the caller continues."""
        self._setup, self.target = setup, f"{target} in {self._name}"
        self._reader.submit(self._send, (replace(setup, recorded=None), target))

    def run(self, clips: Sequence[Clip], stopped: Callable[[], bool]) -> Iterator[Observed]:
        """Run clips in the process; once `stopped`, the process is killed."""
        answers = self._answers(clips)
        recorded = self._setup.recorded if self._setup else None
        for clip in clips:
            answer = self._reader.submit(next, answers)
            while not wait([answer], _POLL).done:
                if stopped():
                    self._process.kill()
            try:
                observed = answer.result()
            except (OSError, EOFError, pickle.UnpicklingError) as error:
                self._process.kill()  # it may be about to end, and not yet count as gone
                self._process.wait()
                ended = EngineError(
                    "a process that ran clips has ended", hint="check that there is enough memory, or leave --jobs out"
                )
                yield nothing_but(ended.with_traceback(error.__traceback__))
                return
            yield with_golden(recorded, clip.name, observed) if recorded else observed

    def gone(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def close(self) -> None:
        """End the process."""
        self._reader.shutdown()
        with suppress(BrokenPipeError):  # requests that it did not read
            if self._process.stdin is not None:
                self._process.stdin.close()
        end_child(self._process, _END)

    def _answers(self, clips: Sequence[Clip]) -> Iterator[Observed]:
        """The observations of each clip; a clip whose file has changed is sent whole."""
        parcels = [pack(clip) for clip in clips]
        self._send([parcel for parcel in parcels if parcel is not None])
        waiting = deque(parcel is not None for parcel in parcels)
        early: deque[Observed | None] = deque()
        for clip in clips:
            observed = None
            if waiting.popleft():
                observed = early.popleft() if early else self._receive()
            if observed is None:
                early.extend([self._receive() for _ in range(sum(waiting) - len(early))])
                observed = self._whole(clip)
            yield observed

    def _whole(self, clip: Clip) -> Observed:
        try:
            self._send([pack_whole(clip)])
        except MwwError as error:
            return nothing_but(error)
        observed = self._receive()
        assert observed is not None
        return observed

    def _receive(self) -> Observed | None:
        assert self._process.stdout is not None
        answer: Observed | None = pickle.load(self._process.stdout)
        return answer

    def _send(self, request: Any) -> None:
        assert self._process.stdin is not None
        pickle.dump(request, self._process.stdin)
        self._process.stdin.flush()
