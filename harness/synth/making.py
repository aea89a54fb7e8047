"""Clips as they were planned: spoken, put together, written whole or not at all.

Speech of one voice at one speed is asked for at once, since a program of neural voices takes a second to start. A clip
that is there already is whole, and is kept.
"""

from __future__ import annotations

import csv
import io
import wave
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np

from harness.run.evaluation.labels import LABELS
from harness.synth.effects import Effects, apply_effects, repitch
from harness.synth.plan import MINUTE, ClipPlan
from harness.synth.sounds import babble, music, noises, tones
from harness.synth.speech import Engine, Samples, Saying, Voice
from mww.core.errors import MissingPackageError, OutputError, UsageError
from mww.core.files import write_files
from mww.core.progress import Progress
from mww.core.scratch import scratch_folder
from mww.esphome.contract import SAMPLE_RATE

LIST: Final = "clips.csv"

_Spoken: TypeAlias = dict[tuple[Voice, float, Saying], Samples]

_BEFORE: Final = (0.2, 0.6)
_AFTER: Final = 0.7
"""Seconds of the room around a word; the model needs some after it."""
_PAUSE: Final = (0.2, 1.2)  # between sentences
_AT_ONCE: Final = 64  # sayings of one call, which are held in memory
_COLUMNS: Final = ("clip", "label", "sound", "engine", "voice", "language", "licence", "speed", "text")


def make_clips(clips: Sequence[ClipPlan], engines: Mapping[str, Engine], folder: Path, progress: Progress) -> None:
    """Make the clips that are not there yet, and the list of all.

    Raises:
        UsageError: There are more clips than are asked for.
        SpeechError: A program fails; the clips before it are whole.
        OutputError: A clip cannot be written.
    """
    there = {file.relative_to(folder).as_posix() for kind in LABELS for file in (folder / kind).glob("*.*")}
    if extra := {name for name in there if not Path(name).name.startswith(".")} - {clip.name for clip in clips}:
        message = f"{folder} holds {len(extra)} clips beyond those that are asked for, such as {min(extra)}"
        raise UsageError(message, hint="ask for as many as before or more, or give a new folder")
    missing = [clip for clip in clips if clip.name not in there]
    done = len(clips) - len(missing)
    for batch in _batches(missing):
        spoken = _speak(batch, engines)
        for clip in batch:
            write_files({folder / clip.name: _encoded(_sound(clip, spoken), Path(clip.name).suffix)})
            done += 1
            progress("clips", done, len(clips))
    write_files({folder / LIST: _list(clips).encode()})


def _batches(clips: Sequence[ClipPlan]) -> Iterator[list[ClipPlan]]:
    """Clips whose speech is asked for together: those of one voice and speed; all others alone."""

    def key(clip: ClipPlan) -> tuple[str, str, float]:
        if len(clip.parts) != 1 or len(clip.parts[0].sayings) != 1:
            return ("", clip.name, 0.0)
        return (clip.parts[0].voice.engine, clip.parts[0].voice.name, clip.parts[0].speed)

    for _, group in groupby(sorted(clips, key=lambda clip: (clip.kind == "negative", key(clip))), key):
        batch = list(group)
        for start in range(0, len(batch), _AT_ONCE):
            yield batch[start : start + _AT_ONCE]


def _speak(batch: Sequence[ClipPlan], engines: Mapping[str, Engine]) -> _Spoken:
    """What the clips of a batch say, each saying of a voice and speed once."""
    wanted: dict[tuple[Voice, float], dict[Saying, None]] = {}
    for part in (part for clip in batch for part in clip.parts):
        wanted.setdefault((part.voice, part.speed), {}).update(dict.fromkeys(part.sayings))
    spoken = {}
    for (voice, speed), sayings in wanted.items():
        try:
            with scratch_folder("mww-synth-") as folder:
                samples = engines[voice.engine].speak(voice, speed, list(sayings), folder)
        except OSError as error:
            hint = "is the disk of temporary files full? TMPDIR names another folder"
            raise OutputError(f"cannot use a temporary folder: {error.strerror}", hint=hint) from error
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
    """Sentences with pauses; cut or filled to a length in samples, or as long as they are."""
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
        MissingPackageError: FLAC is asked for, and its package is gone.
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
    """The CSV file: where each clip comes from, and what was done to it."""
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
