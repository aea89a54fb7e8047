"""Typed access to parsed JSON and YAML from outside: an error names the file and the key of a wrong value."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Final, NoReturn, TypeVar

from mww.core.errors import InputError, MwwError
from mww.core.readable import read_regular, reading, shown

_LONGEST_TEXT: Final = 1 << 20
_LARGEST: Final = sys.float_info.max
_LEAST, _MOST = -(1 << 63), (1 << 63) - 1
_Value = TypeVar("_Value")


class Fields:
    """An object with text as keys. Every method raises `error` for a value of another kind.

    The error names `source` and the key. Its hint is the document's, or for a value that exists the method's own, which
    says how to write it.
    """

    def __init__(
        self, source: object, value: object, *, hint: str, error: type[MwwError] = InputError, place: str = ""
    ) -> None:
        """Take the document of `source`, a path or another name for errors.

        With a `place`, which errors put before the keys, the value is a part of the document.
        """
        self.source = str(source)
        self._place, self._error, self._hint = place, error, hint
        if not isinstance(value, Mapping):
            self._fail("", value, "an object (keys with values)", "")
        for key in value:
            if not isinstance(key, str):
                self.fault(f"has the key {shown(key)}, which is not text", hint="put it in quotes")
        self._values: Mapping[str, object] = value

    @classmethod
    def read(cls, path: Path, *, hint: str, most_bytes: int, error: type[MwwError] = InputError) -> Fields:
        """Read a file that holds one JSON object, of `most_bytes` at most.

        Raises:
            MwwError: As `error`: it cannot be read, or is not one JSON object.
        """
        with reading(path, hint=hint, error=error):
            content = read_regular(path, most_bytes)
        return cls.parse(content, path, hint=hint, error=error)

    @classmethod
    def parse(cls, content: bytes | str, source: object, *, hint: str, error: type[MwwError] = InputError) -> Fields:
        """Parse a text that holds one JSON object.

        Raises:
            MwwError: As `error`: it is not one JSON object.
        """
        try:
            value: object = json.loads(content, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as problem:
            raise error(f"{source} is not readable JSON", hint=hint) from problem
        return cls(source, value, hint=hint, error=error)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __contains__(self, key: str) -> bool:
        return self._values.get(key) is not None

    def only(self, known: Collection[str], *, required: Collection[str] = (), hint: str = "") -> None:
        """Refuse keys that are not `known`, and `required` ones that are missing, null or empty."""
        for key in self._values:
            if key not in known:
                near = get_close_matches(key, known, 1, 0.5)
                hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"
                self.fault(f"has the unknown key {shown(key)}", hint=hint)
        if missing := [key for key in required if self._values.get(key) in (None, "")]:
            self.fault(f"has no {', no '.join(missing)}", hint=hint)

    def text(self, key: str, *, longest: int = _LONGEST_TEXT, hint: str = "") -> str:
        """A string of `longest` characters at most."""
        value = self._values.get(key)
        if not isinstance(value, str) or len(value) > longest:
            limit = f" of at most {longest} characters" if isinstance(value, str) else ""
            self._fail(key, value, f"text{limit}", hint)
        return value

    def one_of(self, key: str, known: Collection[str]) -> str:
        """One of the known strings."""
        value = self.text(key)
        return value if value in known else self._fail(key, value, _alternatives(known), "")

    def optional_text(self, key: str) -> str | None:
        """A string, null or nothing."""
        return self.text(key) if key in self else None

    def whole(self, key: str, least: int = _LEAST, most: int = _MOST, *, hint: str = "") -> int:
        """An integer from `least` to `most`."""
        value = self._values.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            limits = f" from {least} to {most}" if most < _MOST else f" of at least {least}" if least > _LEAST else ""
            self._fail(key, value, f"a whole number{limits}", hint)
        return value

    def optional_whole(self, key: str) -> int | None:
        """An integer of 64 bits, null or nothing."""
        return self.whole(key) if key in self else None

    def number(self, key: str, least: float = -_LARGEST, most: float = _LARGEST) -> float:
        """A finite number from `least` to `most`."""
        value = self._values.get(key)
        if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
            self._fail(key, value, "a number" + (f" from {least:g} to {most:g}" if least > -_LARGEST else ""), "")
        return float(value)

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self._values.get(key)
        return value if isinstance(value, bool) else self._fail(key, value, "true or false", "")

    def fields(self, key: str) -> Fields:
        """An object."""
        return self._part(self._values.get(key), f"{key}.")

    def optional_fields(self, key: str) -> Fields | None:
        """An object, null or nothing."""
        return self.fields(key) if key in self else None

    def items(self, key: str, name: str = "", *, most: int = _MOST, hint: str = "") -> Iterator[Fields]:
        """The objects of a list, `most` at most; errors number them from 1 with a `name`, by their index otherwise."""
        value = self._values.get(key)
        if not isinstance(value, list) or len(value) > most:
            self._fail(key, value, "a list" + (f" of at most {most} entries" if most < _MOST else ""), hint)
        for index, item in enumerate(value):
            yield self._part(item, f"{name} {index + 1}: " if name else f"{key}[{index}].")

    def optional_items(self, key: str) -> Iterator[Fields]:
        """The objects of a list; nothing where there is null or nothing."""
        return self.items(key) if key in self else iter(())

    def words(self, key: str, *, hint: str) -> tuple[str, ...]:
        """A list of strings, with at least one string, none of them empty."""
        value = self._values.get(key)
        if not isinstance(value, list) or not value or not all(isinstance(word, str) and word for word in value):
            self._fail(key, value, "a list of words", hint)
        return tuple(value)

    def texts(self) -> dict[str, str]:
        """All keys with their values; values must be strings."""
        return {key: self.text(key) for key in self}

    def value(self, key: str) -> object:
        """A value of any kind; None for null or a missing key."""
        return self._values.get(key)

    def fault(self, problem: str, *, key: str = "", hint: str = "") -> NoReturn:
        """Raise a problem of the object, or of a key; the object or key is the subject of the sentence."""
        place = f"{self._place}{key}".rstrip(".: ")
        subject = f"{self.source}: {place}" if place else self.source
        raise self._error(f"{subject} {problem}", hint=hint or self._hint)

    def parsed(self, key: str, parse: Callable[[str, object], _Value]) -> _Value:
        """The result of `parse` for a key and its value; its error begins with the key, and gets the place in front."""
        try:
            return parse(key, self._values.get(key))
        except MwwError as problem:
            raise self._error(f"{self.source}: {self._place}{problem.message}", hint=problem.hint) from problem

    def refuse(self, key: str, wanted: str, *, hint: str = "") -> NoReturn:
        """Raise that the value of a key is wrong."""
        self._fail(key, self._values.get(key), wanted, hint)

    def _part(self, value: object, place: str) -> Fields:
        return Fields(self.source, value, hint=self._hint, error=self._error, place=self._place + place)

    def _fail(self, key: str, value: object, wanted: str, hint: str) -> NoReturn:
        if value is not None:
            self.fault(f"must be {wanted}, not {shown(value)}", key=key, hint=hint)
        self.fault(f"must be {wanted}, but is {'missing' if key or self._place else 'empty'}", key=key)


def _alternatives(known: Collection[str]) -> str:
    *most, last = known
    return f"{', '.join(most)} or {last}" if most else last


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
