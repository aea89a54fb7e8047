"""`mww demo`: everything on a real wake word, with a short summary."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import click
import numpy as np

from harness.check import check
from harness.cli.output import console, emit_json, json_option, say
from harness.run.results import ClipResult, RunResult
from mww.core.progress import Phases
from mww.core.resources import fixtures_dir, published_models
from mww.esphome.manifest import load_manifest
from mww.esphome.model import Model, load_model
from mww.tflite.model_file import read_model
from mww.tflm.arena import ArenaPrediction, predict_arenas

WAKE_WORD: Final = "okay_nabu"
LEAD_IN: Final = 1.5
"""Seconds of silence in front of each clip: ESPHome detects nothing in the first second."""
HEARD: Final = 12
"""Where neither model's output is above this, both hear silence, and their agreement means nothing."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far the outputs of two models are apart, in units of 1/255.

    Attributes:
        outputs: Number of compared outputs: those where either model is above `HEARD`.
        mean: Of the absolute differences.
        largest: Of the absolute differences.
        same_clips: Whether both detect the same clips.
    """

    outputs: int
    mean: float
    largest: int
    same_clips: bool


@dataclass(frozen=True, slots=True)
class DemoResult:
    """The results of the demo; all paths lie in `folder`.

    Attributes:
        folder: The folder of all files.
        published: The published model, as ESPHome's users have it.
        exported: The same network, recovered and exported again.
        arenas: The exported model's, per chip.
        published_run: The clips through the published model, in the emulator.
        exported_run: The clips through the exported model, in the emulator.
        board_run: The clips through the exported model on a virtual ESP32, compared with TFLM byte by byte.
        agreement: Of the two models.
        report: The page about the board's run.
        analysis: The page about the exported model.
        seconds: By step.
    """

    folder: Path
    published: Model
    exported: Model
    arenas: tuple[ArenaPrediction, ...]
    published_run: RunResult
    exported_run: RunResult
    board_run: RunResult
    agreement: Agreement
    report: Path
    analysis: Path
    seconds: dict[str, float]


def run_demo(folder: Path, step: Callable[[str], None] = lambda title: None) -> DemoResult:
    """Run the demo.

    Args:
        folder: The folder for all files; made when absent. Files of an earlier demo are replaced.
        step: Called with the title of each step as it begins.

    Raises:
        MwwError: A step failed.
    """
    phase = Phases(step)
    published = load_model(_copy_published(folder / "published"))
    clips = [_copy_fixture(f"clips/{WAKE_WORD}", folder), _copy_fixture("clips/negative", folder)]
    with phase("recover the checkpoint"):
        checkpoint = _recover(published, folder / "checkpoint")
    with phase("export it again"):
        exported = load_model(_export(checkpoint, published.path, folder / "exported"))
    with phase("run the clips in the emulator"):
        published_run, exported_run = (check(model, clips, lead_in=LEAD_IN) for model in (published, exported))
    with phase("flash a virtual ESP32 and run the clips there"):
        board_run = check(exported, clips, target="virtual", lead_in=LEAD_IN)
    with phase("write the reports"):
        report, analysis = _write_reports(board_run, exported, folder)
    return DemoResult(
        folder=folder,
        published=published,
        exported=exported,
        arenas=predict_arenas(exported.content, manifest_size=exported.tensor_arena_size),
        published_run=published_run,
        exported_run=exported_run,
        board_run=board_run,
        agreement=compare_outputs(published_run.clips, exported_run.clips),
        report=report,
        analysis=analysis,
        seconds=phase.seconds,
    )


def compare_outputs(first: Sequence[ClipResult], second: Sequence[ClipResult]) -> Agreement:
    """Compare two models' outputs on the same clips."""
    own, other = (np.concatenate([clip.trace.outputs.astype(np.int64) for clip in clips]) for clips in (first, second))
    differences = np.abs(own - other)[np.maximum(own, other) > HEARD]
    return Agreement(
        outputs=len(differences),
        mean=float(differences.mean()) if len(differences) else 0.0,
        largest=int(differences.max(initial=0)),
        same_clips=all(bool(a.detections) == bool(b.detections) for a, b in zip(first, second, strict=True)),
    )


def _copy_published(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for suffix in (".tflite", ".json"):
        shutil.copyfile(published_models() / f"{WAKE_WORD}{suffix}", folder / f"{WAKE_WORD}{suffix}")
    return folder / f"{WAKE_WORD}.json"


def _copy_fixture(name: str, folder: Path) -> Path:
    return Path(shutil.copytree(fixtures_dir() / name, folder / name, dirs_exist_ok=True))


def _recover(published: Model, folder: Path) -> Path:
    from exporter.recover import recover, write_recovered

    checkpoint = folder / f"{WAKE_WORD}.weights.h5"
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "training_config.yaml"
    write_recovered(recover(read_model(published.content)), checkpoint, config=configuration, ranges=None)
    return checkpoint


def _export(checkpoint: Path, manifest: Path, folder: Path) -> Path:
    from exporter.tflite import export_to_tflite

    published = load_manifest(manifest)
    options = {
        "wake_word": published.wake_word,
        "author": published.author,
        "trained_languages": published.trained_languages,
        "probability_cutoff": published.probability_cutoff,
        "sliding_window_size": published.sliding_window_size,
    }
    calibration = fixtures_dir() / "calibration" / "features.npz"
    result = export_to_tflite(checkpoint, folder, calibration=calibration, name=WAKE_WORD, manifest_options=options)
    return result.manifest


def _write_reports(run: RunResult, exported: Model, folder: Path) -> tuple[Path, Path]:
    from exporter.model_analyzer import generate_model_report
    from harness.report.bundle import PAGE, write_report

    analysis = folder / "analysis.html"
    generate_model_report(exported.path, analysis)
    write_report(folder / "report", [run])
    return folder / "report" / PAGE, analysis


@click.command("demo")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("mww-demo"),
    show_default=True,
    metavar="DIR",
    help="Folder for every file.",
)
@json_option
def command(output: Path, as_json: bool) -> int:
    """Recover a published wake word, export it again, and test it on a virtual ESP32, in about a minute."""
    result = run_demo(output, _show_step)
    if as_json:
        emit_json("mww.demo/1", _document(result))
    else:
        _print_account(result)
    return 0 if _holds(result) else 1


def _show_step(title: str) -> None:
    if sys.stderr.isatty():
        say(f"  {title} ...", err=True)


def _holds(result: DemoResult) -> bool:
    return result.board_run.verdict == "pass" and result.agreement.same_clips


def _document(result: DemoResult) -> dict[str, object]:
    return {
        "verdict": "pass" if _holds(result) else "fail",
        "folder": str(result.folder),
        "model": str(result.exported.path),
        "model_sha256": result.exported.sha256,
        "agreement": asdict(result.agreement),
        "detections": {clip.name: len(clip.detections) for clip in result.board_run.clips},
        "mismatches": sum(clip.mismatches or 0 for clip in result.board_run.clips),
        "inferences": sum(clip.inferences for clip in result.board_run.clips),
        "tensor_arena_size": result.exported.tensor_arena_size,
        "arena": {arena.chip: {"used": arena.used, "minimum": arena.minimum} for arena in result.arenas},
        "report": str(result.report),
        "analysis": str(result.analysis),
        "seconds": result.seconds,
    }


def _print_account(result: DemoResult) -> None:
    from rich.table import Table

    out = console()
    out.print(f"\n[bold]{result.exported.name}[/], recovered from the published model and exported again\n")
    table = Table("clip", "published", "exported", "on the board", "differences", box=None, pad_edge=False)
    for published, exported, board in zip(
        result.published_run.clips, result.exported_run.clips, result.board_run.clips, strict=True
    ):
        differences = f"{board.mismatches} of {board.inferences}"
        cells = (_heard(len(clip.detections), clip.max_output) for clip in (published, exported, board))
        table.add_row(Path(board.name).relative_to(result.folder / "clips").as_posix(), *cells, differences)
    out.print(table)
    facts = Table.grid(padding=(0, 2))
    for name, value in _facts(result):
        facts.add_row(f"[dim]{name}[/]", value)
    out.print(facts, "")


def _heard(detections: int, highest: int | None) -> str:
    return f"[green]detected[/], peak {highest}" if detections else f"silent, peak {highest}"


def _facts(result: DemoResult) -> list[tuple[str, str]]:
    agreement, board = result.agreement, result.board_run
    inferences = sum(clip.inferences for clip in board.clips)
    chips: dict[int, list[str]] = {}
    for arena in result.arenas:
        chips.setdefault(arena.minimum, []).append(arena.chip)
    arenas = ", ".join(f"{', '.join(names)} {minimum:,}" for minimum, names in chips.items())
    golden = f"the engine {board.golden.engine}'s" if board.golden else "nothing"
    mismatches = sum(clip.mismatches or 0 for clip in board.clips)
    return [
        (
            "agreement",
            f"{agreement.mean:.2f} of 255 on average, {agreement.largest} at most, over {agreement.outputs} outputs",
        ),
        (
            "board",
            f"virtual {board.target.chip}, flashed by esptool: "
            f"{mismatches} of {inferences:,} outputs differ from {golden}",
        ),
        ("size", f"{len(result.published.content):,} bytes published, {len(result.exported.content):,} exported"),
        ("arena", f"{arenas} bytes at least (predicted); the manifest asks for {result.exported.tensor_arena_size:,}"),
        ("time", ", ".join(f"{name} {seconds:.1f} s" for name, seconds in result.seconds.items())),
        (
            "files",
            f"{result.folder}: {result.report.relative_to(result.folder)}, {result.analysis.name} and all models",
        ),
        (
            "your word",
            "mww synth 'YOUR PHRASE' --output clips && mww run MANIFEST.json --wav clips --lead-in 1.5",
        ),
        ("verdict", "[bold green]pass[/]" if _holds(result) else "[bold red]fail[/]"),
    ]
