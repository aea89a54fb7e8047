"""What of a virtual board outlives its process: flash, chip and MAC, in a folder that one process at a time may use."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from harness.virtual.chips import MAC_PREFIX, VirtualChip
from harness.virtual.factory import factory_parts
from harness.virtual.flash import Flash
from mww.core.errors import InputError, OutputError
from mww.core.files import write_files
from mww.core.readable import open_regular

_FLASH: Final = "flash.bin"
_BOARD: Final = "board.json"
_LOCK: Final = "lock"
_MAX_BOARD_FILE: Final = 4096


@contextmanager
def open_state(folder: Path, chip: VirtualChip) -> Iterator[tuple[Flash, bytes]]:
    """Open a board's flash and tell its MAC; a new board gets a MAC of its own, and carries the virtual firmware.

    Raises:
        InputError: The folder holds another chip's state, or something else.
        OutputError: Another process uses it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / _LOCK, timeout=0)
        lock.acquire()
    except Timeout:
        raise OutputError(
            f"{folder} is in use by another virtual board", hint="give each board its own --state"
        ) from None
    except OSError as error:
        raise OutputError(f"cannot use {folder}: {error}", hint="give a folder that you may write") from error
    try:
        board = folder / _BOARD
        fresh = not board.exists()
        mac = MAC_PREFIX + secrets.token_bytes(2) if fresh else _read_mac(board, chip)
        with Flash(folder / _FLASH, chip.flash_size) as flash:
            if fresh:
                _write_factory(flash, chip)
                content = json.dumps({"chip": chip.name, "mac": mac.hex(":")})
                write_files({board: f"{content}\n".encode()})
            yield flash, mac
    finally:
        lock.release()


def _read_mac(path: Path, chip: VirtualChip) -> bytes:
    try:
        with open_regular(path) as stream:
            board = json.loads(stream.read(_MAX_BOARD_FILE))
        name, mac = board["chip"], bytes.fromhex(board["mac"].replace(":", ""))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is not a virtual board's", hint="give another --state, or delete the folder"
        ) from error
    if name != chip.name or len(mac) != 6:
        raise InputError(f"{path.parent} holds a board of chip {name}", hint=f"--chip {name}, or another --state")
    return mac


def _write_factory(flash: Flash, chip: VirtualChip) -> None:
    flash.erase(0, flash.size)
    for part in factory_parts(chip):
        flash.program(part.offset, part.data)
