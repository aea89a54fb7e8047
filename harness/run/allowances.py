"""Allowances: accepted differences between a chip and the golden outputs, in a YAML file of the user's repository.

The file is read once, and written completely or not at all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, Literal

from harness.targets.base import TargetInfo
from mww.core.errors import InputError
from mww.core.fields import Fields
from mww.core.readable import is_file
from mww.core.yaml_reader import read_yaml
from mww.esphome.chips import CHIP_NAMES

State = Literal["used", "unused", "exceeded", "lapsed"]
"""`used`: it accepted a difference; `unused`: it is valid but was not needed; `exceeded`: a clip differs by more;
`lapsed`: it was given for another model or version.
"""

LIKELY_ROUNDING: Final = 1
"""Steps of an output byte: rounding in kernels differs by no more, and a run proposes an allowance for it."""

DEFAULT_NAME: Final = "mww-allowances.yaml"
"""The default file name, beside the golden or in the current folder."""

_MAX_TEXT: Final = 4096
_HINT: Final = "mww run --write-allowance makes one; docs/allowances.md has an example"
_QUOTES: Final = "put it in quotes: YAML reads bare digits as a number"
_TEXTS: Final = ("model", "model_sha256", "chip", "reason", "by", "date")
_KEYS: Final = (*_TEXTS, "versions", "max_difference", "clips")
_LINE_ENDS: Final = "\x85\u2028\u2029"
"""Characters that end a line in YAML; PyYAML escapes them only where it escapes everything but ASCII."""
_HEADER: Final = """\
# Differences from the golden outputs that were judged and accepted, each for one model on one chip with one runtime.
# Made by `mww run --write-allowance`; comments are not kept, so say why under `reason`.
"""


@dataclass(frozen=True, slots=True)
class Difference:
    """The differences of a clip's outputs from the golden outputs: their number and the largest."""

    clip: str
    differing: int
    largest: int


@dataclass(frozen=True, slots=True)
class Allowance:
    """An accepted difference.

    Attributes:
        model: The model's name, for people, and to separate an allowance that has lapsed from an allowance for another
            model.
        model_sha256: Of the `.tflite`.
        chip: As `mww.esphome.chips` spells it.
        versions: Versions that the target must report, by name: runtime, kernels, firmware.
        max_difference: The largest difference of an output byte.
        clips: How many outputs of each clip may differ.
        reason: Why it was accepted.
        by: Who did.
        date: When, ISO 8601.
    """

    model: str
    model_sha256: str
    chip: str
    versions: Mapping[str, str]
    max_difference: int
    clips: Mapping[str, int]
    reason: str
    by: str
    date: str

    def concerns(self, model: str, model_sha256: str, chip: str, versions: Collection[str]) -> bool:
        """Whether it concerns this model, or a model of this name, on a target with this chip and these versions."""
        same_model = self.model == model or self.model_sha256 == model_sha256
        return same_model and self.chip == chip and set(self.versions) <= set(versions)

    def lapse(self, model_sha256: str, info: TargetInfo) -> str | None:
        """Why it has lapsed; None where it is valid."""
        if self.model_sha256 != model_sha256:
            return f"the model is {model_sha256[:12]}, not {self.model_sha256[:12]}"
        reported = dict(info.versions)
        changed = [
            f"{name} is {reported.get(name, 'unknown')}, not {version}"
            for name, version in self.versions.items()
            if reported.get(name) != version
        ]
        return "; ".join(changed) or None

    def takes(self, difference: Difference) -> bool:
        """Whether a clip's differences are within it."""
        allowed = self.clips.get(difference.clip, 0)
        return difference.differing <= allowed and difference.largest <= self.max_difference


@dataclass(frozen=True, slots=True)
class AllowanceUse:
    """An allowance in a run.

    Attributes:
        allowance: The allowance itself.
        state: Its effect.
        why: Why it has lapsed; None where it is valid.
        found: How many outputs of each of its clips differ; None for a clip that was not compared.
    """

    allowance: Allowance
    state: State
    why: str | None
    found: Mapping[str, int | None]


def usage(allowance: Allowance, why: str | None, seen: Sequence[Difference]) -> AllowanceUse:
    """The effect of an allowance in a run over those clips; `why` is the result of `Allowance.lapse`."""
    compared = {item.clip: item for item in seen}
    result = {clip: compared[clip].differing if clip in compared else None for clip in allowance.clips}
    if why is not None:
        return AllowanceUse(allowance, "lapsed", why, result)
    results = [item for item in seen if item.clip in allowance.clips and item.differing]
    within = all(allowance.takes(item) for item in results)
    return AllowanceUse(allowance, "unused" if not results else "used" if within else "exceeded", None, result)


def propose(
    model: str, model_sha256: str, info: TargetInfo, seen: Sequence[Difference], *, reason: str, by: str, date: str
) -> Allowance:
    """The allowance that accepts exactly the differences of a run."""
    differing = [item for item in seen if item.differing]
    return Allowance(
        model=model,
        model_sha256=model_sha256,
        chip=info.chip,
        versions=dict(info.versions),
        max_difference=max((item.largest for item in differing), default=0),
        clips={item.clip: item.differing for item in differing},
        reason=reason,
        by=by,
        date=date,
    )


class AllowanceError(InputError):
    """A file of allowances that cannot be used."""

    code = "allowances"


@dataclass(frozen=True, slots=True)
class AllowanceFile:
    """Allowances, and their file."""

    path: Path
    sha256: str
    allowances: tuple[Allowance, ...]


def find_allowances(given: Path | None, *folders: Path) -> Path | None:
    """The file to read: the given file, else the first that exists in `folders`; None without a file."""
    paths = [folder / DEFAULT_NAME for folder in folders]
    return given or next((path for path in paths if is_file(path)), None)


def read_allowances(path: Path | str) -> AllowanceFile:
    """Read a file of allowances.

    Raises:
        AllowanceError: It cannot be read, or an entry is not an allowance.
    """
    path = Path(path)
    value, content = read_yaml(path, AllowanceError, _HINT)
    document = Fields(path, value, hint=_HINT, error=AllowanceError)
    document.only(("allowances",))
    allowances = tuple(map(_allowance, document.items("allowances", "allowance")))
    return AllowanceFile(path, hashlib.sha256(content).hexdigest(), allowances)


def render(allowances: Iterable[Allowance]) -> str:
    """The file's text."""
    return _HEADER + render_entries(allowances)


def render_entries(allowances: Iterable[Allowance]) -> str:
    """The file's text without its first lines."""
    import yaml

    document = {"allowances": [allowance_fields(item) for item in allowances]}
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)
    if any(end in text for end in _LINE_ENDS):
        text = yaml.safe_dump(document, sort_keys=False, width=110)
    return text


def merged(former: Sequence[Allowance], new: Allowance, compared: Iterable[str]) -> tuple[Allowance, ...]:
    """The allowances with a new allowance for clips that were `compared`, which replaces earlier ones.

    It replaces every allowance for the same model and chip; an allowance with the same versions keeps its other clips.
    """
    others = [item for item in former if not item.concerns(new.model, new.model_sha256, new.chip, new.versions)]
    seen, clips, largest = set(compared), dict(new.clips), new.max_difference
    for item in former:
        if item not in others and (item.model_sha256, item.versions) == (new.model_sha256, new.versions):
            kept = {clip: count for clip, count in item.clips.items() if clip not in seen}
            clips, largest = kept | clips, max(largest, item.max_difference) if kept else largest
    return (*others, replace(new, clips=clips, max_difference=largest)) if clips else tuple(others)


def allowance_fields(allowance: Allowance) -> dict[str, object]:
    """An allowance with the names of the file."""
    return asdict(replace(allowance, versions=dict(allowance.versions), clips=dict(allowance.clips)))


def _allowance(entry: Fields) -> Allowance:
    entry.only(_KEYS)
    texts = {key: entry.text(key, longest=_MAX_TEXT, hint=_QUOTES) for key in _TEXTS if key != "chip"}
    versions, clips = entry.fields("versions"), entry.fields("clips")
    if not list(versions):
        entry.fault("names no version", key="versions", hint="without a version it would never lapse")
    return Allowance(
        **texts,
        chip=entry.one_of("chip", CHIP_NAMES),
        versions={name: versions.text(name, longest=_MAX_TEXT, hint=_QUOTES) for name in versions},
        clips={name: clips.whole(name, 1) for name in clips},
        max_difference=min(entry.whole("max_difference", 1), 255),
    )
