"""ESPHome projects: the harness's firmware for a board, and the real micro_wake_word with a model that was exported.

Writes YAML and sources; ESPHome builds them, and `harness.boards.flashing` takes the result.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from mww.core.errors import InputError, OutputError, UnsupportedModelError, UsageError
from mww.core.files import write_files
from mww.core.readable import is_folder, is_there
from mww.core.resources import firmware_dir
from mww.esphome.manifest import Manifest, load_manifest
from mww.tflite.model_file import read_model
from mww.verification import verify_esphome_compatibility

SOURCES: Final = "mww_harness"
"""Folder of a project that belongs to mww-harness, and is replaced as a whole."""

_MODELS: Final = "models"
_WAKE_WORD_FILE: Final = "wake-word.yaml"
_COMPONENT: Final = "mww_harness"
_COMPONENT_SUFFIXES: Final = (".py", ".h", ".cpp")
_IMAGE: Final = "firmware.factory.bin"
_BUILT: Final = (f"build/{_IMAGE}", f".pioenvs/*/{_IMAGE}")
"""Where `esphome compile` leaves the image to flash, below `.esphome/build/NAME`: since ESPHome 2026.7.0, and before or
with `toolchain: platformio`."""


@dataclass(frozen=True, slots=True)
class FirmwareProject:
    """A project as it was written.

    Attributes:
        board: Board name.
        config: The YAML to build; it is the user's, and an existing one is kept.
        image: Where `esphome compile` leaves the factory image since ESPHome 2026.7.0; `find_image` knows older places.
        wake_word: The YAML with the real micro_wake_word, or None without a wake word.
    """

    board: str
    config: Path
    image: Path
    wake_word: Path | None


def board_names() -> tuple[str, ...]:
    """The boards with firmware."""
    return tuple(sorted(path.stem for path in (firmware_dir() / "boards").glob("*.yaml")))


def write_project(
    board: str, folder: Path, *, manifests: Sequence[Path] = (), vad: Path | None = None, microphone: bool = False
) -> FirmwareProject:
    """Write the firmware's project for a board into a folder and, with manifests, the wake words' own.

    Args:
        board: The board.
        folder: Where to; an existing `BOARD.yaml` there is kept.
        manifests: The wake words, in the order of ESPHome's `models:`.
        vad: The manifest of the model under ESPHome's `vad:`.
        microphone: Whether `BOARD.yaml` gives the firmware the board's microphone.

    Raises:
        UsageError: The board is unknown, two models have the same file name, or `BOARD.yaml` is there without the
            microphone that was asked for.
        InputError: A manifest or its model cannot be used.
        UnsupportedModelError: A model would not run on ESPHome.
        OutputError: The folder cannot be written.
    """
    if board not in board_names():
        raise UsageError(f"unknown board {board}", hint=f"boards: {', '.join(board_names())}")
    config = folder / f"{board}.yaml"
    contents = {folder / SOURCES / name: content for name, content in _sources()}
    if not is_there(config):
        contents[config] = _config(board, microphone=microphone).encode(errors="replace")
    elif microphone:
        raise UsageError(f"{config} exists, and is not overwritten", hint="choose another --output, or remove it")
    wake_word = folder / _WAKE_WORD_FILE if manifests else None
    if wake_word:
        loaded, gate = [_checked(path) for path in manifests], _checked(vad) if vad else None
        _check_steps([*loaded, *([gate] if gate else [])])
        contents.update(_wake_word_files(board, wake_word, loaded, gate))
    elif vad:
        raise UsageError("a VAD without a wake word", hint="name a wake word with --model, too")
    write_files(contents)
    _remove_stale(folder / SOURCES, set(contents))
    name = f"mww-{board}"
    return FirmwareProject(board, config, folder / ".esphome" / "build" / name / _BUILT[0], wake_word)


def find_image(path: Path) -> Path:
    """The factory image for a path: the file itself, or the newest build in a project's folder.

    Raises:
        InputError: The folder holds no image, or images of several boards.
    """
    if not is_folder(path):
        return path
    images = [image for place in _BUILT for image in path.glob(f".esphome/build/*/{place}")]
    names = sorted({image.relative_to(path).parts[2] for image in images})
    if not images:
        raise InputError(f"{path} holds no built firmware", hint="esphome compile BOARD.yaml builds it in that folder")
    if len(names) > 1:
        hint = f"name one image, such as {images[0]}"
        raise InputError(f"{path} holds firmware of several boards: {', '.join(names)}", hint=hint)
    return max(images, key=lambda image: image.stat().st_mtime)


def _sources() -> Iterator[tuple[Path, bytes]]:
    """The component and the boards, by their path in the project."""
    firmware = firmware_dir()
    for path in sorted((firmware / "components" / _COMPONENT).iterdir()):
        if path.suffix in _COMPONENT_SUFFIXES:
            yield path.relative_to(firmware), path.read_bytes()
    for path in sorted((firmware / "boards").rglob("*.yaml")):
        yield path.relative_to(firmware), path.read_bytes()


def _remove_stale(folder: Path, kept: set[Path]) -> None:
    """Remove the files of an older version, which ESPHome would build too."""
    try:
        for path in folder.rglob("*"):
            if path.suffix in _COMPONENT_SUFFIXES and path not in kept:
                path.unlink()
    except OSError as error:
        raise OutputError(
            f"cannot remove {error.filename}: {error.strerror}", hint="choose another --output, or remove it yourself"
        ) from error


def _config(board: str, *, microphone: bool) -> str:
    config = (
        f"# The firmware of mww-harness for {board}. Build it:  esphome compile {board}.yaml\n"
        f"# Options added here, such as another pin, take the place of those in {SOURCES}.\n"
        "substitutions:\n"
        f"  components: {SOURCES}/components\n"
        "\n"
        "packages:\n"
        f"  board: !include {SOURCES}/boards/{board}.yaml\n"
    )
    if not microphone:
        return config
    given = _microphone(board)
    heard = {name: given[name] for name in ("channels", "gain_factor")}
    harness = yaml.safe_dump({"mww_harness": {"microphone": {"microphone": "mic", **heard}}}, sort_keys=False)
    return f"{config}\n# The microphone, for mww listen --target PORT.\n{harness}\n{given['hardware']}"


def _microphone(board: str) -> dict[str, Any]:
    """A board's microphone: its `hardware` as YAML, and `channels` and `gain_factor` of the microphone `mic` in it."""
    path = firmware_dir() / "examples" / "microphones.yaml"
    entry: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))[board]
    return {**entry, "channels": entry["channel"]}


def _checked(path: Path) -> Manifest:
    """Read a manifest whose model runs on ESPHome.

    Raises:
        UnsupportedModelError: The model or its manifest breaks a rule.
    """
    manifest = load_manifest(path)
    failures = verify_esphome_compatibility(path).failures
    if failures:
        message = f"{path} does not run on ESPHome: {failures[0].message}"
        raise UnsupportedModelError(message, hint=f"mww verify {shlex.quote(str(path))} lists every fault and its cure")
    return manifest


def _check_steps(manifests: Sequence[Manifest]) -> None:
    """Refuse models of different steps: ESPHome does, except for a VAD, whose step it would use for all."""
    if len({manifest.feature_step_size for manifest in manifests}) > 1:
        steps = ", ".join(f"{manifest.path.name} {manifest.feature_step_size} ms" for manifest in manifests)
        message = f"the models cannot run together, since their steps differ: {steps}"
        raise UnsupportedModelError(message, hint="write a project for each step, or use models of one step")


def _wake_word_files(
    board: str, path: Path, manifests: Sequence[Manifest], vad: Manifest | None
) -> Iterator[tuple[Path, bytes]]:
    """The wake words' YAML, with manifests and models beside it."""
    models = path.parent / _MODELS
    every = [*manifests, *([vad] if vad else [])]
    names = [name for manifest in every for name in {manifest.path.name, manifest.model.name}]
    if len(set(names)) < len(names):
        raise UsageError("two models have the same file name", hint="rename one of them: ESPHome needs different ids")
    for manifest in every:
        yield models / manifest.path.name, manifest.path.read_bytes()
        yield models / manifest.model.name, read_model(manifest.model).content
    yield path, wake_word_config(board, path.name, manifests, vad).encode(errors="replace")


def wake_word_config(board: str, file_name: str, manifests: Sequence[Manifest], vad: Manifest | None = None) -> str:
    """A board's YAML with the real micro_wake_word, whose models lie in the folder `models` beside it."""
    from jinja2 import Environment, StrictUndefined

    examples = firmware_dir() / "examples"
    microphone = _microphone(board)
    hardware = _hardware(firmware_dir() / "boards" / f"{board}.yaml")
    # The template writes YAML, where HTML's escapes would be wrong; what comes from a manifest is quoted here.
    template = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False).from_string(
        (examples / "wake-word.yaml.j2").read_text("utf-8")
    )
    return template.render(
        wake_words=["".join(filter(str.isprintable, manifest.wake_word)) for manifest in manifests],
        board=board,
        file_name=file_name,
        minimum_esphome_version=_newest_minimum(manifests, vad),
        hardware="\n".join(yaml.safe_dump({key: section}, sort_keys=False) for key, section in hardware.items()),
        microphone=microphone["hardware"],
        channel=microphone["channel"],
        gain_factor=microphone["gain_factor"],
        models=[json.dumps(f"{_MODELS}/{manifest.path.name}") for manifest in manifests],
        vad=json.dumps(f"{_MODELS}/{vad.path.name}") if vad else None,
    )


def _newest_minimum(manifests: Sequence[Manifest], vad: Manifest | None) -> str | None:
    """The newest ESPHome release that the manifests require; None where no manifest requires a release."""
    asked = [manifest.minimum_esphome_version for manifest in (*manifests, *([vad] if vad else []))]
    return max(filter(None, asked), key=lambda text: [int(part) for part in re.findall(r"\d+", text)], default=None)


class _BoardLoader(yaml.SafeLoader):
    """Reads the YAML of the project's own boards; an `!include` stays the path that it names."""


def _include(loader: _BoardLoader, node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return str(loader.construct_mapping(node)["file"])
    assert isinstance(node, yaml.ScalarNode)
    return str(loader.construct_scalar(node))


_BoardLoader.add_constructor("!include", _include)


def _hardware(path: Path) -> dict[str, Any]:
    """The `esp32` and `psram` sections of a board, with those of the packages that it includes."""
    content = yaml.load(path.read_text("utf-8"), _BoardLoader)
    merged: dict[str, Any] = {}
    for included in content.get("packages", {}).values():
        merged = _merge(merged, _hardware(path.parent / included))
    return _merge(merged, {key: content[key] for key in ("esp32", "psram") if key in content})


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(over)
    for key, value in base.items():
        nested = isinstance(value, dict) and isinstance(over.get(key), dict)
        merged[key] = _merge(value, over[key]) if nested else over.get(key, value)
    return merged
