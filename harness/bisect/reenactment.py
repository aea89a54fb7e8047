"""A clip's wrong outputs, made again: the golden engine gives the very same ones under some fault outside the model.

A fault that reproduces every output of a clip needs no further search; `harness.bisect.explanation` looks into the
model only after these, and `harness.run` names them in its report.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Final, Literal, Protocol

import numpy as np
import numpy.typing as npt

Frames = npt.NDArray[np.int8]
"""`[n, stride, 40]`"""
Outputs = npt.NDArray[np.uint8]

Cause = Literal["operator", "unsteady", "reset", "slice-order", "output", "passing", "unknown"]
"""`operator`: its result differs; `unsteady`: the same frames give other outputs from run to run; `reset`: the state
outlives a reset; `slice-order`: slices reach the model in another order; `output`: a result was damaged behind the
model; `passing`: it did not happen again; `unknown`: none of these."""

_MEMORY: Final = 120
"""Frames back from a wrong output in which an exchange of slices is looked for: more than any model remembers."""
_MOST: Final = 1500
"""Exchanges in single frames that are tried, some ten seconds' worth; a frame of 40 slices alone has 780."""
_LONGEST: Final = 4000
"""Frames of a clip, two minutes, beyond which an exchange in a single frame is not looked for: that takes too long."""


class Streamer(Protocol):
    """A loaded model that can be begun anew."""

    def reset(self) -> None:
        """Put the streaming state back to the initial one."""
        ...

    def outputs(self, frames: Frames) -> Outputs:
        """The output after each of `frames`."""
        ...


@dataclass(frozen=True, slots=True)
class Explanation:
    """A cause, in a sentence."""

    cause: Cause
    account: str


@dataclass(frozen=True, slots=True)
class Difference:
    """A clip that went wrong; `before` are the frames of all that was streamed since the model was loaded."""

    clip: str
    frames: Frames
    found: Outputs
    expected: Outputs
    before: Frames

    @property
    def wrong(self) -> npt.NDArray[np.intp]:
        """The inferences with another output."""
        return np.flatnonzero(self.found != self.expected)

    @property
    def first(self) -> int:
        """The first inference with another output."""
        return int(self.wrong[0])


def explain_besides_reset(difference: Difference, golden: Streamer, *, thorough: bool = True) -> Explanation | None:
    """Slices in another order, or one damaged output; a single flipped bit is likelier damage than an order.

    Of hundreds of orders, one may give a single wrong output by chance. See `explain_by_order` for `thorough`.
    """
    damage = explain_by_damage(difference)
    at = difference.first
    if damage is not None and (int(difference.found[at]) ^ int(difference.expected[at])).bit_count() == 1:
        return damage
    return explain_by_order(difference, golden, thorough=thorough) or damage


def explain_by_reset(difference: Difference, golden: Streamer) -> Explanation | None:
    """A reset that does nothing: the golden goes on from the clips before, and gives the same."""
    if not len(difference.before):
        return None
    golden.reset()
    golden.outputs(difference.before)
    if not np.array_equal(golden.outputs(difference.frames), difference.found):
        return None
    message = "the reset between two clips does not put the streaming state back: it goes on from the clip before"
    return Explanation("reset", message)


def explain_by_order(difference: Difference, golden: Streamer, *, thorough: bool = True) -> Explanation | None:
    """Slices in an order in which the golden gives every output; unless `thorough`, the same in every frame."""
    result, quickly = difference.found, difference.first + 1
    for frames, account in _reorderings(difference, thorough=thorough):
        if _gives(golden, frames, result, quickly) and _gives(golden, frames, result):
            return Explanation("slice-order", account)
    return None


def explain_by_damage(difference: Difference) -> Explanation | None:
    """One output, and no later one."""
    if len(difference.wrong) > 1:
        return None
    result, expected = int(difference.found[difference.first]), int(difference.expected[difference.first])
    bits = (result ^ expected).bit_count()
    message = (
        f"one output alone is wrong, {result} for {expected} ({bits} of its bits), and no later one: the model ran"
    )
    return Explanation("output", f"{message} rightly, and the result was damaged behind it")


def _gives(golden: Streamer, frames: Frames, outputs: Outputs, count: int | None = None) -> bool:
    """Whether the golden engine makes these outputs of these frames; of the first `count`, to be quick."""
    golden.reset()
    return np.array_equal(golden.outputs(frames[:count]), outputs[:count])


def _reorderings(difference: Difference, *, thorough: bool) -> Iterator[tuple[Frames, str]]:
    """The clip with its slices in other orders: in every frame, then in a single one."""
    frames, first = difference.frames, difference.first
    orders = _orders(frames.shape[1])
    for order in orders:
        yield frames[:, order], f"the slices of every frame reach the model in the order {order}"
    if len(frames) > _LONGEST or not thorough:
        return
    back = min(_MEMORY, _MOST // max(1, len(orders)))
    for index in range(first, max(-1, first - back), -1):
        for order in orders:
            changed = frames.copy()
            changed[index] = frames[index, order]
            if not np.array_equal(changed, frames):
                yield changed, f"the slices of frame {index} reach the model in the order {order}"


def _orders(stride: int) -> list[list[int]]:
    """Every other order of a frame's slices; of long frames, every exchange of two."""
    straight = list(range(stride))
    if stride <= 4:
        return [list(order) for order in permutations(straight)][1:]
    return [
        [two if at == item else item if at == two else at for at in straight] for item, two in combinations(straight, 2)
    ]
