"""The distribution: extras that resolve on every Python it claims, and a wheel that carries its data."""

import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OWN = f"{sys.version_info.major}.{sys.version_info.minor}"
PYTHONS = tuple(python for python in ("3.10", "3.11", "3.12", "3.13", "3.14") if python != OWN)
"""For this one, all extras are installed."""
NO_NETWORK = ("dns error", "Failed to fetch", "error sending request", "Could not connect")


@pytest.fixture(scope="module")
def resolved() -> dict[str, subprocess.CompletedProcess[str]]:
    """What uv says of all extras for each Python: it waits for an index most of the time, so all at once."""

    def resolve(python: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--python-version", python]
        command += ["--python-platform", "x86_64-manylinux_2_28", "--extra", "all", "--extra", "test", "pyproject.toml"]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    with ThreadPoolExecutor() as pool:
        return dict(zip(PYTHONS, pool.map(resolve, PYTHONS), strict=True))


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.slow
def test_all_extras_resolve(python: str, resolved: dict[str, subprocess.CompletedProcess[str]]) -> None:
    result = resolved[python]
    if any(sign in result.stderr for sign in NO_NETWORK):
        pytest.skip(f"no package index to resolve against: {result.stderr.splitlines()[0]}")
    assert result.returncode == 0, result.stderr
    pins = {line.split("==")[0].strip() for line in result.stdout.splitlines() if "==" in line}
    assert {"tflite-micro", "esptool", "pyserial"} <= pins
    assert ({"tensorflow", "keras"} <= pins) == (python != "3.14")
    assert ("tflite-runtime" in pins) == (python in ("3.10", "3.11"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_the_wheel_carries_firmware_and_fixtures(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "exporter/py.typed" in names
    assert "harness/py.typed" in names
    assert "mww/data/fixtures/calibration/features.npz" in names
    assert any(name.startswith("mww/data/fixtures/clips/okay_nabu/positive/") for name in names)
    assert any(name.startswith("mww/data/firmware/") for name in names)
    assert not [name for name in names if name.startswith("tests/") or "__pycache__" in name]


def test_the_wheel_names_its_commands(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    entry_points = next(name for name in archive.namelist() if name.endswith("entry_points.txt"))
    text = archive.read(entry_points).decode()
    assert "mww = harness.cli:main" in text
    assert "mww-export = exporter.tflite:main" in text
