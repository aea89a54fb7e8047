"""From a phrase to a folder of labelled clips: what was asked for, whether it can go on, and what came out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np

from harness.run.evaluation.labels import LABELS, LabelKind
from harness.synth.making import make_clips
from harness.synth.plan import MINUTE, Amounts, Material
from harness.synth.sentences import committed_sentences, read_sentences
from harness.synth.speech import Engine, Voice
from harness.synth.voices import ENGINES, choose_engines, choose_voices
from mww.core.errors import OutputError, UsageError
from mww.core.fields import Fields
from mww.core.files import write_files
from mww.core.progress import Progress, no_progress
from mww.core.scratch import scratch_folder

RECORD: Final = "synth.json"
"""What the clips of a folder were made from, so that only the same goes on."""

_INVENTORY: Final = 6  # sentences whose phonemes may stand in near misses
_MOST_RECORD: Final = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthRequest:
    """What is asked for.

    Attributes:
        phrase: The wake word as it is spoken.
        folder: Where the clips go.
        engines: Names; empty for those that are installed.
        voices: Names and files; empty for those that the engines offer.
        amounts: How many clips.
        seed: Decides everything that is drawn.
        sentences: A text file with a sentence a line for the negatives; None for the committed English ones.
        resume: Whether to keep the clips that are in the folder.
    """

    phrase: str
    folder: Path
    engines: Sequence[str] = ()
    voices: Sequence[str] = ()
    amounts: Amounts
    seed: int = 0
    sentences: Path | None = None
    resume: bool = False


@dataclass(frozen=True, slots=True)
class SynthResult:
    """What was made.

    Attributes:
        folder: Where the clips are.
        engines: Names and versions of those that spoke.
        voices: Voices that spoke the phrase, and how many clips each.
        clips: Number of clips by label.
        hours: Of negatives.
    """

    folder: Path
    engines: Mapping[str, str]
    voices: Mapping[Voice, int]
    clips: Mapping[LabelKind, int]
    hours: float


def synthesize(request: SynthRequest, progress: Progress = no_progress) -> SynthResult:
    """Make the clips of a phrase.

    Raises:
        UsageError: What is asked for makes no sense, or is not what the folder's clips were made from.
        SpeechError: An engine or a voice is missing, or fails.
        InputError: The sentences cannot be read.
        OutputError: A clip cannot be written.
    """
    request.amounts.check()
    if request.seed < 0:
        raise UsageError(f"a seed of {request.seed}", hint="0 or more")
    engines = choose_engines(request.engines)
    voices = choose_voices(engines, request.voices, request.phrase)
    material = _material(request, voices)
    versions = {engine.name: str(engine.version()) for engine in engines}
    _open_folder(request, _record(request, material, versions))
    clips = list(material.clips(request.amounts))
    make_clips(clips, ENGINES, request.folder, progress)
    spoken = [clip.parts[0].voice for clip in clips if clip.kind == "positive"]
    return SynthResult(
        folder=request.folder,
        engines=versions,
        voices={voice: spoken.count(voice) for voice in dict.fromkeys(spoken)},
        clips={kind: sum(clip.kind == kind for clip in clips) for kind in LABELS.values()},
        hours=sum(clip.kind == "negative" for clip in clips) * MINUTE / 3600,
    )


def _material(request: SynthRequest, voices: Sequence[Voice]) -> Material:
    words = committed_sentences()
    sentences = words if request.sentences is None else read_sentences(request.sentences, request.phrase)
    random = np.random.default_rng(request.seed)
    order = random.permutation(len(voices))

    @cache
    def phonemes(engine: str, handle: str) -> tuple[Sequence[str], Sequence[str]]:
        voice = next(voice for voice in voices if (voice.engine, voice.handle) == (engine, handle))
        draw = np.random.default_rng(request.seed)
        texts = [request.phrase, *(words.draw(draw, request.phrase) for _ in range(_INVENTORY))]
        try:
            with scratch_folder("mww-synth-") as folder:
                phrase, *others = _engine(voice).phonemes(voice, texts, folder)
        except OSError as error:
            hint = "is the disk of temporary files full? TMPDIR names another folder"
            raise OutputError(f"cannot use a temporary folder: {error.strerror}", hint=hint) from error
        return phrase, sorted({phoneme for line in others for phoneme in line})

    return Material(
        phrase=request.phrase,
        voices=tuple(voices[index] for index in order),
        vowels={name: engine.vowels for name, engine in ENGINES.items()},
        phonemes=lambda voice: phonemes(voice.engine, voice.handle),
        sentences=sentences,
        seed=request.seed,
        suffix=".flac" if find_spec("soundfile") is not None else ".wav",
    )


def _engine(voice: Voice) -> Engine:
    return ENGINES[voice.engine]


def _record(request: SynthRequest, material: Material, versions: Mapping[str, str]) -> dict[str, Any]:
    return {
        "schema": "mww.synth-record/1",
        "phrase": request.phrase,
        "seed": request.seed,
        "engines": dict(versions),
        "voices": [asdict(voice) for voice in material.voices],
        "sentences": None if request.sentences is None else list(material.sentences.patterns),
        "suffix": material.suffix,
    }


def _open_folder(request: SynthRequest, record: Mapping[str, Any]) -> None:
    """Take an empty folder, or one whose clips were made from the same.

    Raises:
        UsageError: It holds others.
    """
    folder, path = request.folder, request.folder / RECORD
    try:
        if folder.is_dir() and any(folder.iterdir()) and not request.resume:
            hint = "--resume keeps its clips and goes on; or give a new folder"
            raise UsageError(f"{folder} is not empty", hint=hint)
        if path.exists():
            _compare(path, record)
    except OSError as error:
        raise OutputError(f"cannot use {folder}: {error.strerror}", hint="give another --output") from error
    write_files({path: json.dumps(record, indent=1, ensure_ascii=False).encode()})


def _compare(path: Path, record: Mapping[str, Any]) -> None:
    former = Fields.read(path, hint="give a new folder", most_bytes=_MOST_RECORD)
    if different := [key for key in record if former.value(key) != record[key]]:
        message = f"the clips of {path.parent} were made with other {' and '.join(different)}"
        raise UsageError(message, hint="--resume needs the same request; more clips may be asked for")
