"""The canary: a model that checks a new version of TFLite Micro once, before its outputs are trusted.

The package has development releases only. A tiny model with every operator that ESPHome registers runs over frames with
known outputs. Checks that passed are recorded in the user's cache.
"""

from __future__ import annotations

import hashlib
from contextlib import closing
from pathlib import Path
from typing import Final

from platformdirs import user_cache_path

from harness.clips.golden import Golden
from harness.engines.catalog import DEFAULT_ENGINE
from harness.engines.opening import Engine
from mww.core.errors import EngineError
from mww.core.resources import fixtures_dir
from mww.esphome.model import load_model

MODEL: Final = "canary/canary.tflite"
GOLDEN: Final = "canary/golden.npz"
"""Its folder in the fixtures."""


def has_passed(note: str) -> bool:
    """Whether the check with this name has passed."""
    return (_folder() / note).exists()


def note_pass(note: str) -> None:
    """Record a pass; where the cache cannot be written, the check runs each time."""
    try:
        _folder().mkdir(parents=True, exist_ok=True)
        (_folder() / note).touch()
    except OSError:
        return


def _folder() -> Path:
    return user_cache_path("mww-harness") / "engines"


def check_canary(engine: Engine) -> None:
    """Check a TFLM engine whose version is new to this user with the canary; skip other engines.

    The canary stays loaded.

    Raises:
        EngineError: Its outputs are not the device's.
    """
    if engine.engine != DEFAULT_ENGINE:
        return
    golden_path = fixtures_dir() / GOLDEN
    passed = f"{engine.engine}-{engine.version}-{_digest(golden_path)}"
    if has_passed(passed):
        return
    with closing(Golden.open(golden_path)) as golden:
        engine.load(load_model(fixtures_dir() / MODEL).content)
        for clip in golden.clips:
            engine.reset()
            slices = b"".join(block.tobytes() for block in clip.blocks())
            result = engine.infer(slices[: len(slices) // engine.frame_size * engine.frame_size])
            if result != golden.outputs(clip.name).tobytes():
                message = f"{engine.engine} {engine.version} does not compute what the device does"
                known = ", ".join(f"{name}=={version}" for name, version in golden.provenance.versions)
                raise EngineError(message, hint=f"install a version that does: pip install {known}")
    note_pass(passed)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
