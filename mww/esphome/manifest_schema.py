"""The rules that a manifest's JSON must obey, as data: `MANIFEST_SCHEMA_V1` and `MANIFEST_SCHEMA_V2` of ESPHome.

Where ESPHome would convert (a number in quotes) or let nonsense through (a cutoff of 7, a window of 0), this is
stricter: the device would not do what the manifest says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Final, TypeGuard

_MAX_ARENA: Final = 32 * 1024 * 1024  # the largest PSRAM of an ESP32
_MAX_WINDOW: Final = 10_000
ESPHOME_VERSION: Final = re.compile(r"(\d+).(\d+).(\d+)[-.]?(\w*)", re.ASCII)
"""ESPHome's pattern of a release, whose dots stand for any character: it takes `2024.7` for release 20.4.7."""
_URL: Final = re.compile(r"file:.*|[A-Za-z][A-Za-z0-9+.-]*://[^/?#\s]+\S*")


@dataclass(frozen=True, slots=True)
class Rule:
    """A key: its required value, in words and as a test."""

    must_be: str
    accepts: Callable[[object], bool]
    required: bool = True


def is_text(value: object) -> TypeGuard[str]:
    """Whether a value is a string."""
    return isinstance(value, str)


def is_integer(value: object) -> TypeGuard[int]:
    """Whether a value is a JSON integer; `true` is not one."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value is a finite JSON number."""
    return is_integer(value) or (isinstance(value, float) and isfinite(value))


def _integer_within(lowest: int, highest: int) -> Rule:
    def accepts(value: object) -> bool:
        return is_integer(value) and lowest <= value <= highest

    return Rule(f"an integer from {lowest} to {highest}", accepts)


def _languages(value: object) -> bool:
    return is_text(value) or (isinstance(value, list) and all(is_text(language) for language in value))


_TEXT: Final = Rule("a string", is_text)
_URL_RULE: Final = Rule("a URL", lambda value: is_text(value) and bool(_URL.fullmatch(value)))
_VERSION_RULE: Final = Rule("a version such as 2024.7.0", lambda v: is_text(v) and bool(ESPHOME_VERSION.fullmatch(v)))
_CUTOFF: Final = Rule("a number from 0 to 1", lambda value: is_number(value) and 0 <= value <= 1)
_WINDOW: Final = _integer_within(1, _MAX_WINDOW)

_BOTH: Final = {
    "type": Rule('"micro"', lambda value: value == "micro"),
    "wake_word": _TEXT,
    "author": _TEXT,
    "model": Rule("a file name", lambda value: is_text(value) and bool(value)),
    "version": Rule("1 or 2", lambda value: is_integer(value) and value in (1, 2)),
    "micro": Rule("an object", lambda value: isinstance(value, dict)),
}

_TOP: Final[dict[int, dict[str, Rule]]] = {
    1: {**_BOTH, "website": _URL_RULE},
    2: {
        **_BOTH,
        "website": Rule(_URL_RULE.must_be, _URL_RULE.accepts, required=False),
        "trained_languages": Rule("a list of strings", _languages),
    },
}

_MICRO: Final[dict[int, dict[str, Rule]]] = {
    1: {
        "probability_cutoff": _CUTOFF,
        "sliding_window_average_size": _WINDOW,
        "minimum_esphome_version": Rule(_VERSION_RULE.must_be, _VERSION_RULE.accepts, required=False),
    },
    2: {
        "probability_cutoff": _CUTOFF,
        "sliding_window_size": _WINDOW,
        "feature_step_size": _integer_within(0, 30),
        "tensor_arena_size": _integer_within(0, _MAX_ARENA),
        "minimum_esphome_version": _VERSION_RULE,
    },
}


OTHER_NAMES: Final = {
    "sliding_window_average_size": "sliding_window_size",
    "sliding_window": "sliding_window_size",
    "arena_size": "tensor_arena_size",
    "tensor_arena": "tensor_arena_size",
    "cutoff": "probability_cutoff",
    "threshold": "probability_cutoff",
    "feature_step": "feature_step_size",
    "min_esphome_version": "minimum_esphome_version",
    "wakeword": "wake_word",
    "wake_words": "wake_word",
    "languages": "trained_languages",
    "trained_language": "trained_languages",
    "model_file": "model",
}
"""Names that other tools and version 1 give to keys of version 2."""

_OF_VERSION_2: Final = frozenset(_MICRO[2]) - frozenset(_MICRO[1])


@dataclass(frozen=True, slots=True)
class SchemaProblem:
    """A part of a manifest that ESPHome refuses.

    Attributes:
        key: The key, such as `micro.tensor_arena_size`.
        message: The problem, and its cure where there is only one.
    """

    key: str
    message: str


def micro_figure(content: Mapping[str, object], key: str) -> object:
    """A value of `micro` under its name, or a name of another tool or version; None where ESPHome would refuse it."""
    micro, rule = content.get("micro"), {**_MICRO[1], **_MICRO[2]}[key]
    names = (key, *(name for name, right in OTHER_NAMES.items() if right == key))
    values = (micro[name] for name in names if isinstance(micro, dict) and name in micro)
    return next((value for value in values if rule.accepts(value)), None)


def schema_version(content: Mapping[str, object]) -> int:
    """The version to which a manifest's keys belong, which may differ from its `version`."""
    version, micro = content.get("version"), content.get("micro")
    keys = micro.keys() if isinstance(micro, dict) else ()
    if any(key in keys for key in _OF_VERSION_2):
        return 2
    if "sliding_window_average_size" in keys:
        return 1
    return 1 if is_integer(version) and version == 1 else 2


def schema_problems(content: Mapping[str, object]) -> tuple[SchemaProblem, ...]:
    """Everything in a manifest's JSON that breaks the schema of the version that its keys are of; empty when none."""
    version, judged = content.get("version"), schema_version(content)
    problems = []
    if is_integer(version) and version in (1, 2) and version != judged:
        message = f'version is {version}, but the keys are those of version {judged}: write "version": {judged}'
        problems.append(SchemaProblem("version", message))
    problems += _problems(content, _TOP[judged])
    micro = content.get("micro")
    if isinstance(micro, dict):
        problems += _problems(micro, _MICRO[judged], "micro.")
    return tuple(problems)


def _problems(content: Mapping[str, object], rules: Mapping[str, Rule], prefix: str = "") -> Iterator[SchemaProblem]:
    renamed = {right for name, right in OTHER_NAMES.items() if name in content and name not in rules}
    for key, rule in rules.items():
        if key not in content:
            if rule.required and key not in renamed:
                yield SchemaProblem(f"{prefix}{key}", f"{prefix}{key} is missing")
        elif not rule.accepts(content[key]):
            yield SchemaProblem(f"{prefix}{key}", f"{prefix}{key} must be {rule.must_be}")
    for key in content:
        if key not in rules:
            right = OTHER_NAMES.get(key)
            cure = f"rename it {right}" if right in rules and right not in content else "remove it"
            name = right if right in rules and right not in content else key[:40]
            yield SchemaProblem(f"{prefix}{name}", f"{prefix}{key[:40]} is not a key of this version: {cure}")
