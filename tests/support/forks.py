"""Children of the product as forks of a server that has imported it: these tests start hundreds of them.

Within `forked_children`, `ForkedChild` takes the place of `Popen` in `mww.core.children`, here and in the forks.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import IO, Any, ClassVar, Final, NoReturn

from mww.core import children

_FOLDER: Final = gettempdir()
"""Asked for now: a test may change it, and look at what is left in its own."""

_PRELOADED: Final = (
    "harness.cli.virtual",
    "harness.virtual.faults",
    "harness.virtual.server",
    "harness.engines.worker",
)
_MAX_FDS: Final = 8
_NUMBER: Final = struct.Struct("<i")
"""In front of a request its size; in the answer the process id, and later the exit status."""


class ForkedChild:
    """What the product uses of a `Popen`."""

    connect: ClassVar[Callable[[], socket.socket]]
    """A new connection to the server."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        stdin: int,
        stdout: int | IO[bytes],
        stderr: int | IO[bytes] | None,
        pass_fds: Sequence[int],
        env: Mapping[str, str] | None,
        start_new_session: bool,
    ) -> None:
        assert stdin == subprocess.PIPE
        assert start_new_session
        path, module, *words = command[3:]
        request = {
            "path": json.loads(path),
            "module": module,
            "words": words,
            "environment": dict(os.environ if env is None else env),
            "folder": str(Path.cwd()),
            "passed": list(pass_fds),
        }
        self.returncode: int | None = None
        self.stdout: IO[bytes] | None = None
        self._connection = type(self).connect()
        with ExitStack() as sent:
            source, target = os.pipe()
            sent.callback(os.close, source)
            self.stdin: IO[bytes] | None = os.fdopen(target, "wb", 0)
            fds = [source]
            for output in (stdout, stderr):
                if output == subprocess.PIPE:
                    source, target = os.pipe()
                    self.stdout = os.fdopen(source, "rb")
                    fds.append(target)
                    sent.callback(os.close, target)
                elif output == subprocess.DEVNULL:
                    fds.append(sent.enter_context(Path(os.devnull).open("wb")).fileno())
                elif output is None:
                    fds.append(2)
                else:
                    fds.append(output if isinstance(output, int) else output.fileno())
            content = json.dumps(request).encode()
            socket.send_fds(self._connection, [_NUMBER.pack(len(content))], [*fds, *pass_fds])
            self._connection.sendall(content)
        self.pid = _receive(self._connection)
        assert self.pid > 0, "the server has ended"

    def __del__(self) -> None:
        self._connection.close()

    def poll(self) -> int | None:
        """The exit status, if the child has ended."""
        if self.returncode is None and select.select([self._connection], [], [], 0)[0]:
            self.returncode = _receive(self._connection)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, and return the exit status."""
        if self.returncode is None:
            if not select.select([self._connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("a fork", timeout or 0)
            self.returncode = _receive(self._connection)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the child has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask the child to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the child."""
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """Starts at the first connection, and ends when it is left."""

    def __init__(self) -> None:
        self._stack, self._lock = ExitStack(), threading.Lock()
        self._path: Path | None = None

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def connect(self) -> socket.socket:
        """A new connection."""
        with self._lock:
            if self._path is None:
                self._path = self._start(Path(self._stack.enter_context(TemporaryDirectory(dir=_FOLDER))) / "server")
            return _connection(self._path)

    def _start(self, path: Path) -> Path:
        command = [sys.executable, "-c", f"from {__name__} import serve; serve({str(path)!r})"]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        self._stack.enter_context(process)
        assert process.stdin is not None
        assert process.stdout is not None
        self._stack.callback(process.stdin.close)
        assert process.stdout.readline() == b"ready\n"
        return path


@contextmanager
def forked_children(connect: Callable[[], socket.socket]) -> Iterator[None]:
    """Within the block, the product's children are forks of the server at the other end of the connection."""
    former = children.Popen
    ForkedChild.connect = staticmethod(connect)
    children.Popen = ForkedChild  # type: ignore[assignment, misc]
    try:
        yield
    finally:
        children.Popen = former  # type: ignore[misc]


def _connection(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(path))
    return connection


def _receive(connection: socket.socket) -> int:
    """The number that comes next; 0 where the server has ended, after which a child ends with its input."""
    content = connection.recv(_NUMBER.size, socket.MSG_WAITALL)
    number: int = _NUMBER.unpack(content)[0] if content else 0
    return number


# --- The server's side ---


def serve(path: str) -> None:
    """Fork a child for each connection until standard input ends; the children live on."""
    for module in _PRELOADED:
        import_module(module)
    with suppress(ImportError):
        import tflite_micro.runtime  # noqa: F401
    awake, wake = socket.socketpair()
    wake.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wake.fileno())
    running: dict[int, socket.socket] = {}
    with forked_children(lambda: _connection(Path(path))), socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            ready = select.select([0, listener, awake], [], [])[0]
            if awake in ready:
                awake.recv(64)
                _report(running)
            if listener in ready:
                connection = listener.accept()[0]
                request, fds = _request(connection)
                if (pid := os.fork()) == 0:
                    for item in (listener, awake, wake, connection, *running.values()):
                        item.close()
                    _become(request, fds)
                running[pid] = connection
                connection.sendall(_NUMBER.pack(pid))
                for fd in fds:
                    os.close(fd)
            if 0 in ready:
                return


def _report(running: dict[int, socket.socket]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with running.pop(pid) as connection, suppress(OSError):  # the parent may have ended before
            connection.sendall(_NUMBER.pack(os.waitstatus_to_exitcode(status)))


def _request(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    head, fds, _, _ = socket.recv_fds(connection, _NUMBER.size, _MAX_FDS)
    content = connection.recv(_NUMBER.unpack(head)[0], socket.MSG_WAITALL)
    return json.loads(content), fds


def _become(request: dict[str, Any], fds: list[int]) -> NoReturn:
    """In the fork: be what `python -c` would be of the command, to the end of the process."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    for place, fd in enumerate(fds[:3]):
        os.dup2(fd, place)
        os.close(fd)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.path[:] = request["path"]
    passed = dict(zip(map(str, request["passed"]), map(str, fds[3:]), strict=True))
    status = 0
    try:
        import_module(request["module"]).main([passed.get(word, word) for word in request["words"]])
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
    except BaseException:  # noqa: BLE001 -- the edge of a process
        traceback.print_exc()
        status = 1
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(status)
