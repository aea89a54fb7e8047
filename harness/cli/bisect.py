"""`mww bisect`: why a target's outputs are not the golden ones."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.inputs import Place, clip_options, clip_source
from harness.cli.output import emit_json, json_option, printable, progress

if TYPE_CHECKING:
    from harness.bisect.explanation import BisectResult


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@clip_options
@click.option("--target", required=True, help="virtual, emulator (with --engine), or the port of a board.")
@click.option("--engine", help="The emulator's interpreter: tflite-runtime or litert.")
@click.option("--chip", help="Of the virtual board.")
@click.option("--baud", type=click.IntRange(1, 5_000_000), help="Of the board's port.")
@json_option
def command(  # noqa: PLR0913, PLR0917 -- one parameter an option
    model: Path,
    features: Place | None,
    wav: tuple[Place, ...],
    lead_in: float,
    target: str,
    engine: str | None,
    chip: str | None,
    baud: int | None,
    as_json: bool,
) -> int:
    """Find out why MODEL's outputs on a target are not those of TFLM.

    A reset that keeps the state, slices in another order and a damaged output are told from a wrong operator. For that,
    each operator's result becomes the model's output in turn; the board gets its model back at the end. Exits with 0
    when all outputs agree, 1 when they do not.
    """
    from contextlib import ExitStack

    from harness.bisect.explanation import bisect
    from harness.bisect.probing import EngineTensors, open_source
    from harness.clips.sources import open_clips
    from harness.model import load_model
    from harness.targets.registry import TargetOptions

    loaded = load_model(model)
    with ExitStack() as stack:
        clips, _ = open_clips(clip_source(features, wav, lead_in), lead_in, stack)
        options = TargetOptions(engine=engine, chip=chip, baud=baud)
        source = stack.enter_context(open_source(target, options, loaded))
        golden = stack.enter_context(EngineTensors("tflm"))
        report = stack.enter_context(progress())
        result = bisect(loaded, clips, source, golden, report)
    equal = result.clip is None
    if as_json:
        emit_json("mww.bisect/1", {"equal": equal, "model": loaded.name, **asdict(result)})
    else:
        _print(result)
    return 0 if equal else 1


def _print(result: BisectResult) -> None:
    if result.explanation is None:
        click.secho("no output differs", fg="green")
        return
    click.echo(f"{printable(result.clip or '')} differs from inference {result.first_mismatch} on:")
    click.secho(result.explanation.account, fg="red", bold=True)
    found = result.divergence
    if found is not None:
        shape = " x ".join(map(str, found.shape))
        click.echo(f"  tensor {found.tensor} ({printable(found.tensor_name)}), {shape}, at inference {found.inference}")
        place = ", ".join(map(str, found.position))
        click.echo(f"  element [{place}]: expected {found.expected:g}, found {found.found:g}")
        click.echo(f"  {found.differing} of {found.elements} elements differ")
    for operator, reason in result.refused:
        click.echo(f"  not examined: {operator}: {printable(reason)}")
    for name, versions in (("target", result.target), ("golden", result.golden)):
        said = ", ".join(f"{key} {value}" for key, value in versions.items())
        click.echo(f"  {name}: {printable(said)}")
