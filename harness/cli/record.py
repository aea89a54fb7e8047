"""`mww record`: golden outputs of a model on clips."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from harness.cli.output import console, emit_json, json_option, progress, say
from harness.cli.run_options import Place, clip_options, clip_source
from harness.run.recording import Recorded, RecordedSummary, record
from mww.core.readable import printable_name
from mww.esphome.model import load_model


@click.command("record")
@click.argument("model", type=click.Path(path_type=Path))
@clip_options
@click.option("--output", required=True, type=click.Path(path_type=Path), metavar="GOLDEN.npz", help="Where to.")
@json_option
def command(
    model: Path, features: Place | None, wav: tuple[Place, ...], lead_in: float, output: Path, as_json: bool
) -> None:
    """Record the outputs of MODEL, a manifest or .tflite, for clips, computed by the device's own runtime."""
    source = clip_source(features, wav, lead_in)
    loaded = load_model(model)
    with progress() as report:
        recorded = record(loaded, source, output, lead_in=lead_in, progress=report)
    if as_json:
        emit_json("mww.record/1", _document(recorded))
    else:
        _print(recorded)


def _document(recorded: Recorded) -> dict[str, object]:
    provenance = recorded.provenance
    return {
        "golden": str(recorded.path),
        **asdict(provenance),
        "versions": dict(provenance.versions),
        "clips": [asdict(clip) for clip in recorded.clips],
    }


def _print(recorded: Recorded) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("clip", "inferences", "outputs sha256", "against the former golden")
    for clip in recorded.clips:
        table.add_row(Text(printable_name(clip.name)), str(clip.inferences), clip.outputs_sha256[:12], _change(clip))
    console().print(table)
    say(f"{recorded.path} holds the outputs of {recorded.provenance.engine}")


def _change(clip: RecordedSummary) -> str:
    if clip.changed is None:
        return "new"
    return f"{clip.changed} outputs changed" if clip.changed else "the same"
