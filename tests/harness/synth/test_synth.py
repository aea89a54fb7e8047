"""`mww synth` with the engines that are installed; each test names the engine that it needs."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.check import check
from harness.cli import execute, mww
from harness.synth import request
from harness.synth.speech import Samples, Saying, Voice
from harness.synth.voices import ENGINES
from mww.core.errors import SpeechError

FEW = ("--count", 2, "--near-misses", 1, "--negatives", 1 / 60)
NO_NEGATIVES = ("--count", 2, "--near-misses", 0, "--negatives", 0)
AT_ONE_SPEED = 49
"""A seed whose first clips have the same speed: each call of piper, for clips of a speed, takes a second."""


def _needs(name: str) -> pytest.MarkDecorator:
    engine = ENGINES[name]
    return pytest.mark.skipif(engine.version() is None, reason=f"{engine.missing().message}: {engine.missing().hint}")


def synth(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = execute(mww, ["synth", *map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


def digests(folder: Path) -> dict[str, str]:
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@pytest.mark.parametrize("engine", [pytest.param(name, marks=_needs(name)) for name in ENGINES])
@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes(engine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    minutes = int(engine == "espeak-ng")  # the quickest; sentences are spoken as the phrase is
    near = int(engine != "piper")  # the slowest; its near misses are heard below
    amounts = ("--count", 2, "--near-misses", near, "--negatives", minutes / 60)
    for folder, seed, more in (("c", 2, NO_NEGATIVES), ("a", AT_ONE_SPEED, amounts), ("b", AT_ONE_SPEED, amounts)):
        asked = ("hey jarvis", "--output", tmp_path / folder, "--engine", engine, "--seed", seed)
        code, document = synth(capsys, *asked, *more)
        assert code == 0, document
    assert document["schema"] == "mww.synth/1"
    assert document["clips"] == {"positive": 2, "near-miss": near, "negative": minutes}
    assert document["negative_hours"] == pytest.approx(minutes / 60)
    assert sum(voice["clips"] for voice in document["voices"]) == 2
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert len(set(digests(tmp_path / "a").values()) & set(digests(tmp_path / "c").values())) == 0
    with (tmp_path / "a" / "clips.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["clip"] for row in rows} == {name for name in digests(tmp_path / "a") if "/" in name}
    assert all(row["engine"] == engine and row["licence"] for row in rows if row["sound"] == "speech")
    assert {row["text"] for row in rows if row["label"] == "positive"} == {"hey jarvis"}


@_needs("flite")
@pytest.mark.slow
def test_an_interrupted_run_goes_on_and_gives_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "short.txt").write_text("Yes.\nNo.\n")
    asked = ("alexa", "--engine", "flite", "--sentences", tmp_path / "short.txt", *FEW)
    synth(capsys, *asked, "--output", tmp_path / "whole")
    whole, part = digests(tmp_path / "whole"), tmp_path / "part"
    shutil.copytree(tmp_path / "whole", part)
    lost = [part / name for name in list(whole)[::2] if "/" in name]
    for file in (*lost, part / "clips.csv"):
        file.unlink()
    kept = {file: file.stat().st_mtime_ns for file in part.rglob("*.wav")}
    code, document = synth(capsys, *asked, "--output", part)
    assert (code, document["error"]["code"]) == (2, "usage")
    assert "--resume" in document["error"]["hint"]
    assert synth(capsys, *asked, "--output", part, "--resume")[0] == 0
    assert digests(part) == whole
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    assert synth(capsys, *asked, "--output", part, "--resume", "--count", 3)[0] == 0
    assert len(list((part / "positive").iterdir())) == 3
    for change in (("--seed", 9), ("--voice", "rms"), ("--count", 1)):
        code, document = synth(capsys, *asked, "--output", part, "--resume", *change)
        assert (code, document["error"]["code"]) == (2, "usage")
        assert re.search("a different|more clips than", document["error"]["message"])


@_needs("flite")
def test_what_cannot_be_spoken_is_one_line_and_a_hint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for phrase, options, code, words in (
        ("привет", (), "usage", "does not read Cyrillic"),
        ("hello", ("--voice", "nobody"), "speech", "the voice 'nobody' is not among those of"),
        ("hello", ("--voice", tmp_path / "x.flitevox"), "speech", "is not among those of"),
        ("123", (), "usage", "not a phrase"),
        ("hello", ("--count", 0, "--near-misses", 0, "--negatives", 0), "usage", "nothing to make"),
    ):
        exit_code, document = synth(capsys, phrase, "--output", tmp_path / "out", "--engine", "flite", *options)
        assert (exit_code, document["error"]["code"]) == (2, code)
        assert words in document["error"]["message"]
        assert document["error"]["hint"]
    assert not (tmp_path / "out").exists()


class Mute:
    """An engine that has a voice, and fails when it shall speak."""

    name, vowels = "flite", "aeiou"

    def __init__(self, speaks: int) -> None:
        self.speaks = speaks

    def version(self) -> str:
        return "1"

    def speak(self, voice: Voice, speed: float, sayings: Sequence[Saying], folder: Path) -> list[Samples]:
        if self.speaks == 0:
            raise SpeechError("it says nothing", hint="try another engine")
        self.speaks -= 1
        return [np.ones(8000) / 2 for _ in sayings]


@pytest.mark.parametrize("speaks", [0, 1])
def test_an_engine_that_says_nothing_leaves_nothing(
    speaks: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mute = Mute(speaks)
    voices = tuple(Voice("flite", name, name, "en", "free") for name in "ab")
    monkeypatch.setattr(request, "choose_engines", lambda names: (mute,))
    monkeypatch.setattr(request, "choose_voices", lambda engines, names, phrase: voices)
    monkeypatch.setattr(request, "ENGINES", {"flite": mute})
    code, document = synth(capsys, "hello", "--output", tmp_path / "out", *NO_NEGATIVES)
    assert (code, document["error"]["message"]) == (2, "it says nothing")
    names = {file.name for file in (tmp_path / "out").rglob("*") if file.is_file()}
    assert (request.RECORD in names, len(names)) == ((True, 2) if speaks else (False, 0))


@pytest.mark.parametrize(
    ("engine", "install"), [("piper", "pip install"), ("flite", "apt-get"), ("espeak-ng", "apt-get")]
)
def test_a_missing_engine_is_named_with_the_line_that_installs_it(
    engine: str, install: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    code, document = synth(capsys, "hello", "--output", tmp_path / "out", "--engine", engine)
    assert (code, document["error"]["code"]) == (2, "speech")
    assert "not installed" in document["error"]["message"]
    assert install in document["error"]["hint"]
    code, document = synth(capsys, "hello", "--output", tmp_path / "out")
    assert (code, document["error"]["message"]) == (2, "no speech engine is installed: piper, flite or espeak-ng")


def test_a_program_of_the_same_name_is_not_piper(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mouse = tmp_path / "piper"
    mouse.write_text("#!/bin/sh\necho 'configures mice'\n")
    mouse.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    code, document = synth(capsys, "hello", "--output", tmp_path / "out", "--engine", "piper")
    assert (code, document["error"]["message"]) == (2, "piper-tts is not installed")


@_needs("flite")
@pytest.mark.skipif(sys.platform == "win32", reason="limits of file sizes are POSIX")
@pytest.mark.slow
def test_a_disk_without_room_leaves_whole_clips_and_one_line(tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("Yes.\nNo.\n")
    words = [
        "synth",
        "alexa",
        "--sentences",
        str(tmp_path / "short.txt"),
        "--output",
        str(tmp_path / "out"),
        "--engine",
        "flite",
        "--count",
        "2",
    ]
    words += ["--near-misses", "0", "--negatives", str(1 / 60)]
    script = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000)); "
        "from harness.cli import main; main(sys.argv[1:])"
    )
    result = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    message, hint = result.stderr.splitlines()
    assert message.startswith("error: cannot write") and "negative/00000" in message
    assert hint.startswith(" hint: ")
    assert len(list((tmp_path / "out" / "positive").glob("*.wav"))) == 2
    assert not list((tmp_path / "out" / "negative").iterdir())


@_needs("espeak-ng")
def test_english_sentences_by_a_voice_of_another_language_are_warned_about(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("hallo", "--output", tmp_path / "out", "--engine", "espeak-ng", "--voice", "de", "--count", 1)
    _, document = synth(capsys, *asked, "--near-misses", 0, "--negatives", 1 / 60)
    assert "the sentences of the negatives are English, and voices of de speak them" in document["warnings"]


@_needs("flite")
def test_few_voices_are_warned_about_and_a_pipe_sees_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["synth", "alexa", "--output", str(tmp_path / "out"), "--voice", "rms", "--count", "2"]
    assert execute(mww, [*asked, "--near-misses", "0", "--negatives", "0"]) == 0
    captured = capsys.readouterr()
    assert captured.err.startswith("warning: only 1 voice for the phrase")
    assert len(captured.err.splitlines()) == 2
    assert "mww run" in captured.out and "mww cutoff" in captured.out


@pytest.fixture(scope="module")
def minute(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute without any phrase."""
    folder = tmp_path_factory.mktemp("minute") / "clips"
    amounts = ("--count", "0", "--near-misses", "0", "--negatives", str(1 / 60))
    assert execute(mww, ["synth", "okay nabu", "--output", str(folder), "--engine", "flite", *amounts, "--json"]) == 0
    return folder / "negative"


@_needs("flite")
@pytest.mark.parametrize(
    ("word", "phrase", "engine", "seed"),
    [
        ("okay_nabu", "okay nabu", "flite", 0),
        pytest.param("hey_jarvis", "hey jarvis", "piper", 10, marks=_needs("piper")),
        ("alexa", "alexa", "flite", 0),
        ("hey_mycroft", "hey my croft", "flite", 0),
    ],
)
@pytest.mark.slow
def test_published_models_hear_the_phrase_and_little_else(
    word: str,
    phrase: str,
    engine: str,
    seed: int,
    minute: Path,
    models: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = ("--engine", engine, "--seed", seed, "--count", 6, "--near-misses", 4, "--negatives", 0)
    assert synth(capsys, phrase, "--output", tmp_path / "clips", *asked)[0] == 0
    shutil.copytree(minute, tmp_path / "clips" / "negative", dirs_exist_ok=True)
    result = check(models / f"{word}.json", [tmp_path / "clips"], lead_in=1.5)
    assert result.evaluation is not None
    at = result.evaluation.at
    assert (at.recall.trials, at.near_misses.trials) == (6, 4)
    assert at.false_accepts.hours == pytest.approx(1 / 60, rel=0.02)
    assert at.recall.hits >= 4
    assert at.near_misses.hits <= 2
    assert at.false_accepts.count == 0
