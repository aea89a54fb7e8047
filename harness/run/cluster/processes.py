"""Clips shared out to processes of this machine, for an engine that computes in the process that asks it.

Threads would wait for each other: between numpy's calls one of them runs at a time.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from harness.clips.clip import AudioClip, Clip
from harness.run.cluster.parcels import pack, pack_whole, seconds
from harness.run.judging import Observed, nothing_but, with_golden
from harness.run.sharing import Loss, run_clips
from harness.run.workbench import Bench, Setup
from mww.core.children import end_child, start_child
from mww.core.closing import Closing
from mww.core.errors import EngineError, MwwError

WORTH: Final = 900.0
"""Seconds of sound for which another process is worth its start, about a second."""
_FEATURES: Final = 8
"""How many seconds of features take as long as one of sound."""
_POLL: Final = 0.1
_END: Final = 1.0


class Processes(Closing):
    """As many processes as there are jobs, this one among them; others start when there is work for them."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._helpers: list[_Helper] = []

    def run_clips(
        self, benches: Sequence[Bench], clips: Sequence[Clip], finished: Callable[[Clip, Observed], None]
    ) -> tuple[list[Observed], list[Loss]]:
        """Run clips as `harness.run.sharing.run_clips` does, on the one bench here and on others like it elsewhere."""
        (bench,) = benches
        helpers = min(self._jobs, len(clips), 1 + int(_work(clips) / WORTH)) - 1
        self._helpers = [helper for helper in self._helpers if not helper.gone()]
        while len(self._helpers) < helpers:
            self._helpers.append(_Helper(len(self._helpers) + 2))
        used = self._helpers[: max(0, helpers)]
        for helper in used:
            helper.open(bench.setup, bench.target)
        return run_clips([bench, *used], clips, finished)

    def close(self) -> None:
        """End the processes."""
        for helper in self._helpers:
            helper.close()


def _work(clips: Sequence[Clip]) -> float:
    """Seconds of sound that clips are, or would take as long as; 0 where one has no place that another process sees."""
    total = 0.0
    for clip in clips:
        parcel = pack(clip)
        if parcel is None:
            return 0.0
        total += seconds(parcel) / (1 if isinstance(clip, AudioClip) else _FEATURES)
    return total


class _Helper:
    """A process with a bench, seen from here like a bench; for one thread at a time."""

    def __init__(self, number: int) -> None:
        self._name = self.target = f"process {number}"
        self._setup: Setup | None = None
        self._process = start_child("harness.run.cluster.bench_process")
        self._reader = ThreadPoolExecutor(1, self.target)

    def open(self, setup: Setup, target: str) -> None:
        """Have it open a bench and load the models, while the caller goes on."""
        self._setup, self.target = setup, f"{target} in {self._name}"
        self._reader.submit(self._send, (replace(setup, recorded=None), target))

    def run(self, clip: Clip, stopped: Callable[[], bool]) -> Observed:
        """Run a clip there; once `stopped`, the process is killed."""
        answer = self._reader.submit(self._ask, clip)
        while not wait([answer], _POLL).done:
            if stopped():
                self._process.kill()
        try:
            observed = answer.result()
        except MwwError as error:
            return nothing_but(error)
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            self._process.kill()  # it may still be about to end, and would not count as gone
            self._process.wait()
            ended = EngineError(
                "a process that ran clips has ended", hint="is there enough memory? or leave --jobs out"
            )
            return nothing_but(ended.with_traceback(error.__traceback__))
        recorded = self._setup.recorded if self._setup else None
        return with_golden(recorded, clip.name, observed) if recorded else observed

    def gone(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def close(self) -> None:
        """End the process."""
        self._reader.shutdown()
        with suppress(BrokenPipeError):  # of what it did not read any more
            if self._process.stdin is not None:
                self._process.stdin.close()
        end_child(self._process, _END)

    def _ask(self, clip: Clip) -> Observed:
        parcel = pack(clip)
        observed = self._exchange(parcel) if parcel is not None else None
        if observed is None:  # its file is not what it was a moment ago
            observed = self._exchange(pack_whole(clip))
        assert observed is not None
        return observed

    def _exchange(self, request: object) -> Observed | None:
        self._send(request)
        assert self._process.stdout is not None
        answer: Observed | None = pickle.load(self._process.stdout)
        return answer

    def _send(self, request: Any) -> None:
        assert self._process.stdin is not None
        pickle.dump(request, self._process.stdin)
        self._process.stdin.flush()
