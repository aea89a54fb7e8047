"""`mww export`: a trained checkpoint to a streaming INT8 model and its manifest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import click

from exporter.calibration.sets import MINIMUM_CLIPS
from exporter.checkpoint import best_weights
from exporter.conversion.converters import CONVERTERS
from exporter.export import ChooseCutoff, ExportResult, RefusedExportError
from exporter.manifest import ManifestOptions
from exporter.model_analyzer import ModelAnalysis
from exporter.network.architecture import weight_count
from exporter.network.settings import architecture_settings
from harness.cli.arena import arena_document
from harness.cli.numbers import Real, Whole
from harness.cli.output import emit_json, json_option, progress, say, warn
from mww.core.errors import UsageError
from mww.core.progress import Progress
from mww.esphome.chips import CHIP_NAMES

_PATH = click.Path(path_type=Path)
_MANIFEST_OPTIONS = tuple(
    option.name for option in fields(ManifestOptions) if option.name not in ("chips", "tensor_arena_size")
)
_PHASES = (
    "read",
    "tensorflow",
    "network",
    "saved_model",
    "convert",
    "calibrate",
    "quantise",
    "optimise",
    "cutoff",
    "verify",
)
_HEARD = "the calibration clips must contain the wake word; without it the model's outputs stay low"


@click.command("export", short_help="A trained checkpoint to a streaming INT8 model and its manifest.")
@click.option(
    "--checkpoint",
    required=True,
    metavar="FILE",
    type=_PATH,
    help="A checkpoint of any trainer, or its train_dir; the layout is recognised.",
)
@click.option("--output", required=True, metavar="DIR", type=_PATH, help="Folder for NAME.tflite and NAME.json.")
@click.option(
    "--config", metavar="FILE.yaml", type=_PATH, help="Configuration [training_config.yaml beside the checkpoint]."
)
@click.option("--calibration", metavar="FILE.npz|DIR", type=_PATH, help="Features, sound files, or a trainer's folder.")
@click.option("--calibration-ranges", metavar="FILE", type=_PATH, help="Ranges of a recovered model.")
@click.option("--name", metavar="NAME", help="Name of the files [the checkpoint's].")
@click.option("--wake-word", metavar="TEXT", help="The spoken phrase [the name, as words].")
@click.option("--author", metavar="TEXT", help="Who made it.")
@click.option("--website", metavar="URL", help="The author's or project's address.")
@click.option("--language", "trained_languages", multiple=True, metavar="CODE", help="Repeatable [en].")
@click.option("--probability-cutoff", type=Real(0, 1), metavar="P", help="[0.97]")
@click.option(
    "--cutoff-from", metavar="DIR", type=_PATH, help="Choose the cutoff from clips in positive/ and negative/."
)
@click.option("--target-recall", type=Real(0, 1, min_open=True), metavar="R", help="[0.9]")
@click.option(
    "--sliding-window-size", type=Whole(1), metavar="N", help="Outputs in the sliding window of detection [5]."
)
@click.option("--feature-step-size", type=Whole(0, 30), metavar="MS", help="Milliseconds a slice [10].")
@click.option("--minimum-esphome-version", metavar="VERSION", help="[2024.7.0]")
@click.option("--chip", "chips", multiple=True, type=click.Choice(CHIP_NAMES), help="Repeatable; all by default.")
@click.option(
    "--runtime", "runtimes", multiple=True, metavar="NAME|all", help="The arena must suffice for; see mww arena."
)
@click.option("--arena-margin", type=Real(0, 10), metavar="PART", help="Margin in the tensor arena [0.10].")
@click.option("--allow-small-calibration", is_flag=True, help=f"Allow fewer than {MINIMUM_CLIPS} calibration clips.")
@click.option("--converter", type=click.Choice(CONVERTERS), help="Converter that makes the model [direct].")
@click.option("--no-optimize", is_flag=True, help="Keep names, metadata and the order of operators as converted.")
@click.option("--keep-failed", is_flag=True, help="Also write a model that fails a check.")
@json_option
def command(  # noqa: PLR0913  (one parameter an option)
    *,
    checkpoint: Path,
    output: Path,
    calibration: Path | None,
    calibration_ranges: Path | None,
    cutoff_from: Path | None,
    target_recall: float | None,
    allow_small_calibration: bool,
    no_optimize: bool,
    as_json: bool,
    **others: Any,
) -> int:
    """Export a checkpoint, verify the model, and write it with its manifest, both or neither.

    Exits with 0 if every check holds, 1 if a check fails, 2 if the export was not possible.
    """
    if calibration and calibration_ranges:
        raise UsageError(
            "--calibration and --calibration-ranges cannot be used together",
            hint="leave one out: the ranges take the place of calibration",
        )
    if target_recall is not None and cutoff_from is None:
        raise UsageError(
            "--target-recall needs --cutoff-from", hint="add --cutoff-from FOLDER, with positive/ and negative/ clips"
        )
    if cutoff_from is not None and others["probability_cutoff"] is not None:
        raise UsageError(
            "--probability-cutoff and --cutoff-from cannot be used together",
            hint="leave one out: --cutoff-from chooses the cutoff",
        )
    manifest = {name: others.pop(name) for name in _MANIFEST_OPTIONS}
    chosen = best_weights(checkpoint)
    if chosen != checkpoint:
        say(f"checkpoint: {chosen}", err=True)
    with progress() as bar:
        result = _export(
            checkpoint,
            output,
            calibration=calibration,
            calibration_ranges=calibration_ranges,
            minimum_clips=1 if allow_small_calibration else MINIMUM_CLIPS,
            manifest_options={name: value for name, value in manifest.items() if value not in (None, ())},
            choose_cutoff=_chooser(cutoff_from, target_recall, bar) if cutoff_from else None,
            optimize=not no_optimize,
            progress=lambda phase: bar("exporting", _PHASES.index(phase), len(_PHASES)),
            **others,
        )
    _warn(result)
    if as_json:
        emit_json("mww.export/1", _document(result))
    else:
        _print(result)
    return 0 if result.compatible else 1


def _export(checkpoint: Path, output: Path, **options: Any) -> ExportResult:
    from exporter.tflite import export_to_tflite

    try:
        return export_to_tflite(checkpoint, output, **options)
    except RefusedExportError as refusal:
        return refusal.result


def _chooser(folder: Path, target_recall: float | None, bar: Progress) -> ChooseCutoff:
    from harness.run.cutoff import DEFAULT_TARGET_RECALL, cutoff_chooser

    return cutoff_chooser(folder, target_recall=target_recall or DEFAULT_TARGET_RECALL, progress=bar)


def _warn(result: ExportResult) -> None:
    calibration = result.calibration
    if calibration.source == "random":
        warn("calibrated with random features", f"give real ones with --calibration: {_HEARD}")
    elif 0 < calibration.clips < MINIMUM_CLIPS:
        clips = "1 clip" if calibration.clips == 1 else f"{calibration.clips} clips"
        warn(f"calibrated with {clips}, fewer than {MINIMUM_CLIPS}", _HEARD)
    for check in result.verification.warnings:
        warn(f"{check.id}: {check.message}", check.hint)


def _document(result: ExportResult) -> dict[str, object]:
    return {
        "model": str(result.model),
        "manifest": str(result.manifest),
        "model_sha256": result.model_sha256,
        "compatible": result.compatible,
        "written": result.written,
        "converter": result.converter,
        "architecture": architecture_settings(result.architecture),
        "calibration": asdict(result.calibration),
        "probability_cutoff": result.probability_cutoff,
        "cutoff": _cutoff_document(result),
        "arena": arena_document(result.arena, result.tensor_arena_size),
        "checks": [asdict(check) for check in result.verification.checks if check.status != "pass"],
        "analysis": _analysis_document(result.analysis),
        "seconds": dict(result.seconds),
    }


def _analysis_document(analysis: ModelAnalysis) -> dict[str, object]:
    """The figures of `mww analyze` that belong into a build log."""
    return {
        "size": analysis.size,
        "parameters": analysis.parameters,
        "macs": analysis.cost.macs,
        "context_slices": analysis.context_slices,
        "highest_output": analysis.highest_output,
        "states": [list(state.shape) for state in analysis.states],
        "operators": analysis.operators,
    }


def _cutoff_document(result: ExportResult) -> dict[str, object] | None:
    """The cutoff that was chosen from clips, and its sweep."""
    choice = result.cutoff_choice
    if choice is None:
        return None
    from harness.run.cutoff import CutoffChoice

    return asdict(choice) if isinstance(choice, CutoffChoice) else None


def _cutoff_lines(result: ExportResult) -> Iterator[str]:
    """The recall and the false accepts of a cutoff that was chosen from clips."""
    if result.cutoff_choice is None:
        return
    from harness.cli.cutoff import accepts_text, recall_text
    from harness.run.cutoff import LEAD_IN, CutoffChoice

    if isinstance(result.cutoff_choice, CutoffChoice):
        at = result.cutoff_choice.at
        yield f"  recall       {recall_text(at.recall)}, with a lead-in of {LEAD_IN:g} s"
        yield f"  accepts      {accepts_text(at.false_accepts)}"


def _print(result: ExportResult) -> None:
    for check in result.verification.failures:
        say("FAIL", fg="red", nl=False)
        say(f"  {check.id}: {check.message}")
        if check.hint:
            say(f"      hint: {check.hint}")
    if not result.written:
        say("nothing was written; --keep-failed writes the files anyway")
        return
    net, calibration, analysis = result.architecture, result.calibration, result.analysis
    source = f"{calibration.clips} clips" if calibration.clips else "recovered ranges"
    needs = max(result.arena, key=lambda prediction: prediction.minimum)
    say(f"{result.model}  {result.model.stat().st_size} bytes, sha256 {result.model_sha256[:12]}")
    say(f"{result.manifest}  cutoff {result.probability_cutoff:g}, arena {result.tensor_arena_size}")
    shape = f"stride {net.stride}, {weight_count(net):,} weights, {len(analysis.states)} states"
    say(f"  network      {type(net).__name__}, {shape}")
    say(f"  converter    {result.converter}")
    say(f"  calibration  {source}, input scale {calibration.input_scale:.6f}")
    say(f"  arena        {needs.minimum} bytes at least, on {needs.chip}")
    for line in _cutoff_lines(result):
        say(line)
    say(f"  checks       {len(result.verification.checks)} made, {len(result.verification.failures)} failed")
    say(f"  time         {sum(result.seconds.values()):.1f} s")
