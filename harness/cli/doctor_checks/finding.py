"""What `mww doctor` finds, one thing at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "missing", "warn", "fail"]
"""`missing`: something optional cannot be used; `warn`: it works as it is, but may surprise; `fail`: the base cannot
work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; the hint says what repairs it."""

    id: str
    status: Status
    message: str
    hint: str | None = None
