"""The firmware's front-end, built for this machine with its library: its features are this computer's.

MWW_SPEECH_FEATURES has the compiler's options for that library, such as `-I include lib.a -lm`.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest

from mww.core.resources import firmware_dir, fixtures_dir
from mww.esphome.audio import read_audio
from mww.esphome.frontend import wav_to_features
from tests.support.esphome_host import tool

LIBRARY = os.environ.get("MWW_SPEECH_FEATURES", "")

pytestmark = pytest.mark.skipif(not LIBRARY, reason="MWW_SPEECH_FEATURES does not say how to compile with the library")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The front-end as a program; every warning is an error."""
    program = tmp_path_factory.mktemp("speech-features") / "program"
    component = firmware_dir() / "components" / "mww_harness"
    sources = [component / "speech_features.cpp", Path(__file__).with_name("speech_features.cpp")]
    flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-DMWW_HARNESS_SPEECH_FEATURES", "-iquote", component]
    command = [tool("g++"), *flags, *sources, *shlex.split(LIBRARY), "-o", program]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return program


@pytest.mark.parametrize(("step_ms", "piece"), [(10, 160), (10, 7), (20, 160), (30, 479)])
def test_its_features_are_this_computers(program: Path, step_ms: int, piece: int) -> None:
    for clip in sorted((fixtures_dir() / "clips").rglob("*.wav"))[:4]:
        sound = b"".join(read_audio(clip))
        done = subprocess.run([program, str(step_ms), str(piece)], input=sound, capture_output=True, check=False)
        assert done.returncode == 0
        features = np.frombuffer(done.stdout, np.uint16).reshape(2, -1, 40)
        assert np.array_equal(features[0], features[1]), "a new stream begins in the initial state"
        expected = wav_to_features(clip, step_ms=step_ms)
        assert np.array_equal(features[0][: len(expected)], expected)
        assert len(features[0]) - len(expected) <= 1  # one more may end in the last 10 ms
