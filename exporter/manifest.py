"""The manifest of a model: its tensor arena is predicted, the rest is what its maker says.

The name that users of the former exporter import. Reading, checking and writing is in `mww.esphome.manifest`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path, PurePath
from typing import Any, Final

from mww.core.errors import ConfigurationError
from mww.esphome import contract
from mww.esphome.manifest import Manifest, load_manifest, save_manifest
from mww.esphome.manifest_schema import schema_problems
from mww.tflite.model_file import ModelFile, read_model
from mww.tflm.arena import DEFAULT_MARGIN, predict_arenas, with_margin
from mww.tflm.builds import select_runtimes

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
"""Bytes, as in published manifests. Only without a model, never in place of a prediction."""


@dataclass(frozen=True, slots=True)
class ManifestOptions:
    """What a generated manifest says that the model cannot tell.

    Attributes:
        wake_word: None: the model's file name, in words.
        author: Empty by default.
        website: A URL, or None to leave it out.
        trained_languages: Language codes.
        probability_cutoff: 0..1.
        sliding_window_size: Outputs that detection sums.
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
        """Take options by name, with any sequence for a tuple.

        Raises:
            ConfigurationError: A name is not known.
        """
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(options) - set(known))
        if unknown:
            message = f"unknown manifest option {', '.join(unknown)}"
            raise ConfigurationError(message, hint=f"known: {', '.join(known)}")
        changes = dict(options)
        for name in ("trained_languages", "chips", "runtimes"):
            if isinstance(changes.get(name), str):
                changes[name] = (changes[name],)
            elif changes.get(name) is not None:
                changes[name] = tuple(changes[name])
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
        path: The `.tflite`, its bytes, or the model that was parsed already.
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
    """Do what `generate_manifest` does, for a model that was parsed already and whose file is called `name`.

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
    """`hey_jarvis` as `Hey Jarvis`; `vad` stays, because ESPHome knows it by that name."""
    return stem if stem == "vad" else stem.replace("_", " ").replace("-", " ").title()
