"""ESPHome's model manifest: a strict reader, and a writer that writes completely or not at all.

`manifest_schema` holds the rules for its JSON; `mww.verification` judges whether its figures fit the model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Final

from mww.core.errors import ForeignModelError, ManifestError
from mww.core.file_kinds import MANIFEST, TEXT, recognise
from mww.core.files import write_files
from mww.core.readable import is_file, is_there, read_regular
from mww.esphome import contract
from mww.esphome.manifest_schema import is_text, micro_figure, schema_problems, schema_version

MAX_FILE_SIZE: Final = 64 * 1024
"""Bytes; a published manifest has some 400."""

_HINT: Final = "mww manifest MANIFEST.json prints a repaired manifest, and the changes"


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest as ESPHome reads it: version 1 is converted to version 2, with ESPHome's values.

    Attributes:
        path: The manifest file.
        model: The model file, inside the manifest's folder.
        version: 1 or 2, as written.
        wake_word: What is said; `vad` makes ESPHome treat the model as a voice activity detector.
        author: May be empty.
        website: A URL, or None.
        trained_languages: Language codes.
        feature_step_size: Milliseconds a slice, 0..30.
        tensor_arena_size: Bytes.
        probability_cutoff: 0..1; the device compares with `contract.cutoff_byte` of it.
        sliding_window_size: Outputs that detection sums.
        minimum_esphome_version: Such as `2024.7.0`; None where a version 1 leaves it out.
        problems: What ESPHome refuses in it.
        wrong: Figures that the manifest does not give in a form that could be taken, so that defaults stand here.
    """

    path: Path
    model: Path
    version: int
    wake_word: str
    author: str
    website: str | None
    trained_languages: tuple[str, ...]
    feature_step_size: int
    tensor_arena_size: int
    probability_cutoff: float
    sliding_window_size: int
    minimum_esphome_version: str | None
    problems: tuple[str, ...] = ()
    wrong: frozenset[str] = frozenset()


FIGURES: Final = frozenset({"probability_cutoff", "sliding_window_size", "feature_step_size", "tensor_arena_size"})
"""Keys of `micro` that affect how a model runs."""

ARENA_FIGURES: Final = frozenset({"tensor_arena_size"})
"""Keys that affect the arena."""


_DEFAULTS: Final = {
    "probability_cutoff": contract.DEFAULT_PROBABILITY_CUTOFF,
    "sliding_window_size": contract.DEFAULT_SLIDING_WINDOW_SIZE,
    "feature_step_size": contract.FEATURE_STEP_MS,
    "tensor_arena_size": contract.V1_TENSOR_ARENA_SIZE,
}


def refused_by_esphome(manifest: Manifest) -> tuple[str, ...]:
    """A warning for each problem for which ESPHome refuses the manifest, but which does not matter here."""
    return tuple(f"ESPHome refuses {manifest.path.name}: {problem}" for problem in manifest.problems)


def is_manifest(path: Path | str) -> bool:
    """Whether a path is a manifest: ESPHome requires the suffix `.json`."""
    return Path(path).suffix.lower() == ".json"


def load_manifest(path: Path | str, needs: Collection[str] = FIGURES) -> Manifest:
    """Read a manifest of version 1 or 2.

    Args:
        path: The file.
        needs: Figures that the caller depends on; the others may be wrong, and are then ESPHome's defaults.

    Raises:
        ManifestError: The file is missing, too large, no JSON object, or names a model that is not a file inside the
            manifest's own folder; or a figure that is needed is wrong. What else ESPHome refuses is in `problems`.
    """
    path = Path(path)
    content = read_manifest(path)
    return parse_manifest(content, path, lambda name: model_path(path, name), needs)


def parse_manifest(
    content: Mapping[str, Any], path: Path, locate: Callable[[str], Path], needs: Collection[str] = FIGURES
) -> Manifest:
    """The JSON object of a manifest at `path`, parsed; `locate` finds the model by the name that it gives.

    Raises:
        ManifestError: A needed figure is wrong. `problems` has everything else that ESPHome refuses.
    """
    problems = schema_problems(content)
    version = schema_version(content)
    figures = {key: micro_figure(content, key) for key in FIGURES}
    if version == 1:
        figures["feature_step_size"] = contract.V1_FEATURE_STEP_MS
        figures["tensor_arena_size"] = contract.V1_TENSOR_ARENA_SIZE
    wrong = frozenset(key for key in FIGURES if figures[key] is None)
    if wrong & set(needs) or any(problem.key in ("model", "micro") for problem in problems):
        message = "; ".join(problem.message for problem in problems)
        raise ManifestError(f"{path} is not a valid manifest: {message}", hint=_HINT)
    read: Any = {**_DEFAULTS, **{key: figure for key, figure in figures.items() if figure is not None}}
    minimum = content["micro"].get("minimum_esphome_version")
    wake_word, author = content.get("wake_word"), content.get("author")
    return Manifest(
        path=path,
        model=locate(content["model"]),
        version=version,
        wake_word=wake_word if is_text(wake_word) else path.stem,
        author=author if is_text(author) else "",
        website=content["website"] if is_text(content.get("website")) else None,
        trained_languages=_languages(content.get("trained_languages")),
        feature_step_size=read["feature_step_size"],
        tensor_arena_size=read["tensor_arena_size"],
        probability_cutoff=float(read["probability_cutoff"]),
        sliding_window_size=read["sliding_window_size"],
        minimum_esphome_version=minimum if is_text(minimum) else None,
        problems=tuple(problem.message for problem in problems),
        wrong=wrong,
    )


def _languages(value: object) -> tuple[str, ...]:
    """The languages; English, as in ESPHome, where a version 1 has none."""
    if is_text(value):
        return (value,)
    return tuple(value) if isinstance(value, list) and all(map(is_text, value)) else ("en",)


def read_manifest(path: Path) -> dict[str, Any]:
    """Read a manifest's JSON object without judging it; see `manifest_schema.schema_problems`.

    Raises:
        ManifestError: The file is missing, too large, or no JSON object.
    """
    try:
        if not is_file(path):  # a pipe would wait for ever
            raise ManifestError(
                f"{path} is {'no file' if is_there(path) else 'missing'}",
                hint="give the .json beside the .tflite, or the .tflite itself",
            )
        if path.suffix.lower() == ".tflite":
            hint = "give the .json beside it; mww manifest MODEL.tflite --output FILE.json makes one"
            raise ManifestError(f"{path} is a model, not a manifest", hint=hint)
        raw = read_regular(path, MAX_FILE_SIZE)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise ManifestError(
            f"cannot read {path}: {getattr(error, 'strerror', None) or error}",
            hint="give the .json beside the .tflite, as a file that you may read",
        ) from error
    try:
        content = json.loads(raw.decode("utf-8"), parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ManifestError(f"{path} is nested too deeply", hint=_HINT) from error
    except ValueError as error:
        kind = recognise(raw)
        if kind is not None and kind not in (MANIFEST, TEXT):
            raise ManifestError(f"{path} is not a manifest but {kind.name}", hint=kind.way_on("manifest")) from error
        raise ManifestError(f"{path} is not JSON: {error}", hint=_HINT) from error
    if not isinstance(content, dict):
        raise ManifestError(f"{path} does not hold a JSON object", hint=_HINT)
    return content


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def model_path(manifest: Path, name: str) -> Path:
    """The model file that a manifest names.

    Raises:
        ForeignModelError: It lies outside the manifest's own folder, links followed.
        ManifestError: It is missing, or no file.
    """
    hint = "put the model beside the manifest"
    parts = (*PurePosixPath(name).parts, *PureWindowsPath(name).parts)
    absolute = PurePosixPath(name).is_absolute() or bool(PureWindowsPath(name).anchor)
    if absolute or ".." in parts or ":" in name or not name.isprintable():
        raise ForeignModelError(f"{manifest} names the model {name[:80]!r}, which is outside its folder", hint=hint)
    try:
        folder = manifest.parent.resolve(strict=True)
        target = (folder / name).resolve(strict=True)
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
        raise ManifestError(f"{manifest} names the model {name[:80]!r}, which is missing", hint=hint) from error
    if not target.is_relative_to(folder):
        raise ForeignModelError(f"{manifest} names the model {name[:80]!r}, which links out of its folder", hint=hint)
    if not is_file(target):
        raise ManifestError(f"{manifest} names the model {name[:80]!r}, which is not a file", hint=hint)
    return manifest.parent / name


def save_manifest(manifest: Mapping[str, Any], path: Path | str) -> Path:
    """Write a manifest as JSON, whole or not at all.

    Raises:
        ManifestError: It holds what JSON cannot.
        OutputError: It cannot be written.
    """
    path = Path(path)
    write_files({path: manifest_file(manifest)})
    return path


def manifest_file(manifest: Mapping[str, Any]) -> bytes:
    """A manifest's file.

    Raises:
        ManifestError: It holds what JSON cannot.
    """
    try:
        return f"{json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False)}\n".encode()
    except (TypeError, ValueError) as error:
        raise ManifestError(
            f"the manifest cannot be written as JSON: {error}", hint="write plain numbers and texts"
        ) from error


def write_micro(manifest: Manifest, key: str, value: float) -> Path:
    """Change a value of `micro` in a version 2 manifest file, and nothing else.

    Raises:
        ManifestError: A version 1 has other keys, or the file can no longer be read.
        OutputError: It cannot be written.
    """
    content = read_manifest(manifest.path)
    if manifest.version != 2:
        hint = (
            "mww manifest MANIFEST.json --in-place converts it; a version 1 always gets ESPHome's 45672 bytes of arena"
        )
        raise ManifestError(f"{manifest.path} is not a version 2 manifest, which alone has {key}", hint=hint)
    content["micro"][key] = value
    return save_manifest(content, manifest.path)
