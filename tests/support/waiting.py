"""How long tests wait for what must happen: far longer than it takes, since a machine under load is not a failure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

import psutil

PATIENCE: Final = 300.0
"""Seconds for what takes one or two on a quiet machine. No test measures a duration."""
_POLL: Final = 0.02

T = TypeVar("T")


def wait_for(ready: Callable[[], T], what: str = "") -> T:
    """The first true value of `ready`; an AssertionError where none comes within `PATIENCE`."""
    deadline = time.monotonic() + PATIENCE
    while not (value := ready()):
        assert time.monotonic() < deadline, f"{what or ready} did not happen in {PATIENCE:.0f} s"
        time.sleep(_POLL)
    return value


def have_ended(processes: Iterable[psutil.Process]) -> bool:
    """Whether all of the processes end within `PATIENCE`."""
    return not psutil.wait_procs(list(processes), timeout=PATIENCE)[1]
