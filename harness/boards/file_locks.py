"""Leases of this machine's boards: file locks, which the kernel drops when their holder dies.

A lock belongs to the board (serial number and MAC), never to the port where it is plugged in.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import stat
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Final

from harness.boards.claims import Claim, Holder, LeaseError
from harness.boards.inventory import Board
from harness.serial.ports import current_user

_MAX_HOLDER_BYTES: Final = 4096
_MODE: Final = 0o644  # everybody may see whether it is locked, and by whom
_FLAGS: Final = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_TAKEN: Final = (errno.EWOULDBLOCK, errno.EACCES)


def lease_dir() -> Path:
    """Where the lock files are, the same for every user of the machine.

    `MWW_LEASE_DIR`, else `/run/lock` where everybody may write there, else `/tmp`. In these the sticky bit keeps one
    user from removing another's files.
    """
    given = os.environ.get("MWW_LEASE_DIR")
    if given:
        return Path(given)
    shared = Path("/run/lock")
    try:
        mode = shared.stat().st_mode
    except OSError:
        mode = 0
    return shared if mode & stat.S_ISVTX and mode & stat.S_IWOTH else Path("/tmp")


class FileLocks:
    """The provider for boards of this machine."""

    patience = 0.3  # `holder` locks for a moment to see whether anybody does
    queue = 0.0

    def claim(self, board: Board, purpose: str) -> Claim:
        """See `LeaseProvider`."""
        return _FileClaim(board, purpose)

    def holder(self, board: Board) -> Holder | None:
        """See `LeaseProvider`."""
        for name in board.locks:
            for path in _lock_files(name):
                lock = _open_to_look(path)
                if lock is None:
                    continue
                try:
                    if not _flock(lock, fcntl.LOCK_SH):
                        return _read_holder(lock, board)
                finally:
                    os.close(lock)
        return None


class _FileClaim:
    """The locks of one board: all, or none."""

    def __init__(self, board: Board, purpose: str) -> None:
        self._board, self._purpose = board, purpose
        self._locks: dict[Path, int] = {}

    def poll(self) -> Board | None:
        """See `Claim`."""
        locks = _try_lock(self._board, self._purpose)
        if locks is None:
            return None
        self._locks = locks
        return self._board

    def release(self) -> None:
        """See `Claim`."""
        for path in self._locks:
            path.unlink(missing_ok=True)  # while it is still locked; a process that has it open already will notice
        self.forget()

    def forget(self) -> None:
        """Close the locks; the board stays leased where another process holds copies of them."""
        while self._locks:
            os.close(self._locks.popitem()[1])


def _stem(name: str) -> str:
    return f"mww-board-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:16]}"


def _lock_files(name: str) -> list[Path]:
    """Every user's lock file for a board."""
    return sorted(lease_dir().glob(f"{_stem(name)}.*.lock"))


def _try_lock(board: Board, purpose: str) -> dict[Path, int] | None:
    """Lock all of a board's names, or none.

    Each user has files of their own, which nobody else can remove or write to. A process that has locked its file
    checks the files of all other users, so at most one of two users gets the board.
    """
    since = datetime.now(timezone.utc).isoformat("T", "seconds")
    note = json.dumps(asdict(Holder(board.id, os.getpid(), current_user(), since, purpose))).encode()
    locks: dict[Path, int] = {}
    try:
        for name in board.locks:
            own = lease_dir() / f"{_stem(name)}.{os.geteuid()}.lock"
            lock = _open_locked(own)
            if lock is None:
                return None
            locks[own] = lock
            os.ftruncate(lock, 0)
            os.pwrite(lock, note[:_MAX_HOLDER_BYTES], 0)
            if any(_locked_by_another(path, lock) for path in _lock_files(name)):
                return None
        taken, locks = locks, {}
        return taken
    finally:
        for lock in locks.values():
            os.close(lock)


def _locked_by_another(path: Path, own: int) -> bool:
    lock = _open_to_look(path)
    if lock is None:
        return False
    try:
        return not os.path.sameopenfile(lock, own) and not _flock(lock, fcntl.LOCK_SH)
    finally:
        os.close(lock)


def _open_to_look(path: Path) -> int | None:
    """Open a lock file of any user; None where it is gone or is not a lock file."""
    try:
        return _regular(path, os.open(path, _FLAGS | os.O_RDONLY))
    except (OSError, LeaseError):
        return None


def _open_locked(path: Path) -> int | None:
    """Open and lock a lock file of this user's; None when another process has it."""
    while True:
        try:
            lock = _regular(path, os.open(path, _FLAGS | os.O_RDWR | os.O_CREAT, _MODE))
            _check_mine(path, lock)
            os.fchmod(lock, _MODE)  # past the umask
        except OSError as error:
            hint = "MWW_LEASE_DIR names another folder, the same for every user of the boards"
            raise LeaseError(f"cannot use the lock file {path}: {error.strerror}", hint=hint) from error
        if not _flock(lock, fcntl.LOCK_EX):
            os.close(lock)
            return None
        try:
            current = path.stat(follow_symlinks=False)
        except FileNotFoundError:
            current = None
        if current is not None and os.path.samestat(current, os.fstat(lock)):
            return lock
        os.close(lock)  # removed between opening and locking: such a lock excludes nobody


def _regular(path: Path, lock: int) -> int:
    if not stat.S_ISREG(os.fstat(lock).st_mode):
        os.close(lock)
        raise LeaseError(f"{path} is not a lock file", hint="another program put something else there: remove it")
    return lock


def _check_mine(path: Path, lock: int) -> None:
    """Refuse a file that another user could remove while it is locked, or that has another name, and is not ours."""
    status = os.fstat(lock)
    if status.st_uid != os.geteuid() or status.st_nlink > 1:
        os.close(lock)
        raise LeaseError(f"{path} is not this user's lock file", hint="another user put it there: remove it")


def _flock(lock: int, kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        raise
    return True


def _read_holder(lock: int, board: Board) -> Holder:
    """What the holder wrote, or `unknown` where it cannot be used."""
    try:
        note = json.loads(os.pread(lock, _MAX_HOLDER_BYTES, 0))
        texts = [str(note[key])[:100] for key in ("board", "user", "since", "purpose")]
        return Holder(texts[0], int(note["pid"]), texts[1], texts[2], texts[3])
    except (ValueError, KeyError, TypeError, RecursionError):
        return Holder(board.id, 0, "unknown", "unknown", "unknown")
