"""A running QEMU. A supervisor process owns it, ends it with this process, and removes its folder."""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from mww.core.children import end_child, start_child
from mww.core.closing import Closing
from mww.core.errors import QemuError
from mww.core.scratch import scratch_folder

LOG: Final = "qemu.log"
"""File in the folder for QEMU's output."""

_PR_SET_PDEATHSIG: Final = 1
_POLL_SECONDS: Final = 0.1
_KILL_SECONDS: Final = 3.0
_STDIN: Final = 0
_STDOUT: Final = 1

_END_SECONDS: Final = 10.0
_MAX_LOG: Final = 65_536


def main(words: list[str]) -> NoReturn:
    """Run the command `words[1:]`, with its output in a file of the folder `words[0]`; exit with its status."""
    signal.signal(signal.SIGTERM, _end)
    folder, command = Path(words[0]), words[1:]
    try:
        with (folder / LOG).open("wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 -- this process has one thread
            )
        try:
            while process.poll() is None and not select.select([_STDIN], [], [], _POLL_SECONDS)[0]:
                pass
        finally:
            _stop(process)
        os.close(
            _STDOUT
        )  # this shows the parent that QEMU ended; it reads the log before it closes this process' input
        select.select([_STDIN], [], [])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)  # not over a standard output that is closed


def _end_with_parent() -> None:
    """Let Linux end QEMU if this process is killed."""
    library = ctypes.CDLL(None)
    if hasattr(library, "prctl"):
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_KILL_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _end(signum: int, frame: FrameType | None) -> NoReturn:
    """Clean up on SIGTERM too."""
    sys.exit()


class QemuProcess(Closing):
    """An emulated chip or machine, until `close`.

    Attributes:
        port: Its serial port, as pyserial opens it; QEMU listens there a moment after it starts.
    """

    def __init__(self, files: Mapping[str, bytes], command: Callable[[Path, int], Sequence[str]]) -> None:
        """Write `files` to a temporary folder and start QEMU.

        `command` makes its command line from that folder and a port of the loopback interface.

        Raises:
            QemuError: The files cannot be written.
        """
        number = _free_port()
        self.port = f"socket://127.0.0.1:{number}"
        self._scratch = ExitStack()
        try:
            self._folder = self._scratch.enter_context(scratch_folder("mww-qemu-"))
            for name, content in files.items():
                (self._folder / name).write_bytes(content)
        except OSError as error:
            raise QemuError(
                f"cannot write QEMU's files: {error.strerror}", hint="TMPDIR sets another folder"
            ) from error
        words = [str(self._folder), *command(self._folder, number)]
        self._process: subprocess.Popen[bytes] | None = start_child("harness.targets.qemu.process", *words)

    @property
    def ended(self) -> bool:
        """Whether QEMU has ended by itself."""
        return (
            self._process is None
            or self._process.stdout is None
            or bool(select.select([self._process.stdout], [], [], 0)[0])
        )

    def log(self) -> list[str]:
        """The lines that QEMU itself has printed, for example why it does not start."""
        try:
            with (self._folder / LOG).open("rb") as stream:
                content = stream.read(_MAX_LOG)
        except OSError:
            return []
        return [line for line in content.decode(errors="replace").splitlines() if line.strip()]

    def close(self) -> None:
        """End QEMU and remove its files; harmless a second time."""
        process, self._process = self._process, None
        if process is None:
            return
        end_child(process, _END_SECONDS)
        self._scratch.close()


def _free_port() -> int:
    """A port that was free a moment ago, for QEMU's command line."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
