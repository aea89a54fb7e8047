"""The whole way on a real wake word: recover, export, verify, stream, compare, flash to a virtual board, report.

A tour through what the other modules do, with every file left in one folder; it judges nothing itself.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from harness.check import check
from harness.run.results import ClipResult, RunResult
from mww.core.phases import Phases
from mww.core.resources import fixtures_dir, published_models
from mww.esphome.manifest import load_manifest
from mww.esphome.model import Model, load_model
from mww.tflite.model_file import read_model
from mww.tflm.arena import ArenaPrediction, predict_arenas

WAKE_WORD: Final = "okay_nabu"
LEAD_IN: Final = 1.5
"""Seconds of silence in front of each clip: ESPHome detects nothing in the first second."""
HEARD: Final = 12
"""Where neither model answers above this, both hear silence, and their agreement says nothing."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far one model's outputs are from another's, in units of 1/255.

    Attributes:
        outputs: Outputs compared: those where either model is above `HEARD`.
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
    """What the tour found; all paths lie in `folder`.

    Attributes:
        folder: Where every file is.
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
    """Take the tour.

    Args:
        folder: Where every file goes; made when absent, files of an earlier tour are replaced.
        step: Called with the title of each step as it begins.

    Raises:
        MwwError: A step could not be carried out.
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
    write_recovered(recover(read_model(published.content)), checkpoint, config=None, ranges=None)
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
