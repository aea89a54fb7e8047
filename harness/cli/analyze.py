"""`mww analyze`: what a model is made of, as text, JSON or a page."""

from __future__ import annotations

from pathlib import Path

import click

from exporter.model_analyzer.collection import collect, document
from exporter.model_analyzer.report import SCHEMA, as_html
from exporter.model_analyzer.text import as_text
from harness.cli.output import emit_json, json_option, say, say_lines, warn_of_refusals
from mww.core.files import write_files
from mww.esphome.manifest import is_manifest, load_manifest


@click.command("analyze")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--html", "page", type=click.Path(path_type=Path), metavar="FILE", help="Write one self-contained page.")
@json_option
def command(file: Path, page: Path | None, as_json: bool) -> int:
    """Describe FILE, a .tflite model or a manifest: layers, state, memory, time and checks.

    Exits with 0, or with 2 if FILE cannot be read; mww verify judges.
    """
    collection = collect(file)
    if is_manifest(file):
        warn_of_refusals(load_manifest(file, needs=()))
    if page is not None:
        write_files({page: as_html(collection).encode("utf-8")})
    if as_json:
        emit_json(SCHEMA, {**document(collection), "html": str(page) if page is not None else None})
    elif page is not None:
        say(f"wrote {page}")
    else:
        say_lines(as_text(collection))
    return 0
