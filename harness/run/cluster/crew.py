"""A run's clips on a cluster: checks that the workers are alike, and compares with a recorded golden here."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from harness.clips.clip import Clip
from harness.clips.golden import Golden
from harness.run.cluster.pool import Job
from harness.run.cluster.remote_calls import Scheduler
from harness.run.cluster.spread import Spread
from harness.run.cluster.versions import Versions, differences, packages, versions_here
from harness.run.judging import Observed, nothing_but
from harness.run.workbench import Bench
from mww.core.errors import ClusterError, MwwError

_NAMED: Final = 5


def run_on_workers(
    scheduler: Scheduler, bench: Bench, clips: Sequence[Clip], finished: Callable[[Clip, Observed], None]
) -> list[Observed]:
    """Run clips as `bench` would, on the workers of a cluster, and return what was seen, in the clips' order.

    `finished` is reported of each clip as it comes.

    Raises:
        ClusterError: No worker exists, a worker has other versions or cannot run clips, or the scheduler or all
            workers went away.
    """
    names, recorded = packages(bench.setup), bench.setup.recorded
    setup = replace(bench.setup, recorded=None)
    job = Job(f"mww-bench-{uuid.uuid4().hex}", setup, bench.target, names, versions_here(names))
    scheduler.wait_for_workers()
    _refuse_others(job.versions, scheduler.ask_workers(versions_here, names))
    seen: dict[int, Observed] = {}

    def arrived(index: int, observed: Observed) -> None:
        seen[index] = observed if recorded is None else _with_golden(recorded, clips[index], observed)
        finished(clips[index], seen[index])

    Spread(scheduler, job, clips, arrived).run()
    return [seen[index] for index in range(len(clips))]


def _with_golden(recorded: Golden, clip: Clip, observed: Observed) -> Observed:
    try:
        return replace(observed, golden=recorded.outputs(clip.name))
    except MwwError as error:
        return nothing_but(error)


def _refuse_others(here: Versions, workers: dict[str, Versions]) -> None:
    result = {address: differences(here, there) for address, there in workers.items()}
    wrong = [f"worker {address} has {message}" for address, message in result.items() if message]
    if wrong:
        more = f"; and {len(wrong) - _NAMED} more workers" if len(wrong) > _NAMED else ""
        hint = "install the same versions on every worker and here: outputs of different ones are no one result"
        raise ClusterError(f"{'; '.join(wrong[:_NAMED])}{more}", hint=hint)
