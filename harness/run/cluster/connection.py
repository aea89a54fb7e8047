"""A run's clips on a Dask cluster: connects for the first run, and disconnects at the end.

It compares the workers' versions and sends clips in batches; when a worker dies, its clips run again.
"""

from __future__ import annotations

import logging
import re
import uuid
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from harness.clips.clip import Clip
from harness.run.cluster.parcels import Parcel, pack, pack_whole, seconds
from harness.run.cluster.pool import Job, Versions, differences, make_pool, packages, run_batch, versions_here
from harness.run.cluster.remote_calls import Scheduler, WorkersDiedError
from harness.run.judging import Observed, nothing_but, with_golden
from harness.run.sharing import Loss
from harness.run.workbench import Bench
from mww.core.closing import Closing
from mww.core.errors import ClusterError, MissingPackageError, UsageError
from mww.core.readable import shown

if TYPE_CHECKING:
    from distributed import Client, Future, LocalCluster


_LOCAL: Final = re.compile(r"local(?::([1-9][0-9]{0,3}))?")
_REMOTE: Final = re.compile(
    r"(?!local(?::|$))(?:(?:tcp|tls|ws|wss|ucx)://)?[^\s/@:]+(?::[0-9]+)?|(?:tcp|tls)://\[[0-9a-fA-F:]+\]:[0-9]+"
)
CONNECT_SECONDS: Final = 30
"""That a scheduler may take to answer, also on a machine that is busy."""
_FORMS: Final = "tcp://host:8786, tls://host:8786, or local:2 for two worker processes on this machine"


@contextmanager
def _quietly() -> Iterator[None]:
    """Hide Dask's own log, since important events come as errors. `--debug` shows it."""
    if logging.getLogger().isEnabledFor(logging.DEBUG):
        yield
        return
    loggers = {name: logging.getLogger(name) for name in ("distributed", "distributed.client", "distributed.gc")}
    levels = {name: logger.level for name, logger in loggers.items()}
    for logger in loggers.values():
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for name, logger in loggers.items():
            logger.setLevel(levels[name])


class Cluster(Closing):
    """A Dask scheduler with its workers, or worker processes of this machine. Use it as a context manager."""

    def __init__(self, address: str) -> None:
        """Note the cluster's address.

        Raises:
            UsageError: It is not an address.
        """
        local = _LOCAL.fullmatch(address)
        if not local and not _REMOTE.fullmatch(address):
            raise UsageError(f"no address of a cluster: {shown(address)}", hint=_FORMS)
        self.address = address
        self._workers = int(local[1]) if local and local[1] else None
        self._is_local = local is not None
        self._open = ExitStack()
        self._client: Client | None = None

    def run_clips(
        self, benches: Sequence[Bench], clips: Sequence[Clip], finished: Callable[[Clip, Observed], None]
    ) -> tuple[list[Observed], list[Loss]]:
        """Run clips as `harness.run.sharing.run_clips` does, on the workers; a lost worker does not lose results.

        Raises:
            MissingPackageError: The extra is not installed.
            ClusterError: The scheduler does not answer, or the workers cannot run the clips.
        """
        if not clips:
            return [], []
        self._client = self._client or self._connect()
        return run_on_workers(Scheduler(self._client, self.address), benches[0], clips, finished), []

    def _connect(self) -> Client:
        try:
            from distributed import Client
        except ImportError as error:
            hint = "pip install 'mww-harness[cluster]', here and on every worker"
            raise MissingPackageError("--cluster needs the package distributed", hint=hint) from error
        self._open.enter_context(_quietly())
        place: LocalCluster | str = self.address
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings about versions, which are compared where they matter
            if self._is_local:
                place = self._open.enter_context(self._local_cluster())
            try:
                client = Client(place, timeout=CONNECT_SECONDS, set_as_default=False)
            except (OSError, ValueError, TypeError) as error:
                hint = f"start `dask scheduler` there; an address is {_FORMS}"
                raise ClusterError(f"no Dask scheduler answers at {self.address}", hint=hint) from error
        return self._open.enter_context(client)

    def _local_cluster(self) -> LocalCluster:
        from distributed import LocalCluster

        try:
            return LocalCluster(
                n_workers=self._workers,
                threads_per_worker=1,
                host="127.0.0.1",
                security=True,  # a certificate for this cluster alone, to exclude other users of the machine
                dashboard_address=None,
                silence_logs=logging.CRITICAL,
                preload="harness.run.cluster.pool",
            )
        except RuntimeError as error:
            hint = "a script must be a file, with `if __name__ == '__main__':` around its calls: docs/cluster.md"
            raise ClusterError(f"the workers of {self.address} do not start: {error}", hint=hint) from error

    def close(self) -> None:
        """Disconnect from the scheduler; end a cluster of this machine."""
        self._open.close()


BATCH_SECONDS: Final = 250.0
"""Seconds of audio in a task: about 0.7 s of work, so that a task's overhead of milliseconds does not matter; 8 MB
where it is sent.
"""
BATCH_CLIPS: Final = 256

_AHEAD: Final = 2  # batches for each thread: one runs, one waits
_DEADLY: Final = "workers died, each time with this clip alone"
_SHARES: Final = 4  # tasks of a small corpus for each thread, so that no thread idles long at the end


class Spread:
    """The clips of a run in progress."""

    def __init__(
        self, scheduler: Scheduler, job: Job, clips: Sequence[Clip], arrived: Callable[[int, Observed], None]
    ) -> None:
        self._scheduler, self._job, self._clips, self._arrived = scheduler, job, clips, arrived
        self._waiting = deque(range(len(clips)))
        self._whole: set[int] = set()  # to be sent with their content
        self._all_whole = False
        self._most = BATCH_CLIPS
        self._suspects: list[int] = []  # the clips with which workers died
        self._under_way: dict[Future, tuple[int, ...]] = {}
        self._tasks = 0

    def run(self) -> None:
        """Run all clips; those with which workers died run once more at the end, each alone.

        Raises:
            ClusterError: It cannot continue; `arrived` has the finished clips.
        """
        self._pool = self._scheduler.submit(make_pool, self._job, key=self._job.key, reported=False)
        try:
            self._run_waiting()
            suspects, self._suspects, self._most = self._suspects, [], 1
            for index in suspects:
                self._waiting.append(index)
                self._run_waiting()
            for index in self._suspects:
                self._arrived(index, nothing_but(ClusterError(_DEADLY, hint="the workers' log may show why")))
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
        """The next clips for a task; a clip that cannot be sent is reported at once."""
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
        """Report finished clips; send the content of clips whose file a worker did not see."""
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


_NAMED: Final = 5


def run_on_workers(
    scheduler: Scheduler, bench: Bench, clips: Sequence[Clip], finished: Callable[[Clip, Observed], None]
) -> list[Observed]:
    """Run clips as `bench` would, on the workers of a cluster, and return the results in the clips' order.

    `finished` is called for each clip as it finishes.

    Raises:
        ClusterError: No worker exists, a worker has other versions or cannot run clips, or the scheduler or all workers
            went away.
    """
    names, recorded = packages(bench.setup), bench.setup.recorded
    setup = replace(bench.setup, recorded=None)
    job = Job(f"mww-bench-{uuid.uuid4().hex}", setup, bench.target, names, versions_here(names))
    scheduler.wait_for_workers()
    _refuse_others(job.versions, scheduler.ask_workers(versions_here, names))
    seen: dict[int, Observed] = {}

    def arrived(index: int, observed: Observed) -> None:
        seen[index] = observed if recorded is None else with_golden(recorded, clips[index].name, observed)
        finished(clips[index], seen[index])

    Spread(scheduler, job, clips, arrived).run()
    return [seen[index] for index in range(len(clips))]


def _refuse_others(here: Versions, workers: dict[str, Versions]) -> None:
    result = {address: differences(here, there) for address, there in workers.items()}
    wrong = [f"worker {address} has {message}" for address, message in result.items() if message]
    if wrong:
        more = f"; and {len(wrong) - _NAMED} more workers" if len(wrong) > _NAMED else ""
        hint = "install the same versions on every worker and here: different versions may give different outputs"
        raise ClusterError(f"{'; '.join(wrong[:_NAMED])}{more}", hint=hint)
