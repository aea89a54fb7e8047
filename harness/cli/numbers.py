"""Numbers as options take them: finite, and of a size that something can be done with."""

from __future__ import annotations

import math
from typing import Any, Final

import click

_GREATEST: Final = 2**31 - 1
"""Of ranges without an upper end."""

_BEYOND: Final = "is not a finite number below 2^31."


class Real(click.FloatRange):
    """A finite number within a range; NaN compares as inside of every range of click's own."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse it as click does."""
        number: float = super().convert(value, param, ctx)
        known = math.isfinite(number) and (self.max is not None or abs(number) <= _GREATEST)
        return number if known else self.fail(f"{value} {_BEYOND}", param, ctx)


class Whole(click.IntRange):
    """A whole number within a range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse it as click does."""
        number: int = super().convert(value, param, ctx)
        known = self.max is not None or abs(number) <= _GREATEST
        return number if known else self.fail(f"{value} {_BEYOND}", param, ctx)
