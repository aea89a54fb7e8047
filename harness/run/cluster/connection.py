"""A Dask cluster by its address: connected when the first run needs it, and let go at the end.

Dask carries tasks and results as pickles: whoever reaches the scheduler can run code on it, on its workers and on its
clients. An address is therefore configuration, like a script, and nothing is connected to but what was named.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Final

from harness.clips.clip import Clip
from harness.run.cluster.crew import run_on_workers
from harness.run.cluster.remote_calls import Scheduler
from harness.run.judging import Observed
from harness.run.sharing import Loss
from harness.run.workbench import Bench
from mww.core.errors import ClusterError, MissingPackageError, UsageError

if TYPE_CHECKING:
    from distributed import Client
    from typing_extensions import Self

_LOCAL: Final = re.compile(r"local(?::([1-9][0-9]{0,3}))?")
_REMOTE: Final = re.compile(
    r"(?!local(?::|$))(?:(?:tcp|tls|ws|wss|ucx)://)?[^\s/@:]+(?::[0-9]+)?|(?:tcp|tls)://\[[0-9a-fA-F:]+\]:[0-9]+"
)
_CONNECT_SECONDS: Final = 15
_FORMS: Final = "tcp://host:8786, tls://host:8786, or local:2 for two worker processes on this machine"


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep Dask's own lines to itself: what matters comes as an error. With `--debug` they are shown."""
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


class Cluster:
    """A Dask scheduler with its workers, or worker processes of this machine. Use it as a context manager."""

    def __init__(self, address: str) -> None:
        """Note where the cluster is.

        Raises:
            UsageError: That is not an address.
        """
        local = _LOCAL.fullmatch(address)
        if not local and not _REMOTE.fullmatch(address):
            raise UsageError(f"no address of a cluster: {address!r}", hint=_FORMS)
        self.address = address
        self._workers = int(local[1]) if local and local[1] else None
        self._is_local = local is not None
        self._open = ExitStack()
        self._client: Client | None = None

    def run_clips(
        self, benches: Sequence[Bench], clips: Sequence[Clip], finished: Callable[[Clip, Observed], None]
    ) -> tuple[list[Observed], list[Loss]]:
        """Run clips as `harness.run.sharing.run_clips` does, on the workers; a worker that is lost loses nothing.

        Raises:
            MissingPackageError: The extra is absent.
            ClusterError: The scheduler does not answer, or the workers cannot run the clips.
        """
        if not clips:
            return [], []
        self._client = self._client or self._connect()
        return run_on_workers(Scheduler(self._client, self.address), benches[0], clips, finished), []

    def _connect(self) -> Client:
        try:
            from distributed import Client, LocalCluster
        except ImportError as error:
            hint = "pip install 'mww-harness[cluster]', here and on every worker"
            raise MissingPackageError("--cluster needs the package distributed", hint=hint) from error
        self._open.enter_context(_quietly())
        place: LocalCluster | str = self.address
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of versions, which are compared where they matter
            if self._is_local:
                place = self._open.enter_context(
                    LocalCluster(
                        n_workers=self._workers,
                        threads_per_worker=1,
                        host="127.0.0.1",
                        security=True,  # a certificate of this cluster's own: other users of the machine stay out
                        dashboard_address=None,
                        silence_logs=logging.CRITICAL,
                        preload="harness.run.cluster.local_worker",
                    )
                )
            try:
                client = Client(place, timeout=_CONNECT_SECONDS, set_as_default=False)
            except (OSError, ValueError, TypeError) as error:
                hint = f"is `dask scheduler` running there? An address is {_FORMS}"
                raise ClusterError(f"no Dask scheduler answers at {self.address}", hint=hint) from error
        return self._open.enter_context(client)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()
