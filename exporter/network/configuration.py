"""Configuration files of the official trainer, of sarpel's trainer, and of mww-harness.

The latter has a `model:` section with the settings of `settings`, and a `manifest:` section with the manifest's values.
In these, and in the trainers' architecture sections, a name that is not known is refused; all else in a trainer's file
concerns training and is ignored.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from exporter.manifest import ManifestOptions
from exporter.network import settings
from exporter.network.settings import Settings
from mww.core.errors import ConfigurationError
from mww.core.fields import Fields
from mww.core.readable import is_file
from mww.core.yaml_reader import read_yaml

DEFAULT_NAME: Final = "training_config.yaml"
"""Its name in the official trainer."""

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

_HINT: Final = "give the training_config.yaml that the trainer wrote; docs/reference/configuration.md lists all keys"
_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a configuration file says.

    Attributes:
        settings: Settings of the architecture, as far as the file has them.
        manifest: The manifest's values, by `ManifestOptions` names.
        feature_step_size: Milliseconds a slice that the network was trained on, or None where the file does not say it.
    """

    settings: Settings = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict)
    feature_step_size: int | None = None


def own_configuration(checkpoint: Path) -> Path:
    """The place of the configuration of one checkpoint, in a folder with checkpoints of several networks."""
    return checkpoint.with_name(f"{checkpoint.name.partition('.')[0]}.{DEFAULT_NAME}")


def find_configuration(checkpoint: Path) -> Path | None:
    """The configuration beside a checkpoint: its own, else the trainer's, which may be one folder up."""
    places = [own_configuration(checkpoint), checkpoint.with_name(DEFAULT_NAME)]
    if checkpoint.parent.name in ("restore", "train"):
        places.append(checkpoint.parent.parent / DEFAULT_NAME)
    return next(filter(is_file, places), None)


def load_configuration(path: Path) -> Configuration:
    """Read a YAML file of any of the three kinds.

    Raises:
        ConfigurationError: It cannot be read, has an unknown name or value, or a tag other than the `!!python/tuple`
            that the official trainer writes.
    """
    document, _ = read_yaml(path, ConfigurationError, _HINT, tuples=True)
    return _parse(Fields(path, document, hint=_HINT, error=ConfigurationError))


def parse_configuration(document: Mapping[Any, Any]) -> Configuration:
    """Take a parsed configuration, as in a trainer's own script.

    Raises:
        ConfigurationError: A name or value is unknown.
    """
    return _parse(Fields("the configuration", document, hint=_HINT, error=ConfigurationError))


def _parse(document: Fields) -> Configuration:
    if "flags" in document and isinstance(document.value("flags"), Mapping):
        return _official(document)
    if _SARPEL_SECTIONS & set(document):
        return _sarpel(document)
    if len(_TRAINER_INPUT & set(document)) > 1:
        document.fault("is the trainer's input, which does not contain the network")
    document.only(_OUR_SECTIONS)
    model, manifest = (document.optional_fields(name) for name in _OUR_SECTIONS)
    if manifest:
        manifest.only(_MANIFEST_KEYS)
    return Configuration(
        settings=_settings(model) if model else {},
        manifest={name: manifest.value(name) for name in manifest} if manifest else {},
    )


def _settings(section: Fields, ignored: Collection[str] = ()) -> Settings:
    """The settings of an architecture's section, whose other keys must be in `ignored`."""
    section.only((*settings.ALL, *ignored))
    return {name: section.parsed(name, settings.parse_setting) for name in section if name not in ignored}


def _official(document: Fields) -> Configuration:
    """`flags` holds the architecture among the trainer's other flags; stride and length are outside."""
    flags = document.fields("flags")
    for name in flags:
        if name not in settings.ALL and (near := get_close_matches(name, settings.ALL, 1, 0.85)):
            flags.fault(f"has the unknown key {name[:60]!r}", hint=f"did you mean {near[0]}?")
    parsed = {name: flags.parsed(name, settings.parse_setting) for name in flags if name in settings.ALL}
    if flags.value("model_name"):
        parsed.setdefault(
            "architecture",
            flags.parsed("model_name", lambda _, value: settings.parse_setting("architecture", value)),
        )
    for name in ("stride", "spectrogram_length"):
        if name in document:
            outside = document.parsed(name, settings.parse_setting)
            if parsed.setdefault(name, outside) != outside:
                hint = "remove one of the two: they are the same setting"
                document.fault(f"is {outside}, and {parsed[name]} among the flags", key=name, hint=hint)
    _log_ignored(set(document) - {"flags", "stride", "spectrogram_length", "window_step_ms"})
    return Configuration(parsed, feature_step_size=_step(document))


def _sarpel(document: Fields) -> Configuration:
    model, hardware = document.optional_fields("model"), document.optional_fields("hardware")
    _log_ignored(set(document) - {"model"})
    parsed = _settings(model, _SARPEL_TRAINING_KEYS) if model else {}
    return Configuration(parsed, feature_step_size=_step(hardware) if hardware else None)


def _step(section: Fields) -> int | None:
    value = section.value("window_step_ms")
    return value if isinstance(value, int) and 0 < value <= 30 else None


def _log_ignored(names: set[str]) -> None:
    if names:
        _LOG.debug("ignored in the configuration: %s", ", ".join(sorted(names)))
