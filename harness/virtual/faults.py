"""Faults that a virtual board can be given: which there are, and how they read on the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from harness.virtual.kernel_fault import ALTERABLE
from mww.core.errors import UsageError
from mww.esphome.frontend_errors import ERROR_KINDS


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong on a virtual board.

    Attributes:
        corrupt: Share of link frames, in each direction, with a changed byte.
        drop: Likewise, lost.
        duplicate: Likewise, that come twice.
        log: Likewise, with log text before or within them.
        reboot: Inferences since power-on after which the chip restarts, once.
        hang: Inferences since power-on after which it does nothing any more.
        wrong: The inference since power-on, from 0, whose output has a flipped bit.
        swap: The inference since power-on, from 0, whose frame has two slices exchanged.
        kernel: Operator whose results are altered.
        arena: Bytes that the board reports more than it uses.
        noreset: Whether the streaming state survives a reset.
        seed: Where chance begins.
        frontend: What is wrong with the audio front-end; a kind of `mww.esphome.frontend_errors`.
        round: Each so many inferences since a reset, an output is off by 1, as of kernels that round otherwise.
        detect: The inference since a reset, from 0, at which the board's rule tells the opposite of what it found.
    """

    corrupt: float = 0.0
    drop: float = 0.0
    duplicate: float = 0.0
    log: float = 0.0
    reboot: int | None = None
    hang: int | None = None
    wrong: int | None = None
    swap: int | None = None
    kernel: str | None = None
    arena: int = 0
    noreset: bool = False
    seed: int = 0
    detect: int | None = None
    round: int | None = None
    frontend: str | None = None

    @property
    def noisy(self) -> bool:
        """Whether what goes over the link is not what was sent."""
        return bool(self.corrupt or self.drop or self.duplicate or self.log) or self.detect is not None


NO_FAULTS: Final = Faults()
_MOST_BYTES: Final = 0x7FFFFFFF
"""An arena and as much again still fit the 32 bits that the link has for them."""


def _rate(text: str) -> float:
    rate = float(text)
    if not 0 <= rate < 1:
        raise ValueError
    return rate


def _count(text: str) -> int:
    count = int(text, 0)
    if count < 0:
        raise ValueError
    return count


def _bytes(text: str) -> int:
    count = _count(text)
    if count > _MOST_BYTES:
        raise ValueError
    return count


def _operator(text: str) -> str:
    if text.upper() not in ALTERABLE:
        raise ValueError
    return text.upper()


def _frontend(text: str) -> str:
    if text not in ERROR_KINDS:
        raise ValueError
    return text


_PARSERS: Final[dict[str, tuple[str, Callable[[str], float | int | str]]]] = {
    **{name: ("RATE", _rate) for name in ("corrupt", "drop", "duplicate", "log")},
    **{name: ("N", _count) for name in ("reboot", "hang", "wrong", "swap", "detect", "round", "seed")},
    "kernel": ("OP", _operator),
    "arena": ("BYTES", _bytes),
    "frontend": ("KIND", _frontend),
}
FAULT_HELP: Final = ", ".join([*(f"{name}={value}" for name, (value, _) in _PARSERS.items()), "noreset"])
"""Every fault with what it takes."""
_TAKES: Final = {
    "RATE": "RATE is a share of link frames, from 0 to below 1",
    "N": "N is a whole number from 0",
    "BYTES": "BYTES is a whole number from 0 to 0x7fffffff",
    "OP": f"OP is one of {', '.join(ALTERABLE)}; VAR_HANDLE computes nothing",
    "KIND": f"KIND is one of {', '.join(ERROR_KINDS)}",
}


def parse_faults(specifications: Iterable[str]) -> Faults:
    """Read `--fault` options.

    Raises:
        UsageError: One of them is not a fault, comes twice, or has a value that the fault does not take.
    """
    faults, seen = NO_FAULTS, set[str]()
    for specification in specifications:
        name, separator, value = specification.partition("=")
        if name in seen:
            raise UsageError(f"fault {name} is given twice", hint="one of each kind at most")
        seen.add(name)
        if specification == "noreset":
            faults = replace(faults, noreset=True)
            continue
        if name not in _PARSERS or not separator:
            raise UsageError(f"no fault {specification!r}", hint=FAULT_HELP)
        takes, parse = _PARSERS[name]
        try:
            faults = replace(faults, **{name: parse(value)})  # type: ignore[arg-type]
        except ValueError:
            raise UsageError(f"fault {name} takes {takes}, not {value!r}", hint=_TAKES[takes]) from None
    return faults
