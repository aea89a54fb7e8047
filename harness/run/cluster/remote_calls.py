"""Calls to a Dask scheduler: tasks, their results, its workers; it stops waiting when no worker is left.

Only this module uses Dask's client; its errors become `ClusterError`.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import queue
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mww.core.errors import ClusterError, MwwError, UnhintedError

if TYPE_CHECKING:
    from distributed import Client, Future

R = TypeVar("R")

PATIENCE: Final = 30.0
"""Seconds without a worker after which a cluster counts as gone; a worker that died is started again within two."""

_POLL_SECONDS: Final = 1.0
_ANSWER_SECONDS: Final = 30.0
_RETRIES: Final = 2  # attempts of a task that failed on a worker: it may work on another
_RESUME: Final = "with --report DIR finished clips are kept; the same command with --resume continues"


class WorkersDiedError(UnhintedError):
    """Workers died while they ran a task, more often than the scheduler allows.

    It is caught inside this package, so it has no hint.
    """

    code = ClusterError.code


class Scheduler:
    """The scheduler as a client sees it, for one thread."""

    def __init__(self, client: Client, address: str) -> None:
        self.address = address
        self._client = client
        self._done: queue.SimpleQueue[Future] = queue.SimpleQueue()
        self._alone_since: float | None = None
        self._asked = 0.0
        self.threads = 0

    def wait_for_workers(self) -> None:
        """Wait for a worker.

        Raises:
            ClusterError: No worker appears.
        """
        self._watch()
        while not self.threads:
            time.sleep(_POLL_SECONDS)
            self._watch()

    def ask_workers(self, function: Callable[..., R], *words: object) -> dict[str, R]:
        """Call a function on every worker, even if it is busy.

        Raises:
            ClusterError: A worker has no mww-harness, or a different version.
        """
        answers: dict[str, Any] = self._wait(
            self._client.run(function, *words, on_error="return", asynchronous=True), _ANSWER_SECONDS
        )
        for worker, answer in answers.items():
            if isinstance(answer, BaseException):
                message = f"worker {worker} cannot run mww-harness: {type(answer).__name__}: {answer}"
                raise ClusterError(message, hint="install the same mww-harness on every worker")
        return answers

    def submit(self, function: Callable[..., object], *words: object, key: str, reported: bool = True) -> Future:
        """Start a task; `finished` reports its end where it is `reported`."""
        future = self._client.submit(function, *words, key=key, pure=False, retries=_RETRIES)
        if reported:
            future.add_done_callback(self._done.put)
        return future

    def finished(self) -> list[Future]:
        """The tasks that ended since the last call, at least one.

        Raises:
            ClusterError: No worker is left.
        """
        ended: list[Future] = []
        while not ended:
            self._watch()
            try:
                ended.append(self._done.get(timeout=_POLL_SECONDS))
                while True:
                    ended.append(self._done.get_nowait())
            except queue.Empty:
                continue
        return ended

    def results(self, futures: Sequence[Future]) -> list[Any]:
        """The results of ended tasks; a `WorkersDiedError` for each task that killed its workers.

        Raises:
            ClusterError: The scheduler is gone, or a worker cannot run clips.
        """
        while True:
            dead = {future for future in futures if self._has_killed_workers(future)}
            good = [future for future in futures if future not in dead]
            try:
                gathered = iter(self._wait(self._client.gather(good, asynchronous=True), None))
            except Exception:
                if any(future.status == "error" for future in good):
                    continue  # its result was lost with a worker, and it failed when it was computed again
                raise
            return [WorkersDiedError("workers died") if future in dead else next(gathered) for future in futures]

    def _has_killed_workers(self, future: Future) -> bool:
        """Whether an ended task did; a result that was lost with its worker ("lost") is being computed again.

        Raises:
            ClusterError: The scheduler is gone, or a worker cannot run clips.
        """
        from distributed import KilledWorker

        if future.status == "cancelled":
            raise self._gone()
        if future.status != "error":
            return False
        error = future.exception(_ANSWER_SECONDS)
        if isinstance(error, MwwError):
            raise error
        if not isinstance(error, KilledWorker):
            raise ClusterError(f"a worker failed: {type(error).__name__}: {error}", hint="see the worker's log")
        return True

    def cancel(self, futures: Sequence[Future]) -> None:
        """Cancel some tasks; without effect where the scheduler is gone."""
        try:
            self._wait(self._client.cancel(list(futures), force=True, asynchronous=True), _POLL_SECONDS)
        except ClusterError:
            return

    def _watch(self) -> None:
        """Count the workers at intervals; give up where none is left for long, or the scheduler does not answer."""
        now = time.monotonic()
        if now - self._asked < _POLL_SECONDS:
            return
        if self._client.status not in ("running", "connecting"):
            raise self._gone()
        workers: dict[str, int] = self._wait(self._client.nthreads(asynchronous=True), _ANSWER_SECONDS)
        self.threads, self._asked = sum(workers.values()), now
        if self.threads:
            self._alone_since = None
            return
        self._alone_since = self._alone_since or now
        if now - self._alone_since > PATIENCE:
            message = f"the scheduler at {self.address} has had no worker for {PATIENCE:.0f} s"
            raise ClusterError(message, hint=f"start workers with `dask worker {self.address}`; {_RESUME}")

    def _wait(self, coroutine: Coroutine[Any, Any, R], limit: float | None) -> R:
        """The result of a call in the client's own thread; it may take any time while workers exist."""
        loop = self._client.loop.asyncio_loop
        future = asyncio.run_coroutine_threadsafe(_whole(coroutine), loop)
        started = time.monotonic()
        try:
            while True:
                try:
                    return future.result(_POLL_SECONDS)
                except concurrent.futures.TimeoutError:
                    if future.done():
                        raise self._gone() from None
                    if limit is None:
                        self._watch()
                    elif time.monotonic() - started > limit:
                        raise self._gone() from None
        except (OSError, concurrent.futures.CancelledError) as error:
            raise self._gone() from error
        finally:
            future.cancel()

    def _gone(self) -> ClusterError:
        return ClusterError(f"the Dask scheduler at {self.address} went away", hint=_RESUME)


async def _whole(coroutine: Coroutine[Any, Any, R]) -> R:
    return await coroutine
