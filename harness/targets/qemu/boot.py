"""The first moments of a firmware in QEMU: until it answers at its port, or why it does not."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection
from typing import Final

from harness.targets.device import DeviceTarget, Housing
from harness.targets.qemu.process import QemuProcess
from harness.targets.registry import TargetOptions
from mww.core.errors import LinkError, PortMissingError, QemuError

_START_SECONDS: Final = 30.0
_TIMEOUT: Final = 300.0
"""Seconds, ten times a board's: an emulated chip is the slower, the busier the computer is."""
_LOG_LINES: Final = 12
_OWN_LINES: Final = 3


def greet(
    process: QemuProcess, options: TargetOptions, housing: Housing, hint: str, port: str | None = None
) -> DeviceTarget:
    """Open the firmware's port as soon as QEMU listens there.

    `hint` says what to do where QEMU or the firmware says nothing; `port` is another way to the port than QEMU's own.

    Raises:
        QemuError: It does not boot.
    """
    log: deque[str] = deque(maxlen=_LOG_LINES)
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            return DeviceTarget(port or process.port, options, housing=housing, timeout=_TIMEOUT, on_log=log.append)
        except PortMissingError as error:  # it does not listen yet, or has ended
            if process.ended or time.monotonic() > deadline:
                raise _failure("QEMU does not start", process, log, hint) from error
        except LinkError as error:
            message = f"the firmware in QEMU does not answer: {error.message}"
            raise _failure(message, process, log, hint) from error
        time.sleep(0.1)


def _failure(message: str, process: QemuProcess, log: Collection[str], hint: str) -> QemuError:
    """The error with QEMU's own last words, and the end of the boot log as its hint, where there is one."""
    own = " | ".join(process.log()[-_OWN_LINES:])
    if log:
        hint = "the boot log ends: " + " | ".join(line.strip() for line in log)
    return QemuError(f"{message}: {own}" if own else message, hint=hint)
