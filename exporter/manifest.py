"""The manifest of a model: made with the predicted tensor arena, or a repaired manifest.

`mww.esphome.manifest` reads and checks manifests.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path, PurePath
from typing import Any, Final

from mww.core.errors import ConfigurationError, ManifestError, UnsupportedModelError
from mww.core.readable import is_file, shown
from mww.esphome import contract
from mww.esphome.manifest import Manifest, load_manifest, model_path, read_manifest, save_manifest
from mww.esphome.manifest_schema import OTHER_NAMES, schema_problems
from mww.tflite.model_file import ModelFile, read_model
from mww.tflm.arena import DEFAULT_MARGIN, fits, predict_arenas, with_margin
from mww.tflm.builds import select_runtimes

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

__all__ = [
    "DEFAULT_TENSOR_ARENA_SIZE",
    "Manifest",
    "ManifestOptions",
    "calculate_tensor_arena_size",
    "generate_manifest",
    "load_manifest",
    "manifest_of",
    "save_manifest",
]

DEFAULT_TENSOR_ARENA_SIZE: Final = 22_860
"""Bytes, as in published manifests. Only used without a model, never instead of a prediction."""


@dataclass(frozen=True, slots=True)
class Change:
    """A changed key; `before` is None where it was added, `after` where it was removed."""

    key: str
    before: object
    after: object
    why: str


@dataclass(frozen=True, slots=True)
class Repaired:
    """A manifest that ESPHome accepts, and its changes; `model` is its model file."""

    content: dict[str, Any]
    model: Path
    changes: tuple[Change, ...]


@dataclass
class _Draft:
    """A manifest during its repair, with a list of the changes."""

    content: dict[str, Any]
    micro: dict[str, Any]
    changes: list[Change] = field(default_factory=list)

    def put(self, key: str, value: object, why: str, *, into: dict[str, Any]) -> None:
        """Set a key, and note a change."""
        if key not in into or into[key] != value or type(into[key]) is not type(value):
            self.changes.append(Change(key, into.get(key), value, why))
            into[key] = value

    def drop(self, key: str, why: str, *, out_of: dict[str, Any]) -> None:
        """Remove a key, and note the change."""
        self.changes.append(Change(key, out_of.pop(key), None, why))


def repair_manifest(path: Path, options: Mapping[str, object]) -> Repaired:
    """Repair a manifest file.

    Args:
        path: The manifest; it is not written.
        options: Keys of a manifest with new values, which replace those of the file.

    Raises:
        ManifestError: It cannot be read, its model is not beside it, or it cannot be repaired.
        ModelFileError: The model cannot be read.
        UnsupportedModelError: The runtime would refuse the model, so that no arena can be computed.
    """
    content = read_manifest(path)
    if content.get("version") == 1 and not schema_problems(content) and not options:
        model = model_path(path, content["model"])
        if _stride(read_model(model)) == 1:  # a version 1 word, as ESPHome accepts it
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
    """Rename keys to their names in version 2."""
    for section in (draft.content, draft.micro):
        for name, right in OTHER_NAMES.items():
            if name in section and right not in section:
                value = section.pop(name)
                draft.changes.append(Change(right, None, value, f"{name} is not a key of a version 2 manifest"))
                section[right] = value


def _collect(draft: _Draft) -> None:
    """Move keys from the wrong level."""
    for key in _MICRO_KEYS:
        if key in draft.content and key not in draft.micro:
            draft.micro[key] = draft.content.pop(key)
            draft.changes.append(Change(f"micro.{key}", None, draft.micro[key], "it belongs into micro"))
    for key in _TOP_KEYS:
        if key in draft.micro and key not in draft.content:
            draft.content[key] = draft.micro.pop(key)
            draft.changes.append(Change(key, None, draft.content[key], "it does not belong into micro"))


def _convert(draft: _Draft) -> None:
    """Convert values to the form that ESPHome accepts."""
    micro = draft.micro
    for key in ("feature_step_size", "sliding_window_size", "tensor_arena_size", "probability_cutoff"):
        value = _as_number(micro.get(key), whole=key != "probability_cutoff")
        if (value is not None and value != micro.get(key)) or (isinstance(micro.get(key), str) and value is not None):
            draft.put(key, value, "a number, not text", into=micro)
    cutoff = micro.get("probability_cutoff")
    if isinstance(cutoff, int | float) and not isinstance(cutoff, bool) and 1 < cutoff <= 100:
        draft.put("probability_cutoff", round(cutoff / 100, 4), "a fraction, not a percentage", into=micro)
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
    """The model that the manifest names, or a model with the manifest's name beside it."""
    name = draft.content.get("model")
    beside = path.with_suffix(".tflite")
    if isinstance(name, str) and "://" in name and is_file(beside):
        why = "the file beside the manifest; ESPHome accepts a URL only in a manifest that it fetched by URL"
        draft.put("model", beside.name, why, into=draft.content)
    elif (not isinstance(name, str) or not is_file(path.parent / name)) and is_file(beside):
        draft.put("model", beside.name, "the file beside the manifest", into=draft.content)
    if not isinstance(draft.content.get("model"), str):
        raise ManifestError(
            f"{path} does not name a model", hint="put the .tflite beside it, under the manifest's name"
        )
    return model_path(path, draft.content["model"])


def _stride(model: ModelFile) -> int:
    main = model.main
    shape = main.tensors[main.inputs[0]].shape if main.inputs else ()
    return shape[1] if len(shape) == 3 else 0


def _complete(draft: _Draft, path: Path, stride: int) -> None:
    """Add missing keys and version 2; a model with one slice a frame gets version 1's step."""
    content, micro = draft.content, draft.micro
    step = contract.V1_FEATURE_STEP_MS if content.get("version") == 1 and stride == 1 else contract.FEATURE_STEP_MS
    draft.put("type", "micro", "ESPHome accepts only this version", into=content)
    draft.put("version", 2, "its keys are those of version 2", into=content)
    defaults: dict[str, object] = {
        "wake_word": path.stem.replace("_", " ").replace("-", " ").title(),
        "author": "",
        "trained_languages": ["en"],
    }
    for key, value in defaults.items():
        if key not in content:
            draft.put(key, value, "ESPHome requires it", into=content)
    for key, value in {
        "probability_cutoff": contract.DEFAULT_PROBABILITY_CUTOFF,
        "feature_step_size": step,
        "sliding_window_size": contract.DEFAULT_SLIDING_WINDOW_SIZE,
        "minimum_esphome_version": _OLDEST_RELEASE,
    }.items():
        if key not in micro:
            draft.put(key, value, "ESPHome requires it; the published models have this value", into=micro)


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
    why = f"{largest.chip} needs {largest.minimum} bytes, with a margin of 10 % for later releases"
    draft.put("tensor_arena_size", calculate_tensor_arena_size(file.content), why, into=draft.micro)


def _drop_surplus(draft: _Draft) -> None:
    for section, known in ((draft.content, _TOP_KEYS), (draft.micro, _MICRO_KEYS)):
        for key in [key for key in section if key not in known]:
            draft.drop(key, "ESPHome refuses a manifest with this key", out_of=section)
    if "website" in draft.content and not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", str(draft.content["website"])):
        draft.drop("website", "ESPHome accepts a URL or nothing", out_of=draft.content)


@dataclass(frozen=True, slots=True)
class ManifestOptions:
    """The values of a generated manifest that do not come from the model.

    Attributes:
        wake_word: None for the model's file name, as words.
        author: Empty by default.
        website: A URL, or None to leave it out.
        trained_languages: Language codes.
        probability_cutoff: 0..1.
        sliding_window_size: Number of outputs in the sliding window.
        feature_step_size: Milliseconds a slice.
        minimum_esphome_version: The oldest ESPHome that may use the model.
        tensor_arena_size: Bytes; None: `calculate_tensor_arena_size`.
        chips: Chips on which the arena must suffice; None: all that are known.
        runtimes: Library versions with which the arena must suffice, as `runtimes.select_runtimes` takes them; none:
            those that ESPHome pins.
        arena_margin: Part of the largest minimum that is added to it.
    """

    wake_word: str | None = None
    author: str = ""
    website: str | None = None
    trained_languages: tuple[str, ...] = ("en",)
    probability_cutoff: float = contract.DEFAULT_PROBABILITY_CUTOFF
    sliding_window_size: int = contract.DEFAULT_SLIDING_WINDOW_SIZE
    feature_step_size: int = contract.FEATURE_STEP_MS
    minimum_esphome_version: str = "2024.7.0"
    tensor_arena_size: int | None = None
    chips: tuple[str, ...] | None = None
    runtimes: tuple[str, ...] = ()
    arena_margin: float = DEFAULT_MARGIN

    @classmethod
    def from_mapping(cls, options: Mapping[str, Any]) -> ManifestOptions:
        """Make options from names, with any sequence for a tuple.

        Raises:
            ConfigurationError: A name is not known.
        """
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(options) - set(known))
        if unknown:
            message = f"unknown manifest option {', '.join(map(shown, unknown))}"
            raise ConfigurationError(message, hint=f"known: {', '.join(known)}")
        changes = dict(options)
        for name in ("trained_languages", "chips", "runtimes"):
            if isinstance(changes.get(name), str):
                changes[name] = (changes[name],)
            elif isinstance(value := changes.get(name), Sequence):
                changes[name] = tuple(value)
            elif value is not None:
                raise ConfigurationError(f"{name} is {shown(value)}, not a list", hint="write a list of words")
        return replace(cls(), **changes)


def calculate_tensor_arena_size(
    path: Path | str | bytes | ModelFile,
    *,
    chips: tuple[str, ...] | None = None,
    margin: float = DEFAULT_MARGIN,
    runtimes: tuple[contract.RuntimeVersions, ...] = (contract.DEFAULT_RUNTIME,),
) -> int:
    """The `tensor_arena_size` for a model: its largest `minimum` over the chips plus the margin, up to 16, in bytes.

    Args:
        path: The `.tflite`, its bytes, or a parsed model.
        chips: Of `mww.esphome.chips`; None: all.
        margin: Part of the minimum to add, 0 or more.
        runtimes: Library versions, one at least.

    Raises:
        ConfigurationError: The margin is negative.
        ModelFileError: The file cannot be read as a model.
        UnsupportedModelError: The runtime would refuse the model.
        UnknownRuntimeError: A chip is not known.
    """
    model = path if isinstance(path, ModelFile) else read_model(path)
    predictions = [item for runtime in runtimes for item in predict_arenas(model, chips, runtime=runtime)]
    largest = max(prediction.minimum for prediction in predictions)
    return with_margin(largest, margin)


def generate_manifest(model_path: Path | str, config: ManifestOptions | Mapping[str, Any]) -> dict[str, Any]:
    """Make the version 2 manifest of a model, with keys in the order of the published ones.

    Args:
        model_path: The `.tflite`, which the manifest names by its file name.
        config: `ManifestOptions`, or a mapping of their names.

    Raises:
        ConfigurationError: An option is not known, or ESPHome would refuse its value.
        UsageError: A runtime is not well-formed, or not known.
        ModelFileError: The file cannot be read as a model.
        UnsupportedModelError: The runtime would refuse the model, so that no arena can be computed.
    """
    path = Path(model_path)
    return manifest_of(read_model(path), path.name, config)


def manifest_of(model: ModelFile, name: str, config: ManifestOptions | Mapping[str, Any]) -> dict[str, Any]:
    """Do what `generate_manifest` does, for a parsed model whose file is called `name`.

    Raises:
        MwwError: As for `generate_manifest`.
    """
    options = config if isinstance(config, ManifestOptions) else ManifestOptions.from_mapping(config)
    arena = options.tensor_arena_size
    if arena is None:
        runtimes = select_runtimes(options.runtimes)
        arena = calculate_tensor_arena_size(model, chips=options.chips, margin=options.arena_margin, runtimes=runtimes)
    manifest: dict[str, Any] = {
        "type": "micro",
        "wake_word": options.wake_word if options.wake_word is not None else _in_words(PurePath(name).stem),
        "author": options.author,
        "website": options.website,
        "model": name,
        "trained_languages": list(options.trained_languages),
        "version": 2,
        "micro": {
            "probability_cutoff": options.probability_cutoff,
            "feature_step_size": options.feature_step_size,
            "sliding_window_size": options.sliding_window_size,
            "tensor_arena_size": arena,
            "minimum_esphome_version": options.minimum_esphome_version,
        },
    }
    if options.website is None:
        del manifest["website"]
    problems = schema_problems(manifest)
    if problems:
        raise ConfigurationError(
            f"ESPHome would refuse the manifest: {problems[0].message}", hint="correct that value in the configuration"
        )
    return manifest


def _in_words(stem: str) -> str:
    """Turn `hey_jarvis` into `Hey Jarvis`; `vad` stays, because ESPHome uses that name."""
    return stem if stem == "vad" else stem.replace("_", " ").replace("-", " ").title()
