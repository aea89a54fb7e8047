"""The host library: built once, by whatever compiler there is, and missed with a line that repairs it."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.virtual import hostlib
from harness.virtual.host_abi import ABI
from mww.core.errors import HostBuildError, MissingPackageError
from mww.core.resources import firmware_dir


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_library_is_built_once_and_speaks_the_headers_version(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = hostlib.host_library()
    assert library.is_relative_to(empty_cache)
    assert ctypes.CDLL(str(library)).mww_host_abi() == ABI
    monkeypatch.setattr(subprocess, "run", lambda *args, **more: pytest.fail("built again"))
    assert hostlib.host_library() == library


def test_another_source_is_another_library(tmp_path: Path) -> None:
    firmware = shutil.copytree(firmware_dir(), tmp_path / "firmware")
    before = hostlib.source_hash(firmware)
    assert before == hostlib.source_hash(firmware_dir())
    with (firmware / "host" / "src" / "mww_host.cpp").open("a") as source:
        source.write("// changed\n")
    assert hostlib.source_hash(firmware) != before


@pytest.mark.slow
def test_without_a_compiler_ziglang_builds_it(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ziglang")
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("CXX", raising=False)
    library = hostlib.host_library()
    assert ctypes.CDLL(str(library)).mww_host_abi() == ABI
    assert b"libstdc++" not in library.read_bytes()


def test_missing_tools_name_the_extra_that_brings_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    with pytest.raises(MissingPackageError) as caught:
        hostlib.configure_command(Path("source"), Path("build"))
    assert "mww-harness[virtual]" in (caught.value.hint or "")


def test_a_failed_build_says_where_its_output_is(
    empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    firmware = shutil.copytree(firmware_dir(), tmp_path / "firmware")
    (firmware / "host" / "src" / "mww_host.cpp").write_text("#error broken\n")
    monkeypatch.setattr(hostlib, "firmware_dir", lambda: firmware)
    with pytest.raises(HostBuildError) as caught:
        hostlib.host_library()
    log = Path((caught.value.hint or "").split()[0])
    assert "broken" in log.read_text()
    assert not list(empty_cache.rglob("*.so"))
