"""`mww record`: golden outputs of a model on clips."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from harness.cli.output import console, emit_json, json_option, progress, say
from harness.cli.run_options import Place, clip_options, clip_source
from harness.report.wording import names_account
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
        "replaced_model_sha256": recorded.replaced.model_sha256 if recorded.replaced else None,
        "removed": list(recorded.removed),
    }


def _print(recorded: Recorded) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("clip", "inferences", "outputs sha256", "against the former golden", box=None, pad_edge=False)
    for clip in recorded.clips:
        table.add_row(Text(printable_name(clip.name)), str(clip.inferences), clip.outputs_sha256[:12], _change(clip))
    console().print(table)
    former, model = recorded.replaced, recorded.provenance.model
    if former is not None and former.model_sha256 != recorded.provenance.model_sha256:
        say(f"the former golden was of another model: {former.model}, sha256 {former.model_sha256[:12]}")
    if recorded.removed:
        say(f"clips of the former golden that are not in this one: {names_account(recorded.removed)}")
    say(f"{recorded.path} holds the outputs of {model} in {recorded.provenance.engine}")


def _change(clip: RecordedSummary) -> str:
    if clip.changed is None:
        return "new" if clip.former is None else f"it had {clip.former} outputs"
    return f"{clip.changed} outputs changed" if clip.changed else "the same"
