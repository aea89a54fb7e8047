from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harness.check import check
from harness.listen import sound_sources
from harness.listen.keeping import Keeper
from harness.listen.listener import Heard, Listener
from harness.targets.emulator import EmulatorTarget
from mww.core.errors import AudioError
from mww.esphome.audio import read_samples
from mww.esphome.model import load_model

SECOND = bytes(32_000)


def spoken(clips: Path) -> bytes:
    word = b"".join(read_samples(clips / "okay_nabu" / "positive" / "en-us-klatt-160.wav"))
    other = b"".join(read_samples(clips / "negative" / "speech-2.wav"))
    return SECOND + word + SECOND * 2 + other + word + SECOND


def write_wav(path: Path, samples: bytes) -> Path:
    import wave

    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(samples)
    return path


def listen(*arguments: object, sound: bytes) -> tuple[int, list[dict[str, Any]]]:
    command = [sys.executable, "-m", "harness.cli", "listen", *map(str, arguments), "--input", "-", "--jsonl"]
    done = subprocess.run(command, input=sound, capture_output=True, check=False)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_it_detects_what_a_run_detects(models: Path, clips: Path, tmp_path: Path) -> None:
    sound = spoken(clips)
    words = [models / "okay_nabu.json", models / "hey_jarvis.json"]
    code, events = listen(*words, sound=sound)
    assert (code, events[0]["event"], events[-1]["event"]) == (0, "start", "end")
    assert events[-1]["time_s"] == pytest.approx(len(sound) / 32_000)
    wav = write_wav(tmp_path / "all.wav", sound)
    for word in words:
        (result,) = check(word, [wav]).clips
        expected = [(d.inference, d.average, d.maximum) for d in result.detections]
        results = [
            (event["inference"], event["average"], event["maximum"])
            for event in events
            if event["event"] == "detection" and event["model"] == word.stem
        ]
        assert results == expected
    assert [event for event in events if event["event"] == "detection"]


def test_a_detection_is_kept_as_a_wav_that_is_detected_again(models: Path, clips: Path, tmp_path: Path) -> None:
    code, events = listen(models / "okay_nabu.json", "--save", tmp_path, sound=spoken(clips))
    saved = [Path(event["path"]) for event in events if event["event"] == "saved" and "detection" in event["path"]]
    assert code == 0
    assert len(saved) >= 2
    assert check(models / "okay_nabu.json", saved[:1], lead_in=1.0).clips[0].detections


@pytest.mark.parametrize("cut", [161, 3333, 32_000])
def test_how_sound_is_cut_changes_nothing(models: Path, clips: Path, cut: int) -> None:
    model, sound = load_model(models / "okay_nabu.json"), spoken(clips)[: 32_000 * 4]
    with Listener([(model, EmulatorTarget())], None) as listener:
        whole = list(listener.hear(sound))
    with Listener([(model, EmulatorTarget())], None) as listener:
        heard = [
            each for start in range(0, len(sound), cut * 2) for each in listener.hear(sound[start : start + cut * 2])
        ]
    assert [each.inference for each in heard if not each.near_miss] == [
        each.inference for each in whole if not each.near_miss
    ]


def test_a_vad_blocks_as_it_does_in_a_run(models: Path, clips: Path, tmp_path: Path) -> None:
    model, sound = load_model(models / "okay_nabu.json"), spoken(clips)
    deaf = load_model(models / "alexa.json")  # as a VAD it hears no speech here
    with Listener([(model, EmulatorTarget())], (deaf, EmulatorTarget())) as listener:
        heard = [each for each in listener.hear(sound) if not each.near_miss]
    (result,) = check(model, [write_wav(tmp_path / "a.wav", sound)], vad=deaf).clips
    assert [(each.inference, each.vad_blocked) for each in heard] == [
        (each.inference, each.vad_blocked) for each in result.detections
    ]
    assert heard


def test_an_interrupt_keeps_what_was_to_be_saved(models: Path, clips: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "harness.cli", "listen", str(models / "okay_nabu.json")]
    with subprocess.Popen(
        [*command, "--input", "-", "--jsonl", "--save", str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(spoken(clips)[: 32_000 * 3])
        process.stdin.flush()
        for line in process.stdout:
            if json.loads(line)["event"] == "detection":
                break
        process.send_signal(signal.SIGINT)
        rest = [json.loads(line) for line in process.stdout]
        process.wait()
    assert process.returncode == 130
    assert rest[-1]["event"] == "end"
    assert len(list(tmp_path.rglob("*.wav"))) >= 1


def test_the_seconds_around_a_detection_are_kept(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path)
    for number in range(100):
        samples = np.full(1600, number, "<i2").tobytes()
        assert keeper.hear(samples) == [] or number == 60
        if number == 50:
            keeper.keep(Heard("a word/../x", 5.0, 1, 2, 3, vad_blocked=False))
    (path,) = tmp_path.rglob("*.wav")
    assert path.parent == tmp_path / "detection"
    kept = np.frombuffer(b"".join(read_samples(path)), "<i2")
    assert 50 in kept
    assert 21 in kept
    assert len(kept) <= 16_000 * 4.2


class Microphone:
    """What `sounddevice` looks like, with a microphone that plays."""

    class PortAudioError(Exception):
        pass

    def __init__(self, sound: bytes) -> None:
        self.sound = sound

    def RawInputStream(self, *, callback: Any, blocksize: int, device: Any, **_: Any) -> Any:
        if device == "absent":
            raise self.PortAudioError("Error querying device -1")
        for start in range(0, len(self.sound), blocksize * 2):
            status = SimpleNamespace(input_overflow=start == 0)
            callback(self.sound[start : start + blocksize * 2], blocksize, None, status)
        return subprocess.Popen([sys.executable, "-c", ""])  # any context manager

    def query_devices(self) -> list[dict[str, Any]]:
        return [{"name": "USB microphone", "max_input_channels": 1}, {"name": "speaker", "max_input_channels": 0}]


def test_a_microphone_counts_what_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    microphone = Microphone(bytes(range(256)) * 125 * 12)  # twelve seconds, of which ten can wait
    monkeypatch.setitem(sys.modules, "sounddevice", microphone)  # type: ignore[arg-type]
    lost: list[float] = []
    sound = sound_sources.open_sound(None, lost.append)
    heard = b"".join(next(sound) for _ in range(100))
    assert heard == microphone.sound[: len(heard)]
    assert sum(lost) == pytest.approx(0.1 + 2.0)
    with pytest.raises(AudioError) as error:
        next(sound_sources.open_sound("absent", lost.append))
    for name, state in (("absent.wav", "does not exist"), (str(Path(__file__).parent), "is not a file")):
        with pytest.raises(AudioError, match=state):
            sound_sources.open_sound(name, lost.append)
    assert "USB microphone" in error.value.hint
    assert "speaker" not in error.value.hint
