"""Runs QEMU for as long as standard input is open, and removes its folder: also when the parent is killed."""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

LOG: Final = "qemu.log"
"""File in the folder with what QEMU prints."""

_PR_SET_PDEATHSIG: Final = 1
_POLL_SECONDS: Final = 0.1
_END_SECONDS: Final = 3.0
_STDIN: Final = 0
_STDOUT: Final = 1


def main(words: list[str]) -> NoReturn:
    """Run the command `words[1:]`, with its output in a file of the folder `words[0]`; end as it ends."""
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
        os.close(_STDOUT)  # says the parent that QEMU ended; it reads the log before it closes our input
        select.select([_STDIN], [], [])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)  # not by way of a standard output that is closed


def _end_with_parent() -> None:
    """Have Linux end QEMU should this process be killed itself."""
    library = ctypes.CDLL(None)
    if hasattr(library, "prctl"):
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _end(signum: int, frame: FrameType | None) -> NoReturn:
    """Clean up on SIGTERM, too."""
    sys.exit()
