"""Inside a Dask worker: its versions, the benches that it keeps between tasks, and a task of some clips on one bench.

All workers of a run must have the versions that decide an output byte. A pool is data of the worker, like any other
result: Dask copies it where a task needs it, makes it again after its worker died, and drops it when its run has ended.
Its benches end with it.
"""

from __future__ import annotations

import hashlib
import signal
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

import exporter
import harness
import mww
from harness.clips.npz import Archive
from harness.engines.catalog import ENGINES, default_engine
from harness.run.cluster.parcels import Parcel, run_parcels
from harness.run.judging import Observed
from harness.run.workbench import Bench, Setup
from mww.core.errors import ClusterError, MwwError
from mww.core.readable import Readable
from mww.core.resources import NOT_INSTALLED, distribution_version

Versions: TypeAlias = tuple[tuple[str, str], ...]


def packages(setup: Setup) -> tuple[str, ...]:
    """The packages besides mww-harness that affect a run's outputs."""
    used = (setup.options.engine or default_engine(), setup.golden_engine, setup.vad_engine)
    engines = {name for name in used if name and ENGINES[name].version is None}
    return ("pymicro-features", *sorted(ENGINES[name].distribution for name in engines))


def versions_here(names: tuple[str, ...]) -> Versions:
    """The versions in this process: of mww-harness, the digest of its sources, and of packages."""
    own = (("mww-harness", mww.__version__), ("mww-harness's sources", _sources()[:12]))
    return own + tuple((name, (distribution_version(name) or NOT_INSTALLED)) for name in names)


def differences(here: Versions, there: Versions) -> str:
    """The differences, for people; empty where all is equal."""
    result = dict(there)
    return "; ".join(
        f"{name} {result.get(name, 'unknown')}, not {version}" for name, version in here if result.get(name) != version
    )


@cache
def _sources() -> str:
    """The sha256 of the Python files of mww-harness: two checkouts may have the same version number."""
    digest = hashlib.sha256()
    for package in (mww, exporter, harness):
        root = Path(str(package.__file__)).parent
        for path in sorted(root.rglob("*.py")):
            digest.update(f"{path.relative_to(root)}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Job:
    """The common data of all tasks of a run; it is sent to each worker once.

    Attributes:
        key: Under which Dask keeps the pool.
        setup: The models among it, by content; without a recorded golden, which the caller compares with.
        target: The target's name.
        names: The packages whose versions count.
        versions: Those of the machine that the run was started on.
    """

    key: str
    setup: Setup
    target: str
    names: tuple[str, ...]
    versions: Versions


class BenchPool:
    """The benches of a worker: as many as it has threads."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._checked = False
        self._free: list[Bench] = []
        self._archives: dict[str, Archive] = {}
        self._turn = threading.Lock()
        weakref.finalize(self, _close, self._free, self._archives)

    def __reduce__(self) -> tuple[type[BenchPool], tuple[Job]]:
        return BenchPool, (self.job,)

    @contextmanager
    def bench(self) -> Iterator[Bench]:
        """A bench with the models loaded, for one thread at a time.

        Raises:
            MwwError: This worker has other versions, or cannot open a bench or load a model.
        """
        bench = self._take() or self._make()
        try:
            yield bench
        except BaseException:
            bench.close()
            raise
        with self._turn:
            self._free.append(bench)

    def archive(self, file: Readable) -> Archive:
        """An archive, opened once for all its clips.

        Raises:
            FeatureError: It cannot be read.
        """
        with self._turn:
            if str(file) not in self._archives:
                self._archives[str(file)] = Archive(file)
            return self._archives[str(file)]

    def _take(self) -> Bench | None:
        with self._turn:
            return self._free.pop() if self._free else None

    def _make(self) -> Bench:
        job = self.job
        if not self._checked:
            if result := differences(job.versions, versions_here(job.names)):
                raise ClusterError(f"it has {result}", hint="install the same versions on every worker")
            self._checked = True
        bench = Bench(job.setup, job.target)
        try:
            bench.load()
        except BaseException:
            bench.close()
            raise
        return bench


def make_pool(job: Job) -> BenchPool:
    """The task whose result is a pool."""
    return BenchPool(job)


def run_batch(pool: BenchPool, parcels: tuple[Parcel, ...]) -> list[Observed | None]:
    """The task for some clips: the result of each, None for a clip whose file this worker does not see.

    It ends early if the pool is dropped.

    Raises:
        MwwError: This worker cannot run clips; the message names the worker.
    """
    from distributed import get_worker

    worker = get_worker()

    def stopped() -> bool:
        return pool.job.key not in worker.data

    seen: list[Observed | None] = []
    try:
        with pool.bench() as bench:
            for observed in run_parcels(bench, parcels, pool.archive, stopped):
                seen.append(observed)
                if stopped():
                    break
    except MwwError as error:
        raise error.with_message(f"worker {worker.address}: {error.message}") from None
    return seen


def _close(benches: list[Bench], archives: dict[str, Archive]) -> None:
    for bench in benches:
        bench.close()
    for archive in archives.values():
        archive.close()


def dask_setup(worker: object) -> None:
    """Called by Dask in workers of this computer, which preload this module: the run handles Ctrl-C and ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
