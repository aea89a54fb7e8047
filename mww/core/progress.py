"""How long work reports its progress."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[str, int, int], None]
"""Takes a description, the steps that are done, and the steps in all."""


def no_progress(description: str, done: int, total: int) -> None:
    """Report nothing."""
