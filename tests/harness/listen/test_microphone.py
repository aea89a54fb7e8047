"""`mww listen` on a microphone of this machine: the monitor of a null sink of PulseAudio, in which a clip is played."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from harness.check import check
from tests.harness.listen.test_listen import spoken, write_wav

_WORDS = "sudo apt-get install pulseaudio pulseaudio-utils libportaudio2 libasound2-plugins; pip install sounddevice"


def _missing() -> bool:
    try:
        importlib.import_module("sounddevice")
    except (ImportError, OSError):  # the package, or PortAudio
        return True
    return not all(map(shutil.which, ("pulseaudio", "pactl", "paplay")))


pytestmark = pytest.mark.skipif(_missing(), reason=f"needs a virtual sound card: {_WORDS}")


@pytest.fixture
def sound_card() -> Iterator[Mapping[str, str]]:
    """The environment of programs that play into the sink and record what it plays; a server of its own."""
    with tempfile.TemporaryDirectory() as folder:  # a socket's path must be short
        server = f"{folder}/native"
        mine = {
            "HOME": folder,
            "XDG_RUNTIME_DIR": folder,
            "PULSE_RUNTIME_PATH": folder,
            "PULSE_SERVER": f"unix:{server}",
        }
        environment = {**os.environ, **mine}
        modules = [f"module-native-protocol-unix socket={server} auth-anonymous=1", "module-null-sink sink_name=card"]
        words = [word for module in modules for word in ("-L", module)]
        command = ["pulseaudio", "-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1", *words]
        with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + 60
            choose = ["pactl", "set-default-source", "card.monitor"]
            while subprocess.run(choose, env=environment, capture_output=True, check=False).returncode:
                if process.poll() is not None or time.monotonic() > deadline:
                    process.kill()
                    pytest.skip("PulseAudio does not start here")
                time.sleep(0.1)
            yield environment
            process.terminate()


def test_what_the_microphone_hears_is_detected_and_kept(
    models: Path, clips: Path, tmp_path: Path, sound_card: Mapping[str, str]
) -> None:
    clip, kept = write_wav(tmp_path / "clip.wav", spoken(clips)), tmp_path / "kept"
    words = [models / "okay_nabu.json", "--input", "pulse", "--jsonl", "--save", kept]
    command = [sys.executable, "-m", "harness.cli", "listen", *map(str, words)]
    with subprocess.Popen(command, env=sound_card, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        alarm = threading.Timer(120, process.kill)
        alarm.start()
        players: list[subprocess.Popen[bytes]] = []
        saved: list[Path] = []
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "level" and not players:  # it listens
                players.append(subprocess.Popen(["paplay", "--device=card", str(clip)], env=sound_card))
            saved += [Path(event["path"])] if event["event"] == "saved" and "detection" in event["path"] else []
            if len(saved) == 1:
                process.send_signal(signal.SIGINT)
        alarm.cancel()
        error = process.stderr.read().decode()
    for player in players:
        player.kill()
        player.wait()
    assert (process.returncode, saved != []) == (130, True), error
    assert check(models / "okay_nabu.json", saved[:1], lead_in=1.0).clips[0].detections
