"""A QEMU that runs, in a process group of its own that ends with this process."""

from __future__ import annotations

import select
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from harness.targets.qemu.supervisor import LOG
from mww.core.children import end_child, start_child
from mww.core.closing import Closing
from mww.core.errors import QemuError
from mww.core.scratch import scratch_folder

_END_SECONDS: Final = 10.0
_MAX_LOG: Final = 65_536


class QemuProcess(Closing):
    """An emulated chip or machine from here to `close`.

    Attributes:
        port: Its serial port, as pyserial opens it; QEMU listens there a moment after it starts.
    """

    def __init__(self, files: Mapping[str, bytes], command: Callable[[Path, int], Sequence[str]]) -> None:
        """Write `files` to a folder of its own and start QEMU.

        `command` makes the words that start it, of that folder and a port of the loopback interface.

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
                f"cannot write QEMU's files: {error.strerror}", hint="TMPDIR names another folder"
            ) from error
        words = [str(self._folder), *command(self._folder, number)]
        self._process: subprocess.Popen[bytes] | None = start_child("harness.targets.qemu.supervisor", *words)

    @property
    def ended(self) -> bool:
        """Whether QEMU has ended by itself."""
        return (
            self._process is None
            or self._process.stdout is None
            or bool(select.select([self._process.stdout], [], [], 0)[0])
        )

    def log(self) -> list[str]:
        """The lines that QEMU itself has printed, such as why it does not start."""
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
    """A port that was free a moment ago; QEMU must be given one."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
