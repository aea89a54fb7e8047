"""`mww bisect`: why a target's outputs are not the golden ones."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.inputs import Place, clip_options, clip_source, place
from harness.cli.output import emit_json, json_option, progress, warn
from harness.cli.run_options import options_of_a_run
from mww.core.text import printable

if TYPE_CHECKING:
    from harness.bisect.explanation import BisectResult


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@clip_options
@click.option("--golden", type=place, metavar="GOLDEN.npz", help="Recorded clips; see mww record.")
@click.option("--target", required=True, help="virtual, qemu, machine:NAME, emulator, or a port.")
@options_of_a_run("engine", "chip", "baud", "faults", "timeout", "machine_image")
@click.option("--inside", is_flag=True, help="Compare inner results even where no output differs.")
@click.option(
    "--markdown", "report_file", type=click.Path(path_type=Path), help="Write an issue's text into this file."
)
@json_option
def command(  # noqa: PLR0913, PLR0917 -- one parameter an option
    model: Path,
    features: Place | None,
    wav: tuple[Place, ...],
    lead_in: float,
    golden: Place | None,
    target: str,
    engine: str | None,
    chip: str | None,
    baud: int | None,
    faults: tuple[str, ...],
    timeout: float | None,
    machine_image: Path | None,
    inside: bool,
    report_file: Path | None,
    as_json: bool,
) -> int:
    """Find out why MODEL's outputs on a target are not those of TFLM.

    A reset that keeps the state, slices in another order, a damaged output and a target that is not steady are reported
    from a wrong operator. To find that, the target gets a copy of the model whose outputs are every operator's result;
    a board gets its model back at the end. Exits with 0 when all agree, 1 when they do not.
    """
    from contextlib import ExitStack

    from harness.bisect.explanation import bisect
    from harness.bisect.report import markdown
    from harness.clips.sources import open_clips
    from harness.engines.catalog import default_engine
    from harness.targets.emulator import golden_tensors
    from harness.targets.registry import TargetOptions, open_tensors, target_spec
    from mww.core.files import write_files
    from mww.esphome.model import load_model

    loaded = load_model(model)
    if target_spec(target).takes_engine and engine in (None, default_engine()):
        warn(
            f"engine {default_engine()} is compared with itself", "--target names a board, --engine another interpreter"
        )
    with ExitStack() as stack:
        clips, recorded = open_clips(
            clip_source(features, wav, lead_in, golden), lead_in, stack, loaded.feature_step_size
        )
        if recorded is not None:
            recorded.check_model(loaded)
        options = TargetOptions(
            engine=engine, chip=chip, baud=baud, faults=faults, timeout=timeout, machine_image=machine_image
        )
        report = stack.enter_context(progress())
        source = stack.enter_context(open_tensors(target, options, loaded, report))
        engine_here = stack.enter_context(golden_tensors())
        result = bisect(loaded, clips, source, engine_here, report, inside=inside, recorded=recorded)
    if report_file is not None:
        write_files({report_file: markdown(result, loaded.name).encode()})
    if as_json:
        emit_json("mww.bisect/1", _document(result, loaded.name))
    else:
        _print(result)
    return 0 if result.explanation is None else 1


def _document(result: BisectResult, model: str) -> dict[str, object]:
    from harness.bisect.suspicion import suspect

    results = result.divergence
    suggestion = suspect(results, result.target) if results else None
    return {"equal": result.explanation is None, "model": model, **asdict(result), "suspect": suggestion}


def _print(result: BisectResult) -> None:
    from harness.bisect.report import facts, headline

    if result.explanation is None:
        click.secho(headline(result), fg="green")
    else:
        click.echo(printable(headline(result)))
        click.secho(result.explanation.account, fg="red", bold=True)
    for name, text in facts(result):
        click.echo(f"  {name + ':':<13} {printable(text)}")
