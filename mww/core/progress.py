"""Progress of long work, and the time that each of its phases took."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TypeAlias

Progress: TypeAlias = Callable[[str, int, int], None]
"""Takes a description, the finished steps, and the total."""


class Phases:
    """Times named phases; `report` is called with the name of each as it begins."""

    def __init__(self, report: Callable[[str], None] = lambda name: None) -> None:
        self.seconds: dict[str, float] = {}
        self._report = report

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Measure the time of the block."""
        self._report(name)
        start = perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + perf_counter() - start, 3)


def no_progress(description: str, done: int, total: int) -> None:
    """Report nothing."""
