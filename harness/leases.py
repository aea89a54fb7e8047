"""Who may use a board now: one lease at a time on a machine, by a lock that the kernel drops when its holder dies.

The lock is keyed on what the board is (serial number and MAC), never on where it is plugged in.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import stat
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final

from exporter.errors import MwwError
from harness.boards import Board
from harness.ports import board_at, current_user, scan

if TYPE_CHECKING:
    from typing_extensions import Self

_POLL_SECONDS: Final = 0.1
_GRACE_SECONDS: Final = 0.3  # `holder` locks for a moment to see whether anybody does
_MAX_HOLDER_BYTES: Final = 4096
_MODE: Final = 0o666  # every user may lock a board, and say so; only the file's owner or root can remove the file
_TAKEN: Final = (errno.EWOULDBLOCK, errno.EACCES)


class BoardBusyError(MwwError):
    """Somebody else holds the board."""

    code = "board-busy"


class LeaseError(MwwError):
    """The lock files cannot be used."""

    code = "lease"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a board, as the holder says; for people, and not proof of anything.

    Attributes:
        board: The id in the holder's own inventory.
        pid: The process.
        user: Its user.
        since: UTC, ISO 8601.
        purpose: Such as `mww run` or `pytest gw1`.
    """

    board: str
    pid: int
    user: str
    since: str
    purpose: str

    def __str__(self) -> str:
        return f"{self.user}'s process {self.pid} ({self.purpose}) since {self.since}"


def lease_dir() -> Path:
    """Where the lock files are, the same for every user of the machine.

    `MWW_LEASE_DIR`, else `/run/lock` where everybody may write there, else `/tmp`. In both the sticky bit keeps one
    user from removing another's lock.
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


class Lease:
    """A board that nobody else uses, until `release`, the end of the `with`, or the death of this process."""

    def __init__(self, board: Board, locks: Sequence[int]) -> None:
        self.board = board
        self._locks = list(locks)
        _held.add(self)

    @property
    def held(self) -> bool:
        """Whether it is not released yet."""
        return bool(self._locks)

    def release(self) -> None:
        """Give the board back; harmless a second time."""
        while self._locks:
            os.close(self._locks.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


_held: weakref.WeakSet[Lease] = weakref.WeakSet()


def _forget_in_child() -> None:
    """Close a forked child's copies of the locks, which would outlive this process and keep its boards taken."""
    for lease in list(_held):
        lease.release()


os.register_at_fork(after_in_child=_forget_in_child)


def acquire(board: Board, *, purpose: str, timeout: float = 0.0) -> Lease:
    """Lease one board; see `acquire_any`."""
    return acquire_any((board,), purpose=purpose, timeout=timeout)


def acquire_any(boards: Sequence[Board], *, purpose: str, timeout: float = 0.0) -> Lease:
    """Lease the first of `boards` that is free, in their order, waiting up to `timeout` seconds for one.

    Raises:
        BoardBusyError: None became free; the message says who holds them.
        LeaseError: The lock files cannot be used.
    """
    deadline = time.monotonic() + max(timeout, _GRACE_SECONDS)
    while True:
        for board in boards:
            locks = _try_lock(board, purpose)
            if locks is not None:
                return Lease(board, locks)
        left = deadline - time.monotonic()
        if left <= 0:
            raise _busy(boards, timeout)
        time.sleep(min(_POLL_SECONDS, left))


@contextmanager
def hold_port(port: str, *, purpose: str) -> Iterator[None]:
    """Lease the board at a port that no inventory named, unless this process already has it.

    Raises:
        BoardBusyError: Somebody else holds it.
        LeaseError: The lock files cannot be used.
    """
    board = board_at(port, scan())
    if any(set(board.identities) & set(lease.board.identities) for lease in _held if lease.held):
        yield
        return
    with acquire(board, purpose=purpose):
        yield


def holder(board: Board) -> Holder | None:
    """Who holds a board now; None when it is free."""
    for name in board.identities:
        path = _lock_path(name)
        try:
            lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise _unusable(path, error) from error
        try:
            if not _flock(lock, fcntl.LOCK_SH):
                return _read_holder(lock, board)
        finally:
            os.close(lock)
    return None


def _busy(boards: Sequence[Board], timeout: float) -> BoardBusyError:
    said = "; ".join(f"{board.id}: {holder(board) or 'released just now'}" for board in boards)
    waited = f" after {timeout:g} s" if timeout else ""
    count = "the board is" if len(boards) == 1 else f"all {len(boards)} boards are"
    return BoardBusyError(f"{count} in use{waited}: {said}", hint="wait for it, or end that process; mww boards list")


def _lock_path(name: str) -> Path:
    return lease_dir() / f"mww-board-{hashlib.sha256(name.encode()).hexdigest()[:16]}.lock"


def _try_lock(board: Board, purpose: str) -> list[int] | None:
    """Lock every identity of a board, or none."""
    locks: list[int] = []
    for name in board.identities:
        lock = _open_locked(_lock_path(name))
        if lock is None:
            for taken in locks:
                os.close(taken)
            return None
        locks.append(lock)
    since = datetime.now(timezone.utc).isoformat("T", "seconds")
    note = Holder(board.id, os.getpid(), current_user(), since, purpose)
    content = json.dumps(asdict(note)).encode()[:_MAX_HOLDER_BYTES]
    for lock in locks:
        os.ftruncate(lock, 0)
        os.pwrite(lock, content, 0)
    return locks


def _open_locked(path: Path) -> int | None:
    """Open and lock a lock file; None when somebody else holds it."""
    while True:
        lock = _open(path)
        if not _flock(lock, fcntl.LOCK_EX):
            os.close(lock)
            return None
        try:
            current = path.stat(follow_symlinks=False)
        except FileNotFoundError:
            current = None
        if current is not None and os.path.samestat(current, os.fstat(lock)):
            return lock
        os.close(lock)  # cleaned away between opening and locking: that lock excludes nobody


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        if not path.exists():
            _create(path)
        lock = os.open(path, flags)
    except OSError as error:
        raise _unusable(path, error) from error
    if not stat.S_ISREG(os.fstat(lock).st_mode):
        os.close(lock)
        raise LeaseError(f"{path} is no lock file", hint="somebody put something else there: remove it")
    return lock


def _create(path: Path) -> None:
    """Make a lock file, for every user from its first moment on; harmless where another process is first."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    new = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
    try:
        os.fchmod(new, _MODE)  # past the umask
        with contextlib.suppress(FileExistsError):
            os.link(beside, path, follow_symlinks=False)
    finally:
        os.close(new)
        beside.unlink()


def _unusable(path: Path, error: OSError) -> LeaseError:
    hint = "it must be a file that every user of the boards can write; MWW_LEASE_DIR names another folder for all"
    return LeaseError(f"cannot use the lock file {path}: {error.strerror}", hint=hint)


def _flock(lock: int, kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        raise
    return True


def _read_holder(lock: int, board: Board) -> Holder:
    """What the holder wrote, or `unknown` where that is nothing usable: any user can write to the file."""
    try:
        note = json.loads(os.pread(lock, _MAX_HOLDER_BYTES, 0))
        texts = [str(note[key])[:100] for key in ("board", "user", "since", "purpose")]
        return Holder(texts[0], int(note["pid"]), texts[1], texts[2], texts[3])
    except (ValueError, KeyError, TypeError, RecursionError):
        return Holder(board.id, 0, "unknown", "unknown", "unknown")
