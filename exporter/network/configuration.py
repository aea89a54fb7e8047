"""Configuration files, parsed once: the official trainer's, sarpel's, and our own.

Ours has a `model:` section with the settings of `settings`, and a `manifest:` section with what the manifest
says. In these, and in the trainers' architecture sections, a name that is not known is refused; all else in a trainer's
file concerns training and is ignored.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from exporter.manifest import ManifestOptions
from exporter.network import settings
from exporter.network.settings import Settings
from mww.core.errors import ConfigurationError
from mww.core.yaml_reader import read_yaml

DEFAULT_NAME: Final = "training_config.yaml"
"""What the official trainer calls it."""

_MANIFEST_KEYS: Final = tuple(
    option.name for option in fields(ManifestOptions) if option.name not in ("chips", "arena_margin")
)
_OUR_SECTIONS: Final = ("model", "manifest")
_SARPEL_SECTIONS: Final = frozenset(
    {"hardware", "paths", "training", "augmentation", "performance", "mining", "export", "preprocessing", "evaluation"}
)
_SARPEL_TRAINING_KEYS: Final = frozenset({"dropout_rate", "l2_regularization"})
_TRAINER_INPUT: Final = frozenset(
    {"train_dir", "training_steps", "features", "window_step_ms", "clip_duration_ms", "batch_size", "learning_rates"}
)
"""Names that the official trainer reads, and writes beside `flags` into its training_config.yaml."""

_HINT: Final = "give the training_config.yaml that the trainer wrote"
_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a configuration file says.

    Attributes:
        settings: The architecture's, as far as they are reported.
        manifest: What the manifest shall say, by `ManifestOptions` names.
        feature_step_size: Milliseconds a slice that the network was trained on, or None where the file does not say it.
    """

    settings: Settings = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict)
    feature_step_size: int | None = None


def find_configuration(checkpoint: Path) -> Path | None:
    """The trainer's configuration beside a checkpoint, or one folder up where the trainer keeps it there."""
    folders = [checkpoint.parent]
    if checkpoint.parent.name in ("restore", "train"):
        folders.append(checkpoint.parent.parent)
    return next((folder / DEFAULT_NAME for folder in folders if (folder / DEFAULT_NAME).is_file()), None)


def load_configuration(path: Path) -> Configuration:
    """Read a YAML file of any of the three kinds.

    Raises:
        ConfigurationError: It cannot be read, has a name or value that is not known, or a tag other than the
            `!!python/tuple` that the official trainer writes.
    """
    document, _ = read_yaml(path, ConfigurationError, _HINT, tuples=True)
    if not isinstance(document, dict):
        raise ConfigurationError(f"{path} holds no settings", hint="see docs/reference/configuration.md")
    try:
        return parse_configuration(document)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error.message}", hint=error.hint) from error


def parse_configuration(document: Mapping[Any, Any]) -> Configuration:
    """Take a configuration that was read already, as a trainer's own script holds it.

    Raises:
        ConfigurationError: A name or value is not known.
    """
    if isinstance(document.get("flags"), Mapping):
        return _official(document)
    if not all(isinstance(name, str) for name in document):
        raise ConfigurationError(
            "a name in the configuration is not text", hint="write the names of settings as text, such as stride: 3"
        )
    if _SARPEL_SECTIONS & document.keys():
        return _sarpel(document)
    if len(_TRAINER_INPUT & document.keys()) > 1:
        raise ConfigurationError("this is what the trainer was given, which does not say the network", hint=_HINT)
    _refuse_unknown(document, _OUR_SECTIONS, "the configuration")
    model, manifest = (_section(document, name) for name in _OUR_SECTIONS)
    _refuse_unknown(model, tuple(settings.ALL), "model")
    _refuse_unknown(manifest, _MANIFEST_KEYS, "manifest")
    parsed = {name: settings.parse_setting(name, value) for name, value in model.items()}
    return Configuration(parsed, manifest)


def _section(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = document.get(name) or {}
    if not isinstance(section, Mapping) or not all(isinstance(key, str) for key in section):
        raise ConfigurationError(
            f"{name}: holds no settings",
            hint="give the training_config.yaml that the trainer wrote, or settings under model:",
        )
    return section


def _refuse_unknown(section: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for name in section:
        if name not in known:
            near = get_close_matches(str(name), known, 1, 0.5)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
            raise ConfigurationError(f"{where} has the unknown name {str(name)[:60]}", hint=hint)


def _official(document: Mapping[Any, Any]) -> Configuration:
    """`flags` holds the architecture among the trainer's other flags; stride and length stand outside."""
    flags = _section(document, "flags")
    reported: dict[str, object] = {"architecture": flags["model_name"]} if flags.get("model_name") else {}
    for name, value in flags.items():
        if name in settings.ALL:
            reported[name] = value
        elif near := get_close_matches(name, settings.ALL, 1, 0.85):
            raise ConfigurationError(f"flags has the unknown name {name[:60]}", hint=f"did you mean {near[0]}?")
    for name in ("stride", "spectrogram_length"):
        if name in document and reported.setdefault(name, document[name]) != document[name]:
            raise ConfigurationError(
                f"{name} is {document[name]}, and {reported[name]} among the flags",
                hint="remove one of the two: they are the same setting",
            )
    _log_ignored(set(document) - {"flags", "stride", "spectrogram_length", "window_step_ms"})
    parsed = {name: settings.parse_setting(name, value) for name, value in reported.items()}
    return Configuration(parsed, feature_step_size=_step(document.get("window_step_ms")))


def _sarpel(document: Mapping[str, Any]) -> Configuration:
    model = _section(document, "model")
    _refuse_unknown(model, (*settings.ALL, *_SARPEL_TRAINING_KEYS), "model")
    parsed = {
        name: settings.parse_setting(name, value) for name, value in model.items() if name not in _SARPEL_TRAINING_KEYS
    }
    _log_ignored(set(document) - {"model"})
    return Configuration(parsed, feature_step_size=_step(_section(document, "hardware").get("window_step_ms")))


def _step(value: object) -> int | None:
    return value if isinstance(value, int) and 0 < value <= 30 else None


def _log_ignored(names: set[Any]) -> None:
    if names:
        _LOG.debug("ignored in the configuration: %s", ", ".join(sorted(map(str, names))))
