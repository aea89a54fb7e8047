"""The source of an analysis: a model file, with its manifest if it has one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mww.esphome.manifest import ARENA_FIGURES, Manifest, is_manifest, load_manifest
from mww.tflite.model_file import ModelFile, read_model
from mww.verification import VerificationReport, verify_esphome_compatibility, verify_model


@dataclass(frozen=True, slots=True)
class Source:
    """A parsed model and its file; `asked` is the path as given."""

    asked: Path
    path: Path
    model: ModelFile
    manifest: Manifest | None


def open_source(path: Path | str) -> Source:
    """Read a `.tflite`, or the model that a manifest names.

    Raises:
        ModelFileError: The model cannot be read.
        ManifestError: The manifest cannot be read, or breaks the schema.
    """
    path = Path(path)
    if not is_manifest(path):
        return Source(path, path, read_model(path), None)
    manifest = load_manifest(path, needs=ARENA_FIGURES)
    return Source(path, manifest.model, read_model(manifest.model), manifest)


def verify_source(source: Source) -> VerificationReport:
    """Verify a parsed model, together with its manifest."""
    if source.manifest is None:
        return verify_model(source.model, source.path)
    return verify_esphome_compatibility(source.asked)
