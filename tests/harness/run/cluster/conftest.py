from __future__ import annotations

import logging
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

POISON = """
import os, signal
from harness.run.cluster import parcels
unpack = getattr(parcels, "harmless", parcels.unpack)  # Dask loads this twice
parcels.harmless = unpack
def deadly(parcel, archive):
    if "poison" in parcel.name:
        os.kill(os.getpid(), signal.SIGKILL)
    return unpack(parcel, archive)
parcels.unpack = deadly
"""


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory, clips: Path) -> Path:
    """A folder of 25 clips: 24 of 15 s, and one that is not a WAV."""
    folder = tmp_path_factory.mktemp("corpus")
    samples = []
    for path in sorted(clips.rglob("*.wav")):
        with wave.open(str(path)) as file:
            samples.append(file.readframes(file.getnframes()))
    sound = (b"".join(samples) * 60)[: 15 * 32_000 + 24 * 1600]
    for number in range(24):
        place = folder / ("positive" if number % 2 else "negative")
        place.mkdir(exist_ok=True)
        with wave.open(str(place / f"{number:02}.wav"), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes(sound[1600 * number :])
    (folder / "bad.wav").write_bytes(b"no sound")
    return folder


@pytest.fixture(scope="module")
def workers() -> Iterator[Any]:
    """A Dask cluster of two worker processes on this machine, which is not idle even if nothing runs on it."""
    distributed = pytest.importorskip("distributed", reason="the extra cluster is absent")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, silence_logs=logging.CRITICAL
    ) as cluster:
        yield cluster


@pytest.fixture
def poison(tmp_path: Path) -> Path:
    """What a worker loads at its start so that a clip with that name kills it."""
    path = tmp_path / "poison.py"
    path.write_text(POISON)
    return path
