"""`mww listen --target`: a board's own microphone, with what the board and this computer make of it."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.check import check
from harness.virtual.process import VirtualBoard
from tests.harness.listen.test_listen import spoken, write_wav

pytestmark = pytest.mark.slow

Event = dict[str, Any]


def overheard(words: list[Path], port: str, kept: Path, until: float) -> list[Event]:
    """The events up to so many seconds of sound, then Ctrl-C."""
    command = [sys.executable, "-m", "harness.cli", "listen", *map(str, words), "--target", port]
    events: list[Event] = []
    with subprocess.Popen([*command, "--save", str(kept), "--jsonl"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            events.append(json.loads(line))
            if events[-1]["event"] == "level" and events[-1]["time_s"] >= until:
                break
        process.send_signal(signal.SIGINT)
        events += [json.loads(line) for line in process.stdout]
        assert process.wait() == 130
    return events


def check_overheard(events: list[Event], wav: Path, word: Path, kept: Path) -> None:
    """Board and computer detect where a run on the file detects; nothing was lost, and no feature differs."""
    lost = [event for event in events if event["event"] == "lost"]
    if lost and os.getloadavg()[0] > 3 * (os.cpu_count() or 1):
        pytest.skip("the machine is too busy for sound in real time")
    assert not lost
    (features,) = (event for event in events if event["event"] == "features")
    assert (features["mismatches"], features["first_mismatch"]) == (0, None)
    (result,) = check(word, [wav]).clips
    expected = [(item.inference, item.average, item.maximum) for item in result.detections]
    assert len(expected) == 2
    for side in ("board", "computer"):
        detections = [event for event in events if event["event"] == "detection" and event["by"] == side]
        assert {event["model"] for event in detections} == {word.stem}
        assert [(event["inference"], event["average"], event["maximum"]) for event in detections] == expected
    levels = [event for event in events if event["event"] == "level"]
    assert max(event["board"].get(word.stem, 0) for event in levels) > 200
    assert max(event["peak"] for event in levels) > 0.1
    assert len(list((kept / "detection").glob("*.wav"))) == 2


def test_a_virtual_boards_microphone(models: Path, clips: Path, tmp_path: Path) -> None:
    wav = write_wav(tmp_path / "all.wav", spoken(clips))
    words = [models / "okay_nabu.json", models / "hey_jarvis.json"]
    with VirtualBoard(microphone=wav, faults=["drop=0.01", "corrupt=0.01", "duplicate=0.01"]) as board:
        events = overheard(words, board.port, tmp_path / "kept", until=len(spoken(clips)) / 32_000 + 0.5)
    check_overheard(events, wav, words[0], tmp_path / "kept")
    assert json.loads(json.dumps(events[0]))["input"] == "board"


def test_what_was_kept_is_a_test_in_the_morning(models: Path, clips: Path, tmp_path: Path) -> None:
    """A detection that was kept detects again when it is run, on the board's own front-end."""
    wav = write_wav(tmp_path / "all.wav", spoken(clips))
    with VirtualBoard(microphone=wav) as board:
        overheard([models / "okay_nabu.json"], board.port, tmp_path / "kept", until=4.5)
    result = check(models / "okay_nabu.json", tmp_path / "kept", lead_in=1.5, target="virtual", source="audio")
    assert result.verdict == "pass"
    assert any(clip.detections for clip in result.clips)


def test_enter_keeps_the_last_seconds_under_a_label(models: Path, clips: Path, tmp_path: Path) -> None:
    wav, kept = write_wav(tmp_path / "all.wav", spoken(clips)), tmp_path / "kept"
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "harness.cli", "listen", str(models / "okay_nabu.json"), "--input", str(wav)]
    words = [*command, "--save", str(kept), "--jsonl"]
    with subprocess.Popen(words, stdin=slave, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pressed = [b"../positive\n", b"\n"]
        for line in process.stdout:
            event = json.loads(line)
            if pressed and event["event"] == "level" and event["time_s"] > 4 - len(pressed):
                os.write(master, pressed.pop(0))
        assert process.wait() == 0
    os.close(master)
    os.close(slave)
    assert {path.parent.name for path in kept.rglob("*.wav")} >= {"___positive", "kept", "detection"}
    assert {path.parent.parent for path in kept.rglob("*.wav")} == {kept}
