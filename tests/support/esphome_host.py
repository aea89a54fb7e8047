"""ESPHome's `host` platform: the component as a real ESPHome process between a pty and an engine's socket."""

import hashlib
import os
import pty
import select
import shutil
import signal
import subprocess
import threading
import tty
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Final

import platformdirs
import pytest
from filelock import FileLock

from tests.support.engine_server import EngineServer
from tests.support.host_board import Noise, frames_of
from tests.support.waiting import PATIENCE, wait_for

STRICT: Final = ("-O1", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter")  # ESPHome's headers leave some unused
FLAGS: Final = (
    *("-std=gnu++20", "-fno-exceptions", "-fno-rtti"),
    *("-DUSE_HOST", "-DESPHOME_LOG_LEVEL=ESPHOME_LOG_LEVEL_DEBUG"),
)


def build_host_firmware(sources: Path) -> Path:
    """Compile what ESPHome generated for its host platform; ours with every warning an error. Kept by its sources."""
    compiler = tool("g++")
    files = sorted(path for path in sources.rglob("*") if path.suffix in (".cpp", ".h"))
    cache = platformdirs.user_cache_path("mww-harness", ensure_exists=True)
    program = cache / f"esphome-host-{_digest(sources, files)}"
    with FileLock(cache / "esphome-host.lock"):
        if not program.exists():
            for older in cache.glob("esphome-host-*"):
                older.unlink()
            _compile(compiler, sources, files, program)
    return program


def _digest(sources: Path, files: Iterable[Path]) -> str:
    """What the program is made of, without what differs each time that ESPHome generates: comments, paths, times."""
    digest = hashlib.sha256(" ".join(FLAGS + STRICT).encode())
    for path in files:
        if path.name != "build_info_data.cpp":
            lines = (line.strip() for line in path.read_text().splitlines())
            code = [line for line in lines if not line.startswith(("//", "#line"))]
            digest.update("\n".join((str(path.relative_to(sources)), *code)).encode())
    return digest.hexdigest()[:16]


def _compile(compiler: str, sources: Path, files: Iterable[Path], program: Path) -> None:
    def compile_one(path: Path) -> str:
        warnings = STRICT if {"mww_harness", "mww_socket_engine", "mww_wav_microphone"} & set(path.parts) else ("-w",)
        _run(compiler, *FLAGS, *warnings, "-I", str(sources), "-c", str(path), "-o", f"{path}.o")
        return f"{path}.o"

    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(compile_one, (path for path in files if path.suffix == ".cpp")))
    _run(compiler, *objects, "-o", f"{program}.new", "-pthread", "-ldl")
    Path(f"{program}.new").replace(program)


def tool(name: str) -> str:
    results = shutil.which(name)
    if results is None:
        pytest.skip(f"ESPHome's host platform needs {name}")
    return results


def _run(*command: str) -> None:
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE)
    assert result.returncode == 0, result.stderr


def check_warnings(source: Path, sources: Path, *flags: str) -> None:
    """Have the compiler read one of our files among what ESPHome generated; any warning fails."""
    _run(tool("g++"), *FLAGS, *STRICT, *flags, "-I", str(sources), "-fsyntax-only", str(source))


class Line:
    """Two terminals wired to each other by a thread, with noise: a USB cable."""

    def __init__(self, noise: Noise | None = None) -> None:
        self._noise = noise or Noise()
        self._masters: list[int] = []
        self._slaves: list[int] = []
        for _ in range(2):
            master, slave = pty.openpty()
            tty.setraw(slave)
            self._masters.append(master)
            self._slaves.append(slave)
        self.board_end, self.host_end = (os.ttyname(slave) for slave in self._slaves)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._pump, name="line", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        for end in (*self._masters, *self._slaves):
            os.close(end)

    def _pump(self) -> None:
        others = dict(zip(self._masters, reversed(self._masters), strict=True))
        while not self._ended.is_set():
            for end in select.select(self._masters, (), (), 0.05)[0]:
                data = os.read(end, 65536)
                whole = data.startswith(b"\0") and data.endswith(b"\0")
                os.write(others[end], b"".join(map(self._noise.disturb, frames_of(data))) if whole else data)


class HostProcess:
    """The firmware on a line; `partition` is its flash, and outlives a reboot."""

    def __init__(
        self,
        program: Path,
        partition: Path,
        engine: EngineServer,
        noise: Noise | None = None,
        microphone: Path | None = None,
    ) -> None:
        self._environment = {
            "MWW_HARNESS_PARTITION": str(partition),
            "MWW_HARNESS_ENGINE": str(engine.path),
            "MWW_HARNESS_MICROPHONE": str(microphone or ""),
            "HOME": str(partition.parent),
        }
        self._command = (tool("stdbuf"), "-oL", str(program))
        with ExitStack() as stack:
            self._line = stack.enter_context(closing(Line(noise)))
            self.port = self._line.host_end
            self._log = stack.enter_context(partition.with_suffix(".log").open("w+"))
            self._process = self._boot()
            stack.callback(self._end)
            self._stack = stack.pop_all()

    def reboot(self) -> None:
        """Pull the plug and put it back."""
        self._end()
        self._process = self._boot()

    def hang(self) -> None:
        """Stop answering, for good."""
        self._process.send_signal(signal.SIGSTOP)

    def wait_for(self, text: str) -> None:
        """Until it has printed a text."""
        wait_for(lambda: text in Path(self._log.name).read_text(), text)

    def __enter__(self) -> "HostProcess":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _boot(self) -> subprocess.Popen[bytes]:
        environment = self._environment | {"MWW_HARNESS_PORT": self._line.board_end}
        return subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, env=environment
        )

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
