"""The portable core by itself: its C++ tests under sanitisers, fuzzing, and warnings as errors with each compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from mww.core.resources import firmware_dir
from tests.support.host_build import build_host
from tests.support.waiting import PATIENCE

FUZZ_SECONDS = float(os.environ.get("MWW_FUZZ_SECONDS", "4"))
"""For both targets together; `make fuzz` sets ten minutes."""


def needs(tool: str, package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(tool) is None, reason=f"{tool} is missing: sudo apt install {package}")


@needs("c++", "g++")
@pytest.mark.slow
def test_the_cpp_tests_pass_under_the_sanitisers(tmp_path: Path) -> None:
    tests = build_host(tmp_path, "mww_tests", "MWW_TESTS=ON")
    done = subprocess.run([tests], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tests passed" in done.stdout


@needs("clang++", "clang")
def test_clang_finds_nothing_to_warn_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "clang++")
    assert build_host(tmp_path, "mww_host").with_name("libmww_host.so").is_file()


@pytest.fixture(scope="module")
def fuzz_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for both fuzzers: they share the core."""
    return tmp_path_factory.mktemp("fuzz")


@needs("clang++", "clang")
@pytest.mark.parametrize("target", ["decoder", "session"])
@pytest.mark.slow
def test_fuzzing_finds_nothing(target: str, fuzz_build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "clang++")
    fuzzer = build_host(fuzz_build, f"fuzz_{target}", "MWW_FUZZ=ON")
    (corpus := tmp_path / "corpus").mkdir()
    seeds = firmware_dir() / "host" / "fuzz" / "corpus" / target
    limits = (f"-max_total_time={FUZZ_SECONDS / 2:.0f}", "-max_len=2000", "-timeout=10")
    command = [fuzzer, *limits, f"-artifact_prefix={tmp_path}/", corpus, seeds]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "DONE" in done.stderr


@pytest.mark.skipif(shutil.which("clang-format") is None, reason="clang-format is missing: pip install clang-format")
def test_the_sources_are_formatted() -> None:
    component = firmware_dir() / "components" / "mww_harness"
    host = firmware_dir() / "host"
    folders = (component, *(host / name for name in ("include", "src", "test", "fuzz")))
    sources = [path for folder in folders for path in sorted(folder.iterdir()) if path.suffix in (".h", ".cpp")]
    command = ["clang-format", "--dry-run", "--Werror", *sources]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
