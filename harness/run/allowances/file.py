"""The file of allowances in a user's repository: YAML, parsed once at the edge, and written whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from harness.run.allowances.allowance import Allowance
from mww.core.errors import InputError
from mww.core.yaml_reader import read_yaml
from mww.esphome.chips import CHIP_NAMES

DEFAULT_NAME: Final = "mww-allowances.yaml"
"""Where a run looks by default: beside the golden, then in the current folder."""

_MAX_TEXT: Final = 4096
_TEXTS: Final = ("model", "model_sha256", "chip", "reason", "by", "date")
_KEYS: Final = (*_TEXTS, "versions", "max_difference", "clips")
_LINE_ENDS: Final = "\x85\u2028\u2029"
"""Characters that YAML takes for the end of a line; PyYAML escapes them only where it escapes all but ASCII."""
_HEADER: Final = """\
# Differences from the golden outputs that were judged and accepted, each for one model on one chip with one runtime.
# Made by `mww run --write-allowance`; comments are not kept, so say why under `reason`.
"""


class AllowanceError(InputError):
    """A file of allowances that cannot be used."""

    code = "allowances"


@dataclass(frozen=True, slots=True)
class AllowanceFile:
    """Allowances, and the file that they came from."""

    path: Path
    sha256: str
    allowances: tuple[Allowance, ...]


def find_allowances(given: Path | None, *folders: Path) -> Path | None:
    """The file to read: the one given, else the first in one of `folders`; None without one."""
    paths = [folder / DEFAULT_NAME for folder in folders]
    return given or next((path for path in paths if path.is_file()), None)


def read_allowances(path: Path | str) -> AllowanceFile:
    """Read a file of allowances.

    Raises:
        AllowanceError: It cannot be read, or says something that is not an allowance.
    """
    path = Path(path)
    document, content = read_yaml(
        path, AllowanceError, "mww run --write-allowance makes one; docs/allowances.md has an example"
    )
    entries = document.get("allowances") if isinstance(document, dict) and set(document) == {"allowances"} else None
    if not isinstance(entries, list):
        raise AllowanceError(f"{path} holds no allowances", hint="it needs one key, allowances, with a list under it")
    allowances = tuple(_allowance(f"{path}, allowance {number}", entry) for number, entry in enumerate(entries, 1))
    return AllowanceFile(path, hashlib.sha256(content).hexdigest(), allowances)


def render(allowances: Iterable[Allowance]) -> str:
    """The file's text."""
    return _HEADER + render_entries(allowances)


def render_entries(allowances: Iterable[Allowance]) -> str:
    """The same without its first lines."""
    import yaml

    document = {"allowances": [allowance_fields(item) for item in allowances]}
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)
    if any(end in text for end in _LINE_ENDS):
        text = yaml.safe_dump(document, sort_keys=False, width=110)
    return text


def merged(former: Sequence[Allowance], new: Allowance, compared: Iterable[str]) -> tuple[Allowance, ...]:
    """The allowances with a new one for clips that were `compared`, in place of what it supersedes.

    That is every former one for the same model and chip; what one with the same versions says of other clips stays.
    """
    others = [item for item in former if not item.concerns(new.model, new.model_sha256, new.chip, new.versions)]
    seen, clips, largest = set(compared), dict(new.clips), new.max_difference
    for item in former:
        if item not in others and (item.model_sha256, item.versions) == (new.model_sha256, new.versions):
            kept = {clip: count for clip, count in item.clips.items() if clip not in seen}
            clips, largest = kept | clips, max(largest, item.max_difference) if kept else largest
    return (*others, replace(new, clips=clips, max_difference=largest)) if clips else tuple(others)


def allowance_fields(allowance: Allowance) -> dict[str, object]:
    """An allowance by the names that the file has."""
    return asdict(replace(allowance, versions=dict(allowance.versions), clips=dict(allowance.clips)))


def _allowance(where: str, entry: object) -> Allowance:
    if not isinstance(entry, dict) or set(entry) != set(_KEYS):
        wrong = [str(key)[:60] for key in (set(entry) ^ set(_KEYS) if isinstance(entry, dict) else _KEYS)]
        hint = f"an allowance has {', '.join(_KEYS)}; mww run --write-allowance makes one"
        raise AllowanceError(f"{where} does not have or invents {', '.join(sorted(wrong))}", hint=hint)
    texts = {key: _text(where, key, entry[key]) for key in _TEXTS}
    if texts["chip"] not in CHIP_NAMES:
        raise AllowanceError(
            f"{where} is for the unknown chip {texts['chip']!r}", hint=f"one of {', '.join(CHIP_NAMES)}"
        )
    versions = {
        _text(where, "versions", name): _text(where, "versions", it) for name, it in _items(where, entry, "versions")
    }
    if not versions:
        raise AllowanceError(f"{where} names no version", hint="without one it would never lapse")
    clips = {
        _text(where, "clips", name): _count(where, "clips", count) for name, count in _items(where, entry, "clips")
    }
    largest = _count(where, "max_difference", entry["max_difference"])
    return Allowance(**texts, versions=versions, clips=clips, max_difference=min(largest, 255))


def _items(where: str, entry: Mapping[Any, object], key: str) -> Iterable[tuple[object, object]]:
    value = entry[key]
    if not isinstance(value, dict):
        raise AllowanceError(
            f"{where} has {key} that are no mapping",
            hint="write it as key: value lines; docs/allowances.md has an example",
        )
    return value.items()


def _text(where: str, key: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        hint = "put it in quotes: YAML reads bare digits as a number"
        raise AllowanceError(f"{where} has {str(value)[:60]!r} under {key}, which is not text", hint=hint)
    return value


def _count(where: str, key: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1 << 31:
        raise AllowanceError(
            f"{where} has {str(value)[:60]!r} under {key}, not a number above 0", hint="write a number above 0"
        )
    return value
