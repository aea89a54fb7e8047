"""Builds the firmware's portable core for this machine, once: a shared library in the user's cache.

The hash of the sources is the cache's key, so each version has its own build. `firmware/host/include/mww_host.h`
describes the library.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from harness.virtual import host_abi
from mww.core.errors import HostBuildError, MissingPackageError, VirtualBoardError
from mww.core.resources import firmware_dir
from mww.core.scratch import scratch_folder

_LIBRARY: Final = "libmww_host.so"
_HINT: Final = "pip install 'mww-harness[virtual]' brings cmake, ninja and a compiler"
_BUILD_TIMEOUT: Final = 900.0
"""Seconds for a build, which takes about ten."""

_ZIG_LINKS: Final = "-nostdlib -lc" if sys.maxsize >= 2**32 else "-nostdlib++"  # a 32-bit ARM divides with its library
_ZIG_DEFINITIONS: Final = (
    "CMAKE_CXX_FLAGS=-fno-sanitize=undefined",
    f"CMAKE_EXE_LINKER_FLAGS={_ZIG_LINKS}",
    f"CMAKE_SHARED_LINKER_FLAGS={_ZIG_LINKS}",
    "CMAKE_CXX_COMPILER_ID_RUN=1",
    "CMAKE_CXX_COMPILER_ID=Clang",
    "CMAKE_CXX_COMPILER_VERSION=16",
    "CMAKE_CXX_COMPILER_FRONTEND_VARIANT=GNU",
    "CMAKE_CXX_STANDARD_COMPUTED_DEFAULT=17",
)
"""ziglang compiles the C++ library, its sanitisers and its run-time library for the first program that is linked with
them, which takes a minute. This library does not need them, but cmake would link a program to examine the compiler.
"""

_log = logging.getLogger(__name__)


def host_library() -> Path:
    """The shared library, built on first use; concurrent processes wait for the same build.

    Raises:
        MissingPackageError: cmake, ninja or a compiler is missing.
        HostBuildError: The build failed, or the cache cannot be written.
    """
    from filelock import FileLock

    firmware = firmware_dir()
    folder = _cache_dir() / source_hash(firmware)
    library = folder / _LIBRARY
    if library.is_file():
        return library
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if not library.is_file():
                _build_into(folder, firmware)
    except OSError as error:
        raise HostBuildError(
            f"cannot write {folder}: {error.strerror or error}",
            hint="set XDG_CACHE_HOME to a folder that you may write to",
        ) from None
    return library


def source_hash(firmware: Path) -> str:
    """A key for the sources and the machine that they are built for."""
    digest = hashlib.sha256(f"{platform.system()} {platform.machine()}".encode())
    for path in _sources(firmware):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(firmware)} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def configure_command(source: Path, build: Path, *definitions: str, toolchain: Path | None = None) -> list[str]:
    """The cmake call that configures `source` into `build`, with the tools of this machine or of PyPI.

    `definitions` are cmake's own, each `NAME=VALUE`; the compiler is this machine's, or that of the `toolchain` file.

    Raises:
        MissingPackageError: cmake, ninja or a compiler is missing.
    """
    return [
        _tool("cmake"),
        *("-S", str(source), "-B", str(build), "-G", "Ninja"),
        f"-DCMAKE_MAKE_PROGRAM={_tool('ninja')}",
        *(f"-D{definition}" for definition in (*_compiler(toolchain), *definitions)),
    ]


def build_command(build: Path, *targets: str) -> list[str]:
    """The cmake call that builds a configured project."""
    return [_tool("cmake"), "--build", str(build), *(("--target", *targets) if targets else ())]


def _sources(firmware: Path) -> Iterator[Path]:
    host = firmware / "host"
    yield host / "CMakeLists.txt"
    for folder in (firmware / "components" / "mww_harness", host / "include", host / "src"):
        yield from sorted(path for path in folder.iterdir() if path.suffix in (".h", ".cpp"))


def _cache_dir() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("mww-harness") / "host"


def _build_into(folder: Path, firmware: Path) -> None:
    _log.info("building the firmware's core for this machine, once; it takes some seconds")
    log = folder.with_suffix(".log")
    with scratch_folder("build-", folder.parent) as build:
        _run(configure_command(firmware / "host", build), log)
        _run(build_command(build, "mww_host"), log)
        folder.mkdir(exist_ok=True)
        (build / _LIBRARY).replace(folder / _LIBRARY)


def _run(command: Sequence[str], log: Path) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_BUILD_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise HostBuildError(
            f"building the host library took over {_BUILD_TIMEOUT:.0f} s", hint="run it again"
        ) from None
    log.write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.returncode != 0:
        raise HostBuildError("the firmware's core does not build on this machine", hint=f"{log} has the output")


def _tool(name: str) -> str:
    """The path of a build tool in this environment, else on this machine."""
    result = shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)
    if result is None:
        raise MissingPackageError(f"{name} is missing; it builds the virtual board", hint=_HINT)
    return result


def _compiler(toolchain: Path | None = None) -> list[str]:
    """The definition of the C++ compiler for cmake: that of CXX, else the system's, else ziglang's."""
    if toolchain is not None:
        return [f"CMAKE_TOOLCHAIN_FILE={toolchain}"]
    for name in filter(None, (os.environ.get("CXX"), "c++", "g++", "clang++")):
        if (result := shutil.which(name)) is not None:
            return [f"CMAKE_CXX_COMPILER={result}"]
    spec = find_spec("ziglang")
    if spec is None or spec.origin is None:
        raise MissingPackageError("the virtual board needs a C++ compiler, and none is installed", hint=_HINT)
    return [f"CMAKE_CXX_COMPILER={Path(spec.origin).with_name('zig')};c++", *_ZIG_DEFINITIONS]


@cache
def load_library(path: Path) -> ctypes.CDLL:
    """Load the library and declare its functions.

    Raises:
        VirtualBoardError: It cannot be loaded, or was built with another version of the header.
    """
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise VirtualBoardError(f"cannot load {path}: {error}", hint="delete it, and it is built again") from error
    host_abi.declare(library)
    if library.mww_host_abi() != host_abi.ABI:
        raise VirtualBoardError(f"{path} is of another version", hint="delete it, and it is built again")
    return library
