from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pymicro_wakeword
import pytest
from hypothesis import HealthCheck, settings

from mww.core import children
from mww.core.resources import fixtures_dir
from mww.esphome.frontend import quantize_features, wav_to_features
from tests.support.examples import examples
from tests.support.files_finished import FilesFinished
from tests.support.forks import ForkServer, forked_children

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what runs in its background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the tests interrupt processes, which inherit this

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # in hundreds of processes, which would start threads for nothing

# A machine under load takes its time; some first examples build the host library.
settings.register_profile(
    "patient", max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("patient")


def pytest_configure(config: pytest.Config) -> None:
    """Where tests run in several processes, name each file as it finishes: dots say little of a suite of minutes."""
    if getattr(config.option, "dist", "no") != "no" and not hasattr(config, "workerinput"):
        config.pluginmanager.register(FilesFinished(config))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files with the most slow tests first: so that the processes of `make test` end together."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    """A process that has imported the product."""
    with ForkServer() as server:
        yield server


@pytest.fixture(scope="module", autouse=True)
def forks(fork_server: ForkServer) -> Iterator[None]:
    """The product's children are forks."""
    with forked_children(fork_server.connect):
        yield


@pytest.fixture
def real_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """The product's children are started as for users."""
    monkeypatch.setattr(children, "Popen", subprocess.Popen)


@pytest.fixture(scope="session")
def models() -> Path:
    """The folder with the published models and their manifests."""
    return Path(pymicro_wakeword.__file__).parent / "models"


@pytest.fixture(scope="session")
def clips() -> Path:
    """The folder with the spoken clips."""
    return fixtures_dir() / "clips"


@pytest.fixture(scope="session")
def spoken(clips: Path) -> tuple[npt.NDArray[np.int8], ...]:
    """Two clips in which "okay nabu" is spoken, each int8 `[slices, 40]`, with a second of silence in front."""
    paths = sorted((clips / "okay_nabu").rglob("*.wav"))[:2]
    return tuple(quantize_features(wav_to_features(path, lead_in=1.0)) for path in paths)
