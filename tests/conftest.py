from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pymicro_wakeword
import pytest

from mww.core.resources import fixtures_dir
from mww.esphome.frontend import quantize_features, wav_to_features


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
