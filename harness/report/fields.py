"""Typed access to JSON that somebody else wrote: values are asked for by type, and a wrong one named by its place."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NoReturn

from mww.core.errors import InputError
from mww.core.readable import open_regular

MAX_BYTES: Final = 256 << 20
REMEDY: Final = "mww run --report writes a run.json"
_SHOWN: Final = 60


class Fields:
    """A JSON object, and where in its file it stands."""

    def __init__(self, path: Path, place: str, value: object) -> None:
        self.path, self.place = path, place
        if not isinstance(value, dict):
            self.refuse("", "an object", value)
        self._values: dict[str, object] = value

    @classmethod
    def read(cls, path: Path) -> Fields:
        """Read a file that holds one JSON object.

        Raises:
            InputError: It cannot be read, or holds something else.
        """
        try:
            with open_regular(path) as file:
                content = file.read(MAX_BYTES + 1)
            if len(content) > MAX_BYTES:
                raise InputError(
                    f"{path} is larger than {MAX_BYTES >> 20} MB", hint="give the run.json that mww run --report wrote"
                )
            value: object = json.loads(content, parse_constant=_refuse_constant)
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}", hint=REMEDY) from error
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path} is not readable JSON", hint=REMEDY) from error
        return cls(path, "", value)

    def text(self, key: str) -> str:
        """A string."""
        value = self._values.get(key)
        return value if isinstance(value, str) else self.refuse(key, "a text", value)

    def one_of(self, key: str, known: tuple[str, ...]) -> str:
        """One of the strings that are known there."""
        value = self.text(key)
        return value if value in known else self.refuse(key, " or ".join(known), value)

    def optional_text(self, key: str) -> str | None:
        """A string, null or nothing."""
        return None if self._values.get(key) is None else self.text(key)

    def whole(self, key: str) -> int:
        """An integer that fits 64 bits."""
        value = self._values.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not -(1 << 63) <= value < 1 << 63:
            self.refuse(key, "a whole number", value)
        return value

    def optional_whole(self, key: str) -> int | None:
        """An integer, null or nothing."""
        return None if self._values.get(key) is None else self.whole(key)

    def number(self, key: str) -> float:
        """A finite number."""
        value = self._values.get(key)
        if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < math.inf:
            self.refuse(key, "a number", value)
        return float(value)

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self._values.get(key)
        return value if isinstance(value, bool) else self.refuse(key, "true or false", value)

    def fields(self, key: str) -> Fields:
        """An object."""
        return Fields(self.path, f"{self.place}{key}.", self._values.get(key))

    def optional_fields(self, key: str) -> Fields | None:
        """An object, null or nothing."""
        return None if self._values.get(key) is None else self.fields(key)

    def items(self, key: str) -> Iterator[Fields]:
        """The objects of a list."""
        value = self._values.get(key)
        if not isinstance(value, list):
            self.refuse(key, "a list", value)
        for index, item in enumerate(value):
            yield Fields(self.path, f"{self.place}{key}[{index}].", item)

    def optional_items(self, key: str) -> Iterator[Fields]:
        """The objects of a list; of none where there is null or nothing."""
        return iter(()) if self._values.get(key) is None else self.items(key)

    def texts(self) -> tuple[tuple[str, str], ...]:
        """All keys with their values, which are strings."""
        return tuple((key, self.text(key)) for key in self._values)

    def refuse(self, key: str, wanted: str, found: object) -> NoReturn:
        """Raise that a value is not what was wanted there."""
        place = f"{self.place}{key}".rstrip(".") or "the whole"
        shown = "nothing" if found is None else repr(found)[:_SHOWN]
        raise InputError(f"{self.path}: {place} is {shown}, not {wanted}", hint=REMEDY)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
