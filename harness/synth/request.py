"""Makes a folder of labelled clips for a phrase: checks the request, then writes each clip completely or not at all."""

from __future__ import annotations

import csv
import io
import json
import wave
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from harness.run.evaluation.labels import LABELS, LabelKind
from harness.synth.effects import Effects, apply_effects, babble, music, noises, repitch, tones
from harness.synth.plan import MINUTE, Amounts, ClipPlan, Material, committed_sentences, read_sentences
from harness.synth.speech import Engine, Samples, Saying, Voice
from harness.synth.voices import ENGINES, choose_engines, choose_voices
from mww.core.errors import MissingPackageError, OutputError, UsageError
from mww.core.fields import Fields
from mww.core.files import check_folder, write_files
from mww.core.progress import Progress, no_progress
from mww.core.readable import is_folder, is_there
from mww.core.scratch import scratch_folder
from mww.esphome.contract import SAMPLE_RATE

LIST: Final = "clips.csv"

_Spoken: TypeAlias = dict[tuple[Voice, float, Saying], Samples]

_BEFORE: Final = (0.2, 0.6)
_AFTER: Final = 0.7
"""Seconds of room sound around a word; the model needs some after it."""
_PAUSE: Final = (0.2, 1.2)  # between sentences
_AT_ONCE: Final = 64  # sayings of a call, which are in memory together
_COLUMNS: Final = ("clip", "label", "sound", "engine", "voice", "language", "licence", "speed", "text")

RECORD: Final = "synth.json"
"""The record of a folder's request, so that only the same request continues it."""

_INVENTORY: Final = 6  # sentences whose phonemes may stand in near misses
_MOST_RECORD: Final = 16 << 20


def make_clips(
    clips: Sequence[ClipPlan], engines: Mapping[str, Engine], folder: Path, record: bytes, progress: Progress
) -> None:
    """Make the missing clips, and the list of all clips; `record` is written with the first clip.

    Raises:
        UsageError: The folder has more clips than requested.
        SpeechError: A program fails; earlier clips are complete.
        OutputError: A clip cannot be written.
    """
    there = {file.relative_to(folder).as_posix() for kind in LABELS for file in (folder / kind).glob("*.*")}
    if extra := {name for name in there if not Path(name).name.startswith(".")} - {clip.name for clip in clips}:
        message = f"{folder} holds {len(extra)} more clips than requested, such as {min(extra)}"
        raise UsageError(message, hint="request at least as many clips as before, or give a new folder")
    missing = [clip for clip in clips if clip.name not in there]
    done, beside = len(clips) - len(missing), {folder / RECORD: record}
    for batch in _batches(missing):
        spoken = _speak(batch, engines)
        for clip in batch:
            write_files({**beside, folder / clip.name: _encoded(_sound(clip, spoken), Path(clip.name).suffix)})
            beside = {}
            done += 1
            progress("clips", done, len(clips))
    write_files({**beside, folder / LIST: _list(clips).encode(errors="replace")})


def _batches(clips: Sequence[ClipPlan]) -> Iterator[list[ClipPlan]]:
    """Clips whose speech is made in the same call: those with the same voice and speed; all others alone."""

    def key(clip: ClipPlan) -> tuple[str, str, float]:
        if len(clip.parts) != 1 or len(clip.parts[0].sayings) != 1:
            return ("", clip.name, 0.0)
        return (clip.parts[0].voice.engine, clip.parts[0].voice.name, clip.parts[0].speed)

    for _, group in groupby(sorted(clips, key=lambda clip: (clip.kind == "negative", key(clip))), key):
        batch = list(group)
        for start in range(0, len(batch), _AT_ONCE):
            yield batch[start : start + _AT_ONCE]


@contextmanager
def _scratch() -> Iterator[Path]:
    try:
        with scratch_folder("mww-synth-") as folder:
            yield folder
    except OSError as error:
        hint = "check that the disk of temporary files has room; TMPDIR sets another folder"
        raise OutputError(f"cannot use a temporary folder: {error.strerror}", hint=hint) from error


def _speak(batch: Sequence[ClipPlan], engines: Mapping[str, Engine]) -> _Spoken:
    """The sayings of a batch of clips, each saying of a voice and speed once."""
    wanted: dict[tuple[Voice, float], dict[Saying, None]] = {}
    for part in (part for clip in batch for part in clip.parts):
        wanted.setdefault((part.voice, part.speed), {}).update(dict.fromkeys(part.sayings))
    spoken = {}
    for (voice, speed), sayings in wanted.items():
        with _scratch() as folder:
            samples = engines[voice.engine].speak(voice, speed, list(sayings), folder)
        spoken.update({(voice, speed, saying): sound for saying, sound in zip(sayings, samples, strict=True)})
    return spoken


def _sound(clip: ClipPlan, spoken: _Spoken) -> Samples:
    random = np.random.default_rng(clip.entropy)
    parts = [[spoken[part.voice, part.speed, saying] for saying in part.sayings] for part in clip.parts]
    if clip.kind != "negative":
        word = repitch(parts[0][0], clip.effects.pitch)
        before = np.zeros(int(random.uniform(*_BEFORE) * SAMPLE_RATE))
        return apply_effects(np.concatenate([before, word, np.zeros(int(_AFTER * SAMPLE_RATE))]), clip.effects, random)
    length = MINUTE * SAMPLE_RATE
    if clip.sound == "speech":
        result = _talk(parts[0], clip.effects, length, random)
    elif clip.sound == "babble":
        result = babble([_talk(part, clip.effects, None, random) for part in parts], length, random)
    else:
        result = {"noise": noises, "tones": tones, "music": music}[clip.sound](length, random)
    return apply_effects(result, clip.effects, random)


def _talk(sentences: Sequence[Samples], effects: Effects, length: int | None, random: np.random.Generator) -> Samples:
    """Sentences with pauses, cut or filled to a length in samples where it is given."""
    pieces: list[Samples] = []
    for sentence in sentences:
        pieces += [repitch(sentence, effects.pitch), np.zeros(int(random.uniform(*_PAUSE) * SAMPLE_RATE))]
    talk = np.concatenate(pieces)
    if length is None:
        return talk
    return np.concatenate([talk[:length], np.zeros(max(0, length - len(talk)))])


def _encoded(samples: Samples, suffix: str) -> bytes:
    """Sound as 16-bit WAV or FLAC.

    Raises:
        MissingPackageError: FLAC is requested, and its package is not installed.
    """
    whole = np.rint(np.clip(samples, -1, 1) * 32767).astype("<i2")
    stream = io.BytesIO()
    if suffix == ".flac":
        try:
            import soundfile
        except (ImportError, OSError) as error:
            raise MissingPackageError("FLAC needs soundfile", hint="pip install 'mww-harness[audio]'") from error
        soundfile.write(stream, whole, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
        return stream.getvalue()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(whole.tobytes())
    return stream.getvalue()


def _list(clips: Sequence[ClipPlan]) -> str:
    """The CSV file: the origin and effects of each clip."""
    stream = io.StringIO()
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow((*_COLUMNS, *asdict(clips[0].effects)) if clips else _COLUMNS)
    for clip in clips:
        columns = (
            "; ".join(dict.fromkeys(str(values) for values in column))
            for column in (
                [part.voice.engine for part in clip.parts],
                [part.voice.name for part in clip.parts],
                [part.voice.language for part in clip.parts],
                [part.voice.licence for part in clip.parts],
                [part.speed for part in clip.parts],
                [saying.text for part in clip.parts for saying in part.sayings],
            )
        )
        rows.writerow((clip.name, clip.kind, clip.sound, *columns, *asdict(clip.effects).values()))
    return stream.getvalue()


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthRequest:
    """A request for clips.

    Attributes:
        phrase: The wake word, as it is spoken.
        folder: The output folder.
        engines: Names; empty for the installed engines.
        voices: Names and files; empty for the voices that the engines offer.
        amounts: The number of clips.
        seed: Decides all random choices.
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
    """The result of a request.

    Attributes:
        folder: The folder with the clips.
        engines: Names and versions of the engines.
        voices: Voices of the phrase, with their number of clips.
        clips: Number of clips by label.
        hours: Hours of negatives.
    """

    folder: Path
    engines: Mapping[str, str]
    voices: Mapping[Voice, int]
    clips: Mapping[LabelKind, int]
    hours: float


def synthesize(request: SynthRequest, progress: Progress = no_progress) -> SynthResult:
    """Make the clips of a phrase.

    Raises:
        UsageError: The request makes no sense, or differs from the request of the folder's clips.
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
    record = _record(request, material, versions)
    _check_folder(request, record)
    clips = list(material.clips(request.amounts))
    written = json.dumps(record, indent=1, ensure_ascii=False).encode(errors="replace")
    make_clips(clips, ENGINES, request.folder, written, progress)
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
        with _scratch() as folder:
            phrase, *others = _engine(voice).phonemes(voice, texts, folder)
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


def _check_folder(request: SynthRequest, record: Mapping[str, Any]) -> None:
    """Check that the folder is empty, or holds clips of the same request.

    Raises:
        UsageError: It holds other files.
        OutputError: Nothing can be written there.
    """
    folder, path = request.folder, request.folder / RECORD
    check_folder(folder)
    try:
        if is_folder(folder) and any(folder.iterdir()) and not request.resume:
            hint = "--resume keeps its clips and continues; or give a new folder"
            raise UsageError(f"{folder} is not empty", hint=hint)
        if is_there(path):
            _compare(path, record)
    except OSError as error:
        raise OutputError(f"cannot use {folder}: {error.strerror}", hint="give another --output") from error


def _compare(path: Path, record: Mapping[str, Any]) -> None:
    former = Fields.read(path, hint="give a new folder", most_bytes=_MOST_RECORD)
    if different := [key for key in record if former.value(key) != record[key]]:
        message = f"the clips of {path.parent} were made with a different {' and '.join(different)}"
        raise UsageError(message, hint="--resume needs the same request; only the amounts may grow")
