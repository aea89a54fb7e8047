"""A virtual board in its own process, for the duration of a `with` block."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mww.core.children import end_child, start_child
from mww.core.closing import Closing
from mww.core.errors import ErrorFacts, VirtualBoardError
from mww.esphome.chips import DEFAULT_CHIP

_START_DEADLINE: Final = 960.0
"""Seconds; the first board on a machine without a compiler waits for ziglang to build the firmware's core."""
_END_DEADLINE: Final = 5.0


class VirtualBoard(Closing):
    """A board until `close`; it also ends with this process.

    Attributes:
        port: The port for pyserial, esptool or `mww run --target`.
    """

    def __init__(
        self,
        chip: str = DEFAULT_CHIP,
        *,
        transport: str = "socket",
        state: Path | None = None,
        baud: int | None = None,
        inference_us: int | None = None,
        faults: Sequence[str] = (),
        efuses: Sequence[str] = (),
        microphone: Path | None = None,
    ) -> None:
        """Start a board, with the options of `mww virtual`.

        Raises:
            VirtualBoardError: It does not start; the message is the board's.
        """
        words = ["virtual", "--json", "--until-stdin-ends", "--chip", chip, "--transport", transport]
        given = (("--state", state), ("--baud", baud), ("--inference-us", inference_us), ("--microphone", microphone))
        for option, value in given:
            words += [] if value is None else [option, str(value)]
        for option, values in (("--fault", faults), ("--efuse", efuses)):
            words += [word for value in values for word in (option, value)]
        self._process: subprocess.Popen[bytes] | None = start_child("harness.cli", *words, stderr=subprocess.DEVNULL)
        try:
            self.port = self._first_word(self._process)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int | None:
        """The board's process id; None once it is closed."""
        return self._process.pid if self._process else None

    def close(self) -> None:
        """Switch the board off; harmless a second time."""
        process, self._process = self._process, None
        if process is not None:
            end_child(process, _END_DEADLINE)

    @staticmethod
    def _first_word(process: subprocess.Popen[bytes]) -> str:
        """Wait for the JSON document with the port, or with an error."""
        assert process.stdout is not None
        deadline, message = time.monotonic() + _START_DEADLINE, b""
        while (left := deadline - time.monotonic()) > 0 and select.select([process.stdout], [], [], left)[0]:
            piece = os.read(process.stdout.fileno(), 4096)
            message += piece
            try:
                document = json.loads(message)
            except ValueError:
                if piece:
                    continue
                raise VirtualBoardError("the virtual board ended while it started", hint="try mww virtual") from None
            if "error" in document:
                raise VirtualBoardError.from_facts(ErrorFacts.from_json(document["error"]))
            return str(document["port"])
        raise VirtualBoardError("the virtual board does not start", hint="try mww virtual")
