"""Repairs a manifest that ESPHome refuses: keys renamed, added, dropped, each with its reason.

What the manifest says stays as it is wherever ESPHome takes it. Figures come from the model, never from a guess.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from exporter.manifest import calculate_tensor_arena_size
from mww.core.errors import ManifestError, UnsupportedModelError
from mww.esphome import contract
from mww.esphome.manifest import model_path, read_manifest
from mww.esphome.manifest_schema import OTHER_NAMES, schema_problems
from mww.tflite.model_file import ModelFile, read_model
from mww.tflm.arena import fits, predict_arenas

_OLDEST_RELEASE: Final = "2024.7.0"
"""The first release that takes version 2 manifests."""

_TOP_KEYS: Final = ("type", "wake_word", "author", "website", "model", "trained_languages", "version", "micro")
_MICRO_KEYS: Final = (
    "probability_cutoff",
    "feature_step_size",
    "sliding_window_size",
    "tensor_arena_size",
    "minimum_esphome_version",
)


@dataclass(frozen=True, slots=True)
class Change:
    """A key that was changed; `before` and `after` are None where it was added or dropped."""

    key: str
    before: object
    after: object
    why: str


@dataclass(frozen=True, slots=True)
class Repaired:
    """A manifest that ESPHome takes, and what was changed to get there; `model` is the file that it names."""

    content: dict[str, Any]
    model: Path
    changes: tuple[Change, ...]


@dataclass
class _Draft:
    """A manifest while it is repaired, with an account of each change."""

    content: dict[str, Any]
    micro: dict[str, Any]
    changes: list[Change] = field(default_factory=list)

    def put(self, key: str, value: object, why: str, *, into: dict[str, Any]) -> None:
        """Set a key, and note it where it changes something."""
        if key not in into or into[key] != value or type(into[key]) is not type(value):
            self.changes.append(Change(key, into.get(key), value, why))
            into[key] = value

    def drop(self, key: str, why: str, *, out_of: dict[str, Any]) -> None:
        """Remove a key, and note it."""
        self.changes.append(Change(key, out_of.pop(key), None, why))


def repair_manifest(path: Path, options: Mapping[str, object]) -> Repaired:
    """Repair a manifest file.

    Args:
        path: The manifest; it is not written.
        options: Keys of a manifest, and the values that they get whatever it says.

    Raises:
        ManifestError: It cannot be read, names no model that lies beside it, or cannot be repaired.
        ModelFileError: The model cannot be read.
        UnsupportedModelError: The runtime would refuse the model, so that no arena can be computed.
    """
    content = read_manifest(path)
    if content.get("version") == 1 and not schema_problems(content) and not options:
        model = model_path(path, content["model"])
        if _stride(read_model(model)) == 1:  # a version 1 word, as ESPHome takes it
            return Repaired(content, model, ())
    micro = content.get("micro")
    draft = _Draft(dict(content), dict(micro) if isinstance(micro, dict) else {})
    draft.content["micro"] = draft.micro
    _rename(draft)
    _collect(draft)
    _convert(draft)
    for key, value in options.items():
        draft.put(key, value, "asked for", into=draft.micro if key in _MICRO_KEYS else draft.content)
    model = _find_model(draft, path)
    _complete(draft, path, _stride(read_model(model)))
    _check_arena(draft, model, asked="tensor_arena_size" in options)
    _drop_surplus(draft)
    ordered: dict[str, Any] = {key: draft.content[key] for key in _TOP_KEYS if key in draft.content}
    ordered["micro"] = {key: draft.micro[key] for key in _MICRO_KEYS if key in draft.micro}
    problems = schema_problems(ordered)
    if problems:
        message = f"{path} cannot be repaired: {'; '.join(problem.message for problem in problems)}"
        raise ManifestError(message, hint="correct these keys by hand, or give them as options")
    return Repaired(ordered, model, tuple(draft.changes))


def _rename(draft: _Draft) -> None:
    """Give keys their names of version 2."""
    for section in (draft.content, draft.micro):
        for name, right in OTHER_NAMES.items():
            if name in section and right not in section:
                value = section.pop(name)
                draft.changes.append(Change(right, None, value, f"{name} is not its name in a version 2 manifest"))
                section[right] = value


def _collect(draft: _Draft) -> None:
    """Move keys that stand on the wrong level."""
    for key in _MICRO_KEYS:
        if key in draft.content and key not in draft.micro:
            draft.micro[key] = draft.content.pop(key)
            draft.changes.append(Change(f"micro.{key}", None, draft.micro[key], "it belongs into micro"))
    for key in _TOP_KEYS:
        if key in draft.micro and key not in draft.content:
            draft.content[key] = draft.micro.pop(key)
            draft.changes.append(Change(key, None, draft.content[key], "it does not belong into micro"))


def _convert(draft: _Draft) -> None:
    """Bring values into the form that ESPHome takes."""
    micro = draft.micro
    for key in ("feature_step_size", "sliding_window_size", "tensor_arena_size", "probability_cutoff"):
        value = _as_number(micro.get(key), whole=key != "probability_cutoff")
        if (value is not None and value != micro.get(key)) or (isinstance(micro.get(key), str) and value is not None):
            draft.put(key, value, "a number, not text", into=micro)
    cutoff = micro.get("probability_cutoff")
    if isinstance(cutoff, int | float) and not isinstance(cutoff, bool) and 1 < cutoff <= 100:
        draft.put("probability_cutoff", round(cutoff / 100, 4), "a part of 1, not a percentage", into=micro)
    version = micro.get("minimum_esphome_version")
    if isinstance(version, str) and re.fullmatch(r"\d{4}\.\d{1,2}", version):
        draft.put("minimum_esphome_version", f"{version}.0", "ESPHome reads three numbers", into=micro)
    if isinstance(draft.content.get("wake_word"), list) and draft.content["wake_word"]:
        draft.put("wake_word", str(draft.content["wake_word"][0]), "one word, as text", into=draft.content)


def _as_number(value: object, *, whole: bool) -> int | float | None:
    if not isinstance(value, str) or not re.fullmatch(r"\s*\d{1,9}(\.\d{1,9})?\s*", value):
        return None
    number = float(value)
    return int(number) if whole and number.is_integer() else number


def _find_model(draft: _Draft, path: Path) -> Path:
    """The model that the manifest names, or the one of its own name beside it."""
    name = draft.content.get("model")
    beside = path.with_suffix(".tflite")
    if isinstance(name, str) and "://" in name and beside.is_file():
        why = "the file beside the manifest; ESPHome takes a URL only in a manifest that it fetched by URL"
        draft.put("model", beside.name, why, into=draft.content)
    elif (not isinstance(name, str) or not (path.parent / name).is_file()) and beside.is_file():
        draft.put("model", beside.name, "the file beside the manifest", into=draft.content)
    if not isinstance(draft.content.get("model"), str):
        raise ManifestError(f"{path} names no model", hint="put the .tflite beside it, under the manifest's name")
    return model_path(path, draft.content["model"])


def _stride(model: ModelFile) -> int:
    main = model.main
    shape = main.tensors[main.inputs[0]].shape if main.inputs else ()
    return shape[1] if len(shape) == 3 else 0


def _complete(draft: _Draft, path: Path, stride: int) -> None:
    """Add what is missing, and say version 2; a model of one slice a frame came with version 1's step."""
    content, micro = draft.content, draft.micro
    step = contract.V1_FEATURE_STEP_MS if content.get("version") == 1 and stride == 1 else contract.FEATURE_STEP_MS
    draft.put("type", "micro", "ESPHome takes no other", into=content)
    draft.put("version", 2, "its keys are those of version 2", into=content)
    defaults: dict[str, object] = {
        "wake_word": path.stem.replace("_", " ").replace("-", " ").title(),
        "author": "",
        "trained_languages": ["en"],
    }
    for key, value in defaults.items():
        if key not in content:
            draft.put(key, value, "ESPHome asks for it", into=content)
    for key, value in {
        "probability_cutoff": contract.DEFAULT_PROBABILITY_CUTOFF,
        "feature_step_size": step,
        "sliding_window_size": contract.DEFAULT_SLIDING_WINDOW_SIZE,
        "minimum_esphome_version": _OLDEST_RELEASE,
    }.items():
        if key not in micro:
            draft.put(key, value, "ESPHome asks for it; the published models have this value", into=micro)


def _check_arena(draft: _Draft, model: Path, *, asked: bool) -> None:
    """Set the arena where it is missing, or too small for a chip."""
    file = read_model(model)
    size = draft.micro.get("tensor_arena_size")
    predictions = predict_arenas(file)
    whole = isinstance(size, int) and not isinstance(size, bool)
    if whole and all(fits(prediction.minimum, size or 0) for prediction in predictions):
        return
    largest = max(predictions, key=lambda prediction: prediction.minimum)
    if asked:
        message = f"a tensor_arena_size of {size} is too small: {largest.chip} needs {largest.minimum} bytes"
        raise UnsupportedModelError(message, hint="leave the size out: it is computed from the model")
    why = f"{largest.chip} needs {largest.minimum} bytes, and 10 % are room for the next release"
    draft.put("tensor_arena_size", calculate_tensor_arena_size(file.content), why, into=draft.micro)


def _drop_surplus(draft: _Draft) -> None:
    for section, known in ((draft.content, _TOP_KEYS), (draft.micro, _MICRO_KEYS)):
        for key in [key for key in section if key not in known]:
            draft.drop(key, "ESPHome refuses a manifest with this key", out_of=section)
    if "website" in draft.content and not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", str(draft.content["website"])):
        draft.drop("website", "ESPHome takes a URL, or none", out_of=draft.content)
