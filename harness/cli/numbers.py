"""The number types of options: finite and of a usable size."""

from __future__ import annotations

import math
from typing import Any, Final

import click

_GREATEST: Final = 2**31 - 1
"""The upper limit of ranges that give no limit."""

_BEYOND: Final = "is not a finite number below 2^31."


class Real(click.FloatRange):
    """A finite number within a range; click's own ranges accept NaN."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse the value, as click does."""
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
