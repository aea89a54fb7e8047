"""The numbers with a name on both ends of the link, as `harness.link.messages` and `model_table` declare them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from harness.link import messages, model_table
from harness.link.declaration import Scalar


@dataclass(frozen=True, slots=True)
class Constant:
    """A number with a name on both ends."""

    name: str
    kind: Scalar
    value: int
    doc: str


def constants() -> Iterator[Constant]:
    """All of them, in the order of their declarations."""
    for module in (messages, model_table):
        for name, hint in get_type_hints(module, include_extras=True).items():
            declared: Any = next(iter(get_args(hint)), None)  # of Final
            if get_origin(declared) is Annotated:
                kind, doc = declared.__metadata__
                yield Constant(name, kind, getattr(module, name), doc)
