"""Clips over the workers of a cluster: batches out, what was seen back, and the rest again when a worker died.

Few batches are under way at a time, so that neither scheduler nor workers hold more than they need, and an interrupt
has little to take back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from harness.clips.clip import Clip
from harness.run.cluster.parcels import Parcel, pack, pack_whole, seconds
from harness.run.cluster.pool import Job, make_pool, run_batch
from harness.run.cluster.remote_calls import Scheduler, WorkersDiedError
from harness.run.judging import Observed, nothing_but
from mww.core.errors import ClusterError

if TYPE_CHECKING:
    from distributed import Future

BATCH_SECONDS: Final = 250.0
"""Of audio in a task: some 0.7 s of work, beside which a task's few milliseconds are nothing; 8 MB where it is sent."""
BATCH_CLIPS: Final = 256

_AHEAD: Final = 2  # batches for each thread: one runs, one waits
_DEADLY: Final = "workers died while they ran this clip, and nothing else"
_SHARES: Final = 4  # of a small corpus for each thread, so that none idles long at the end


class Spread:
    """One run's clips under way."""

    def __init__(
        self, scheduler: Scheduler, job: Job, clips: Sequence[Clip], arrived: Callable[[int, Observed], None]
    ) -> None:
        self._scheduler, self._job, self._clips, self._arrived = scheduler, job, clips, arrived
        self._waiting = deque(range(len(clips)))
        self._whole: set[int] = set()  # to be sent with what is in them
        self._all_whole = False
        self._most = BATCH_CLIPS
        self._suspects: list[int] = []  # what workers died with
        self._under_way: dict[Future, tuple[int, ...]] = {}
        self._tasks = 0

    def run(self) -> None:
        """Run all clips; those that workers died with are run once more at the end, each alone.

        Raises:
            ClusterError: It cannot go on; `arrived` has got what had finished.
        """
        self._pool = self._scheduler.submit(make_pool, self._job, key=self._job.key, reported=False)
        try:
            self._run_waiting()
            suspects, self._suspects, self._most = self._suspects, [], 1
            for index in suspects:
                self._waiting.append(index)
                self._run_waiting()
            for index in self._suspects:
                self._arrived(index, nothing_but(ClusterError(_DEADLY, hint="the log of the workers may tell why")))
        finally:
            if self._under_way:
                self._scheduler.cancel([*self._under_way, self._pool])

    def _run_waiting(self) -> None:
        while self._waiting or self._under_way:
            self._send()
            if self._under_way:
                self._take(self._scheduler.finished())

    def _send(self) -> None:
        limit = _AHEAD * max(1, self._scheduler.threads)
        while self._waiting and len(self._under_way) < limit:
            indices, parcels = self._batch()
            if parcels:
                self._submit(indices, parcels)

    def _batch(self) -> tuple[tuple[int, ...], tuple[Parcel, ...]]:
        """The next clips of a task; what cannot be sent is reported at once."""
        share = len(self._clips) // (_SHARES * max(1, self._scheduler.threads))
        most = max(1, min(self._most, share))
        chosen: dict[int, Parcel] = {}
        length = 0.0
        while self._waiting and len(chosen) < most and length < BATCH_SECONDS:
            index = self._waiting.popleft()
            try:
                parcel = self._pack(index)
            except ClusterError as error:
                self._arrived(index, nothing_but(error))
                continue
            chosen[index] = parcel
            length += seconds(parcel)
        return tuple(chosen), tuple(chosen.values())

    def _pack(self, index: int) -> Parcel:
        clip = self._clips[index]
        parcel = None if self._all_whole or index in self._whole else pack(clip)
        return parcel or pack_whole(clip)

    def _submit(self, indices: tuple[int, ...], parcels: tuple[Parcel, ...]) -> None:
        self._tasks += 1
        key = f"{self._job.key}-{self._tasks}"
        self._under_way[self._scheduler.submit(run_batch, self._pool, parcels, key=key)] = indices

    def _take(self, futures: Iterable[Future]) -> None:
        """Tell what came; what was not to be seen from a worker is sent whole."""
        ended = [future for future in futures if future in self._under_way]
        for future, seen in zip(ended, self._scheduler.results(ended), strict=True):
            indices = self._under_way.pop(future)
            if isinstance(seen, WorkersDiedError):
                self._suspects.extend(indices)
                continue
            unseen = [index for index, observed in zip(indices, seen, strict=True) if observed is None]
            self._all_whole = self._all_whole or len(unseen) == len(indices)
            self._whole.update(unseen)
            self._waiting.extendleft(reversed(unseen))
            for index, observed in zip(indices, seen, strict=True):
                if observed is not None:
                    self._arrived(index, observed)
