"""`mww synth`: labelled clips of a phrase, of near misses and of other speech, by speech engines."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click

from harness.cli.numbers import Real, Whole
from harness.cli.output import emit_json, json_option, progress, say, warn
from harness.report.wording import counted
from harness.synth.plan import Amounts
from harness.synth.request import SynthRequest, SynthResult, synthesize
from harness.synth.voices import ENGINES, FEW_VOICES
from mww.core.readable import is_folder

_COUNT: Final = 100
_NEAR_MISSES: Final = 50
_HOURS: Final = 0.25
_LARGEST_SEED: Final = 2**63 - 1
_PATH = click.Path(path_type=Path)


@click.command("synth")
@click.argument("phrase")
@click.option("--output", required=True, type=_PATH, metavar="DIR", help="Folder for positive/, near-miss/, negative/.")
@click.option("--engine", "engines", multiple=True, type=click.Choice(list(ENGINES)), help="Repeatable.  [installed]")
@click.option(
    "--voice",
    "voices",
    multiple=True,
    metavar="NAME|FILE",
    help="A voice's name, or an .onnx or .flitevox file; repeatable.",
)
@click.option("--count", type=Whole(0), default=_COUNT, show_default=True, metavar="N", help="Clips of the phrase.")
@click.option(
    "--near-misses", type=Whole(0), default=_NEAR_MISSES, show_default=True, metavar="N", help="Clips that resemble it."
)
@click.option(
    "--negatives", "hours", type=Real(0), default=_HOURS, show_default=True, metavar="HOURS", help="Speech and sounds."
)
@click.option("--sentences", type=_PATH, metavar="FILE", help="Sentences for the negatives, one a line.  [English]")
@click.option(
    "--seed",
    type=Whole(0, _LARGEST_SEED),
    default=0,
    show_default=True,
    metavar="S",
    help="The same seed gives the same clips.",
)
@click.option("--resume", is_flag=True, help="Keep the finished clips in DIR and make the rest.")
@json_option
def command(  # noqa: PLR0913, PLR0917 -- one for each option
    phrase: str,
    output: Path,
    engines: tuple[str, ...],
    voices: tuple[str, ...],
    count: int,
    near_misses: int,
    hours: float,
    sentences: Path | None,
    seed: int,
    resume: bool,
    as_json: bool,
) -> int:
    """Make clips of PHRASE in many voices, speeds and rooms, with near misses and negatives, labelled for mww run."""
    request = SynthRequest(
        phrase=phrase,
        folder=output,
        engines=engines,
        voices=voices,
        amounts=Amounts(count, near_misses, hours),
        seed=seed,
        sentences=sentences,
        resume=resume,
    )
    try:
        with progress() as report:
            result = synthesize(request, report)
    except KeyboardInterrupt:
        if is_folder(output):
            say("finished clips are kept: the same command with --resume makes the others", err=True)
        raise
    for message, hint in _warnings(request, result):
        warn(message, hint)
    if as_json:
        emit_json("mww.synth/1", _document(request, result))
    else:
        _print(result)
    return 0


def _warnings(request: SynthRequest, result: SynthResult) -> list[tuple[str, str]]:
    warnings = []
    foreign = sorted({voice.language for voice in result.voices if not voice.language.startswith("en")} - {""})
    if result.hours and request.sentences is None and foreign:
        message = f"the sentences of the negatives are English, and voices of {', '.join(foreign)} speak them"
        warnings.append((message, "--sentences FILE gives sentences of your language, one a line"))
    if 0 < len(result.voices) < FEW_VOICES:
        voices = counted(len(result.voices), "voice")
        message = f"only {voices} for the phrase: a cutoff from fewer than {FEW_VOICES} can mislead"
        hint = "--voice FILE.onnx adds voices of Piper; one file may hold hundreds (docs/synth.md)"
        warnings.append((message, hint))
    if result.voices and all(voice.engine == "espeak-ng" for voice in result.voices):
        message = "espeak-ng pronounces some words in a way that no model recognises"
        warnings.append((message, str(ENGINES["piper"].missing().hint)))
    return warnings


def _document(request: SynthRequest, result: SynthResult) -> dict[str, object]:
    return {
        "phrase": request.phrase,
        "folder": str(result.folder),
        "seed": request.seed,
        "engines": dict(result.engines),
        "voices": [{**asdict(voice), "clips": clips} for voice, clips in result.voices.items()],
        "clips": dict(result.clips),
        "negative_hours": result.hours,
        "warnings": [message for message, _ in _warnings(request, result)],
    }


def _print(result: SynthResult) -> None:
    engines = ", ".join(f"{name} {version}" for name, version in result.engines.items())
    clips, voices = result.clips, counted(len(result.voices), "voice")
    near = counted(clips["near-miss"], "near miss", "near misses")
    lines = [
        f"{result.folder}: {counted(clips['positive'], 'clip')} of the phrase by {voices} ({engines}), "
        f"{near}, {result.hours * 60:.0f} minutes of negatives; clips.csv lists them",
        "next:",
        f"  mww run MANIFEST.json --wav {shlex.quote(str(result.folder))} --lead-in 1.5 --min-recall 0.9",
        f"  mww cutoff MANIFEST.json --clips {shlex.quote(str(result.folder))} --lead-in 1.5",
        "Recall on such clips is an estimate; a rate of false accepts in a home never comes from synthetic clips.",
    ]
    if result.hours:
        lines.append(
            f"Even without a false accept in these {result.hours:.2g} h, "
            f"the rate can be up to {3 / result.hours:.3g} an hour."
        )
    for line in lines:
        say(line)
