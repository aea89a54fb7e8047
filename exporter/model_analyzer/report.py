"""The report about a model: a self-contained page, plain text, or JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final, Literal

from exporter.model_analyzer.collection import Collection, collect, document
from exporter.model_analyzer.memory_map import HEIGHT, WIDTH, memory_maps
from exporter.model_analyzer.picture import draw
from exporter.model_analyzer.text import as_text
from mww.core.errors import UsageError
from mww.core.files import write_files
from mww.core.readable import printable as without_controls
from mww.core.readable import shown
from mww.esphome.chips import DEFAULT_CHIP

SCHEMA: Final = "mww.analyze/1"
_TEMPLATES: Final = Path(__file__).parent / "templates"


def generate_model_report(
    path: Path | str, output: Path | str | None = None, format: Literal["html", "text", "json"] = "html"
) -> str:
    """Write the report about a model, and return it.

    Args:
        path: A `.tflite` or a manifest.
        output: The file to write, or None.
        format: A page that needs no network, plain text, or JSON as `mww analyze --json` prints it.

    Raises:
        ModelFileError: The model cannot be read.
        ManifestError: The manifest cannot be read, or breaks the schema.
        OutputError: The report cannot be written.
        UsageError: The format is unknown.
    """
    writers = {"html": as_html, "text": as_text, "json": as_json}
    if format not in writers:
        raise UsageError(f"unknown report format {shown(format)}", hint=f"formats: {', '.join(writers)}")
    report = writers[format](collect(path))
    if output is not None:
        write_files({Path(output): report.encode("utf-8")})
    return report


def as_json(collection: Collection) -> str:
    """One JSON document."""
    return json.dumps({"schema": SCHEMA, **document(collection)}, indent=2, allow_nan=False) + "\n"


def as_html(collection: Collection) -> str:
    """A page, light and dark; texts from the file are escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["printable"] = printable
    template = environment.get_template("report.html.j2")
    model = collection.source.model
    return template.render(
        collection=collection,
        analysis=collection.analysis,
        picture=draw(model, collection.analysis),
        maps=memory_maps(model, collection.arenas),
        map_width=WIDTH,
        map_height=HEIGHT,
        s3=next(item for item in collection.performance if item.chip == DEFAULT_CHIP),
    )


def printable(text: str, limit: int = 120) -> str:
    """Replace control characters, which HTML forbids, and shorten long texts."""
    shown = without_controls(text, keep="\n")
    return shown if len(shown) <= limit else shown[: limit - 1] + "\N{HORIZONTAL ELLIPSIS}"
