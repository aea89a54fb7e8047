"""The real ESPHome on a project of ours."""

import os
import shutil
import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from filelock import FileLock

from tests.support.esphome_env import esphome_python
from tests.support.esphome_host import build_host_firmware
from tests.support.waiting import PATIENCE

Esphome = Callable[..., str]


def published(name: str) -> Path:
    spec = find_spec("pymicro_wakeword")
    if spec is None or spec.origin is None:
        pytest.skip("pymicro-wakeword, which carries the published models, is not installed")
    return Path(spec.origin).parent / "models" / f"{name}.json"


@pytest.fixture(scope="session")
def esphome() -> Esphome:
    """Runs `esphome ARGUMENTS... CONFIG`; what it says, or with `fails=True` what it objects to."""
    python = esphome_python()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*arguments: str | Path, fails: bool = False) -> str:
        command = [str(python), "-m", "esphome", *map(str, arguments)]
        result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE, env=environment)
        message = result.stdout + result.stderr
        assert bool(result.returncode) == fails, message
        return message

    return run


@pytest.fixture(scope="session")
def generated(esphome: Esphome, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ESPHome generates for its host platform; once for all processes of a run."""
    common = tmp_path_factory.getbasetemp()
    folder = (common.parent if "PYTEST_XDIST_WORKER" in os.environ else common) / "esphome-host"
    sources = folder / ".esphome/build/mww-host/src"
    with FileLock(folder.with_suffix(".lock")):
        if not sources.exists():
            folder.mkdir()
            _generate(esphome, folder)
    return sources


def _generate(esphome: Esphome, folder: Path) -> None:
    config = folder / "host.yaml"
    here = Path(__file__).parent
    firmware = here.parents[1] / "firmware"
    config.write_text((here / "host.yaml").read_text().replace("../../firmware", str(firmware)))
    write_audio_component(folder / "audio" / "audio")
    esphome("compile", "--only-generate", config)


def write_audio_component(folder: Path) -> None:
    """Write ESPHome's component for sound as it is, but that it takes every platform and adds nothing to a build."""
    script = "import esphome.components as it; print(it.__path__[0])"
    done = subprocess.run([str(esphome_python()), "-c", script], capture_output=True, text=True, check=True)
    shutil.copytree(Path(done.stdout.strip()) / "audio", folder, ignore=shutil.ignore_patterns("__pycache__"))
    with (folder / "__init__.py").open("a") as module:
        module.write("\n\nAUTO_LOAD = []\nCONFIG_SCHEMA = cv.Schema({})\n\n\nasync def to_code(config):\n    pass\n")


@pytest.fixture(scope="session")
def program(generated: Path) -> Path:
    return build_host_firmware(generated)
