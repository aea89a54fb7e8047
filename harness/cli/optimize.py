"""`mww optimize`: the same model in a smaller file and a smaller arena."""

from __future__ import annotations

from pathlib import Path

import click

from exporter.model_analyzer.source import open_source
from exporter.optimization.optimize import optimize_for_edge
from harness.cli.output import emit_json, json_option, say
from mww.core.errors import UsageError
from mww.core.files import write_files
from mww.core.readable import is_there
from mww.esphome.manifest import is_manifest
from mww.tflite.model_file import read_model
from mww.tflm.arena import predict_arenas

_PATH = click.Path(path_type=Path)


@click.command("optimize")
@click.argument("file", type=_PATH)
@click.option("--output", required=True, type=_PATH, metavar="FILE.tflite", help="The file to write.")
@json_option
def command(file: Path, output: Path, as_json: bool) -> None:
    """Write FILE, a .tflite or a manifest's model, without names and metadata and its operators in the best order.

    No output byte changes, and the model needs no more memory than before on any chip.
    """
    if is_manifest(output):
        raise UsageError(f"{output} has the name of a manifest", hint="a model is written: --output FILE.tflite")
    source = open_source(file)
    if is_there(output) and output.samefile(source.path):
        raise UsageError(f"{output} is the given file", hint="give another --output")
    before = source.model
    after = read_model(optimize_for_edge(before.content))
    write_files({output: after.content})
    arenas = {
        old.chip: {"before": old.minimum, "after": new.minimum}
        for old, new in zip(predict_arenas(before), predict_arenas(after), strict=True)
    }
    sizes = {"before": len(before.content), "after": len(after.content)}
    if as_json:
        document = {"model": str(output), "model_sha256": after.sha256, "size": sizes, "arena": arenas}
        emit_json("mww.optimize/1", document)
        return
    say(f"{output}: {sizes['before']:,} -> {sizes['after']:,} bytes")
    for chip, minimum in arenas.items():
        say(f"  {chip:<9} arena {minimum['before']:,} -> {minimum['after']:,}")
