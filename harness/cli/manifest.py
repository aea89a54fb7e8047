"""`mww manifest`: makes a manifest for a model, or repairs a manifest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from exporter.manifest import Change, generate_manifest, repair_manifest, save_manifest
from harness.cli.numbers import Real, Whole
from harness.cli.output import emit_json, json_option, say, show_json, warn
from mww.core.errors import UsageError
from mww.core.readable import is_file, is_there
from mww.esphome.manifest import is_manifest
from mww.tflite.model_file import read_model
from mww.verification import verify_esphome_compatibility

_PATH = click.Path(path_type=Path)


@click.command("manifest")
@click.argument("file", type=_PATH)
@click.option("--output", type=_PATH, metavar="FILE.json", help="Write the manifest there, beside its model.")
@click.option("--in-place", is_flag=True, help="Replace the given manifest.")
@click.option("--wake-word", metavar="TEXT", help="What is said.")
@click.option("--author", metavar="TEXT")
@click.option("--website", metavar="URL")
@click.option("--language", "trained_languages", multiple=True, metavar="CODE", help="Repeatable.")
@click.option("--probability-cutoff", type=Real(0, 1), metavar="P")
@click.option("--sliding-window-size", type=Whole(1), metavar="N")
@click.option("--feature-step-size", type=Whole(0, 30), metavar="MS")
@click.option("--minimum-esphome-version", metavar="RELEASE")
@click.option("--tensor-arena-size", type=Whole(0), metavar="BYTES", help="By default it is computed from the model.")
@json_option
def command(file: Path, output: Path | None, in_place: bool, as_json: bool, **options: Any) -> int:
    """Make a manifest for FILE, a .tflite model, or repair FILE, a manifest, and show what was changed.

    Without --output and --in-place the manifest is printed and nothing is written.
    """
    if output is not None and in_place:
        raise UsageError("--output with --in-place", hint="give one of them")
    asked = {key: value for key, value in options.items() if value not in (None, ())}
    if "trained_languages" in asked:
        asked["trained_languages"] = list(asked["trained_languages"])
    content, model, changes = _make(file, asked, in_place)
    place = file if in_place else output
    if place is not None:
        _write(place, file, model, content, in_place=in_place)
    if as_json:
        document = {"manifest": str(place) if place else None, "changes": list(map(_document, changes))}
        emit_json("mww.manifest/1", {**document, "content": content})
    else:
        _print(content, changes, place)
    return 0


def _make(file: Path, asked: dict[str, Any], in_place: bool) -> tuple[dict[str, Any], Path, tuple[Change, ...]]:
    if is_manifest(file):
        repaired = repair_manifest(file, asked)
        return repaired.content, repaired.model, repaired.changes
    if in_place:
        raise UsageError("--in-place for a model", hint="--output FILE.json names the manifest to write")
    read_model(file)
    return generate_manifest(file, asked), file, ()


def _write(place: Path, given: Path, model: Path, content: dict[str, Any], *, in_place: bool) -> None:
    """Write the manifest beside its model; replace the given file only with --in-place."""
    if not in_place and is_there(place) and is_there(given) and place.samefile(given):
        raise UsageError(f"{place} is the given file", hint="--in-place replaces it")
    if not is_file(place.parent / content["model"]):
        hint = f"write it into {model.parent}, or put the model beside it first"
        raise UsageError(f"{place.parent} does not hold {content['model']}, which the manifest names", hint=hint)
    save_manifest(content, place)
    failures = verify_esphome_compatibility(place).failures
    if failures:
        message = f"the model itself fails a check: {failures[0].message}"
        warn(message, f"mww verify {place} lists every fault")


def _document(change: Change) -> dict[str, object]:
    return {"key": change.key, "from": change.before, "to": change.after, "why": change.why}


def _print(content: dict[str, Any], changes: tuple[Change, ...], place: Path | None) -> None:
    if place is None:
        show_json(content)
    for change in changes:
        before, after = (_shown(value) for value in (change.before, change.after))
        say(f"{change.key}: {before} -> {after}: {change.why}", err=place is None)
    if place is not None:
        count = f" ({len(changes)} changes)" if changes else ""
        say(f"Wrote {place}{count}")


def _shown(value: object) -> str:
    return "missing" if value is None else json.dumps(value, ensure_ascii=False)[:80]
