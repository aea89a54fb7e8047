"""Starting Python children that import the same code as this process."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from subprocess import PIPE, Popen, TimeoutExpired
from typing import IO, Final

# `python -m` would put the working directory first, where a folder with the name of one of our packages may be.
_BOOTSTRAP: Final = (
    "import importlib, json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "
    "importlib.import_module(sys.argv.pop(1)).main(sys.argv[1:])"
)


def start_child(
    module: str,
    *words: str,
    stdout: int | IO[bytes] = PIPE,
    stderr: int | IO[bytes] | None = None,
    pass_fds: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
) -> Popen[bytes]:
    """Start a child whose `main(words)` of `module` runs with this process' import path.

    It works until its standard input ends, so that it also ends with this process. Ctrl-C, which a terminal sends to
    every process of its group, does not reach it.
    """
    return Popen(
        [sys.executable, "-c", _BOOTSTRAP, json.dumps(sys.path), module, *words],
        stdin=PIPE,
        stdout=stdout,
        stderr=stderr,
        pass_fds=pass_fds,
        env=environment,
        start_new_session=True,
    )


def end_child(process: Popen[bytes], seconds: float) -> None:
    """Close a child's standard input, and kill the child if it has not ended after `seconds`."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    try:
        process.wait(seconds)
    except TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
