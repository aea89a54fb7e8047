from __future__ import annotations

from pathlib import Path

import pytest

from harness.engines import canary
from harness.engines.canary import MODEL, check_canary
from harness.engines.opening import open_engine
from harness.engines.process import EngineProcess
from mww.core.errors import EngineError
from mww.core.resources import fixtures_dir
from mww.esphome.contract import REGISTERED_OPS
from mww.tflite.model_file import read_model
from tests.support.needs import engine_params


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(canary, "user_cache_path", lambda name: tmp_path / name)
    return tmp_path / "mww-harness" / "engines"


class Miscounting(EngineProcess):
    """A version whose results are off by one now and then."""

    def infer(self, frames: bytes) -> bytes:
        outputs = bytearray(super().infer(frames))
        outputs[17] ^= 1
        return bytes(outputs)


def test_it_uses_every_operator_that_esphome_registers() -> None:
    operators = {operator.op for _, operator in read_model(fixtures_dir() / MODEL).operators()}
    assert operators == set(REGISTERED_OPS)


def test_a_version_is_held_against_it_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with EngineProcess("tflm") as engine:
        check_canary(engine)
        (note,) = cache.iterdir()
        assert note.name.startswith(f"tflm-{engine.version}-")
        monkeypatch.setattr(EngineProcess, "infer", None)
        check_canary(engine)


def test_a_version_that_computes_otherwise_is_refused_each_time(cache: Path) -> None:
    with Miscounting("tflm") as engine:
        for _ in range(2):
            with pytest.raises(EngineError, match="does not compute what the device does") as caught:
                check_canary(engine)
            assert caught.value.hint is not None
            assert "pip install tflite-micro==" in caught.value.hint
    assert not cache.exists()


@pytest.mark.parametrize("name", ["exact", *engine_params("tflite-runtime", "litert")])
def test_other_engines_are_left_alone(name: str, cache: Path) -> None:
    with open_engine(name) as engine:
        check_canary(engine)
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "mww-harness").touch()
    with EngineProcess("tflm") as engine:
        check_canary(engine)
