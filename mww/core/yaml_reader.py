"""The reader of all YAML from outside: plain values only, within limits, and every error has its line.

What it gives is text, integers of 64 bits, finite floats, booleans, None, lists and dictionaries. PyYAML's own safe
loader also makes timestamps, base-60 numbers, infinities and integers of any length, and lets a few aliases stand for
more values than memory holds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from mww.core.errors import MwwError
from mww.core.readable import read_regular, reading

if TYPE_CHECKING:
    import yaml

MAX_BYTES: Final = 1 << 20
MAX_VALUES: Final = 100_000
"""The most values of a document, counting the values of an alias at each use."""
MAX_DEPTH: Final = 32

_TAG: Final = "tag:yaml.org,2002:"
_TUPLE: Final = _TAG + "python/tuple"
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
_TRUE: Final = frozenset({"yes", "true", "on"})
_LONGEST_NUMBER: Final = 400
_SHOWN: Final = 60
_QUOTES: Final = "put it in quotes if it is text"


def read_yaml(path: Path, error: type[MwwError], hint: str, *, tuples: bool = False) -> tuple[object, bytes]:
    """Read a file: its value, and its bytes.

    Args:
        path: The file.
        error: What is raised.
        hint: What to do about a file that cannot be read, is too large, or is not YAML.
        tuples: Whether the official trainer's `!!python/tuple` is a list.

    Raises:
        MwwError: As `error`: the file cannot be read, or `parse_yaml` refuses it.
    """
    with reading(path, hint=hint, error=error):
        content = read_regular(path, MAX_BYTES)
    return parse_yaml(content, str(path), error, hint, tuples=tuples), content


def parse_yaml(content: bytes, name: str, error: type[MwwError], hint: str, *, tuples: bool = False) -> object:
    """The value of a document; None for an empty one. Arguments are those of `read_yaml`.

    Raises:
        MwwError: As `error`: the document is not YAML, is beyond a limit, or holds another kind of value.
    """
    import yaml

    if len(content) > MAX_BYTES:
        raise error(f"{name} is larger than {MAX_BYTES} bytes", hint=hint)
    try:
        return _Builder(content, tuples=tuples).build()
    except _RefusedError as problem:
        raise error(
            f"{name} is not readable YAML at line {problem.line}: {problem.reason}", hint=problem.hint or hint
        ) from problem
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        where = f" at line {mark.line + 1}" if mark else ""
        raise error(f"{name} is not readable YAML{where}: {problem.problem}", hint=hint) from problem
    except (yaml.YAMLError, ValueError) as problem:  # ValueError: a \U escape beyond Unicode
        reason = str(problem).splitlines()[0]
        raise error(f"{name} is not readable YAML: {reason}", hint=hint) from problem


class _RefusedError(Exception):
    """A value that is refused."""

    def __init__(self, event: yaml.Event, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        mark = event.start_mark
        self.line = mark.line + 1 if mark else 0
        self.reason = reason
        self.hint = hint


@dataclass(slots=True)
class _Open:
    """A list or dictionary that is not complete yet, and the key that waits for its value."""

    value: list[Any] | dict[Any, Any]
    anchor: str | None
    values_before: int
    key: Any = None
    has_key: bool = False


@dataclass(slots=True)
class _Builder:
    """Builds the value from the parser's events, with a stack of its own, so that depth costs no recursion."""

    content: bytes
    tuples: bool
    _loader: Any = None
    _stack: list[_Open] = field(default_factory=list)
    _anchors: dict[str, tuple[object, int]] = field(default_factory=dict)
    _values: int = 0
    _result: object = None

    def build(self) -> object:
        import yaml

        self._loader = yaml.SafeLoader(self.content)
        documents = 0
        while self._loader.check_event():
            event = self._loader.get_event()
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _RefusedError(event, "there is a second document")
            elif isinstance(event, yaml.AliasEvent):
                self._alias(event)
            elif isinstance(event, yaml.ScalarEvent):
                self._count(event, 1)
                value = self._scalar(event)
                self._remember(event.anchor, value, 1)
                self._put(event, value)
            elif isinstance(event, yaml.CollectionStartEvent):
                self._open(event)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._close(event)
        return self._result

    def _open(self, event: yaml.CollectionStartEvent) -> None:
        import yaml

        self._count(event, 1)
        if len(self._stack) >= MAX_DEPTH:
            raise _RefusedError(event, f"values are nested more than {MAX_DEPTH} deep")
        is_list = isinstance(event, yaml.SequenceStartEvent)
        tags = {None, "!", _TAG + ("seq" if is_list else "map")} | ({_TUPLE} if is_list and self.tuples else set())
        if event.tag not in tags:
            self._unknown_tag(event)
        if self._stack and isinstance(self._stack[-1].value, dict) and not self._stack[-1].has_key:
            raise _RefusedError(event, "a key is a list or mapping")
        self._stack.append(_Open([] if is_list else {}, event.anchor, self._values))

    def _close(self, event: yaml.Event) -> None:
        done = self._stack.pop()
        self._remember(done.anchor, done.value, 1 + self._values - done.values_before)
        self._put(event, done.value)

    def _alias(self, event: yaml.AliasEvent) -> None:
        if event.anchor not in self._anchors:
            raise _RefusedError(event, f"the alias *{str(event.anchor)[:_SHOWN]} has no anchor before it")
        value, size = self._anchors[event.anchor]
        self._count(event, size)
        self._put(event, value)

    def _remember(self, anchor: str | None, value: object, size: int) -> None:
        if anchor is not None:
            self._anchors[anchor] = value, size

    def _count(self, event: yaml.Event, values: int) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            raise _RefusedError(event, f"there are more than {MAX_VALUES} values")

    def _put(self, event: yaml.Event, value: object) -> None:
        """Put a complete value where it belongs."""
        if not self._stack:
            self._result = value
            return
        parent = self._stack[-1]
        if isinstance(parent.value, list):
            parent.value.append(value)
        elif parent.has_key:
            parent.value[parent.key] = value
            parent.has_key = False
        else:
            if not isinstance(value, Hashable):
                raise _RefusedError(event, "a key is a list or mapping")
            if value in parent.value:
                raise _RefusedError(event, f"{str(value)[:_SHOWN]!r} is given twice", "remove one of the two")
            parent.key, parent.has_key = value, True

    def _scalar(self, event: yaml.ScalarEvent) -> object:
        import yaml

        text = event.value
        tag = event.tag
        meaning = self._loader.resolve(yaml.ScalarNode, text, (True, False))
        if tag is None or tag == "!":
            tag = meaning if event.implicit[0] and tag is None else _TAG + "str"
        elif tag not in {_TAG + kind for kind in ("str", "int", "float", "bool", "null")}:
            self._unknown_tag(event)
        elif tag not in {meaning, _TAG + "str"} and (tag, meaning) != (_TAG + "float", _TAG + "int"):
            raise _RefusedError(event, f"{text[:_SHOWN]!r} is not of the type !!{tag.removeprefix(_TAG)}")
        return self._convert(event, tag.removeprefix(_TAG), text)

    def _convert(self, event: yaml.ScalarEvent, kind: str, text: str) -> object:
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() in _TRUE
        if kind in ("int", "float"):
            return self._number(event, kind, text)
        if kind == "timestamp" and not _DATE.fullmatch(text):
            raise _RefusedError(event, f"{text[:_SHOWN]!r} is a time", _QUOTES)
        if kind == "merge":
            raise _RefusedError(event, "merge keys (<<) are not read", "write the values out")
        if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
            raise _RefusedError(event, "a text holds half of a character (a surrogate)")
        return text

    def _number(self, event: yaml.ScalarEvent, kind: str, text: str) -> int | float:
        if ":" in text:
            raise _RefusedError(event, f"{text[:_SHOWN]!r} would be a number of base 60", _QUOTES)
        digits = text.replace("_", "")
        if kind == "float":
            value = math.inf if "n" in digits.lower() else float(digits)
            if not math.isfinite(value):
                raise _RefusedError(event, f"{text[:_SHOWN]!r} is not a finite number", "write a finite number")
            return value
        if len(digits) <= _LONGEST_NUMBER:
            sign, body = (-1, digits[1:]) if digits[0] == "-" else (1, digits.lstrip("+"))
            octal = len(body) > 1 and body[0] == "0" and body[1] not in "xb"
            number = sign * int(body, 8 if octal else 0)
            if -(1 << 63) <= number < 1 << 63:
                return number
        raise _RefusedError(event, f"{text[:_SHOWN]!r} does not fit into 64 bits", _QUOTES)

    def _unknown_tag(self, event: Any) -> NoReturn:
        shown = event.tag.replace(_TAG, "!!")[:_SHOWN]
        raise _RefusedError(event, f"the tag {shown} is not read", "write plain values without tags")
