"""Loaded by worker processes of this machine as they start: an interrupt is for the run, which ends them."""

from __future__ import annotations

import signal


def dask_setup(worker: object) -> None:
    """Leave Ctrl-C, which a terminal sends to every process, to the process that can say what it means."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
