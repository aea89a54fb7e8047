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
_VERSION: Final = re.compile(r"\d+\.\d+\.\d+[-.]?\w*", re.ASCII)
_URL: Final = re.compile(r"file:.*|[A-Za-z][A-Za-z0-9+.-]*://[^/?#\s]+\S*")


@dataclass(frozen=True, slots=True)
class Rule:
    """One key: what it must be, in words and as a test."""

    must_be: str
    accepts: Callable[[object], bool]
    required: bool = True


def is_text(value: object) -> TypeGuard[str]:
    """Whether a value is a string."""
    return isinstance(value, str)


def is_integer(value: object) -> TypeGuard[int]:
    """Whether a value is a JSON integer; `true` is none."""
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
_VERSION_RULE: Final = Rule("a version such as 2024.7.0", lambda v: is_text(v) and bool(_VERSION.fullmatch(v)))
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


def schema_problems(content: Mapping[str, object]) -> tuple[str, ...]:
    """Everything in a manifest's JSON that breaks the schema of its version, each in a few words; empty when none."""
    version = content.get("version")
    if not _BOTH["version"].accepts(version):
        return (f"version must be {_BOTH['version'].must_be}",)
    assert is_integer(version)
    problems = list(_problems(content, _TOP[version]))
    micro = content.get("micro")
    if isinstance(micro, dict):
        problems += _problems(micro, _MICRO[version], "micro.")
    return tuple(problems)


def _problems(content: Mapping[str, object], rules: Mapping[str, Rule], prefix: str = "") -> Iterator[str]:
    for key, rule in rules.items():
        if key not in content:
            if rule.required:
                yield f"{prefix}{key} is missing"
        elif not rule.accepts(content[key]):
            yield f"{prefix}{key} must be {rule.must_be}"
    for key in content:
        if key not in rules:
            yield f"{prefix}{key[:40]} is not a key of a manifest"
