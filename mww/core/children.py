"""Starting Python children that import the same code as this process."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Final

# `python -m` would put the working directory first, where a folder with the name of one of our packages may be.
_BOOTSTRAP: Final = (
    "import importlib, json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "
    "importlib.import_module(sys.argv.pop(1)).main(sys.argv[1:])"
)


def child_command(module: str, *words: str) -> list[str]:
    """The command of a child whose `main(words)` of `module` runs with this process' import path."""
    return [sys.executable, "-c", _BOOTSTRAP, json.dumps(sys.path), module, *words]


def start_child(module: str, *words: str, stderr: int | None = None) -> subprocess.Popen[bytes]:
    """Start a child that works until its standard input ends, so that it also ends with this process.

    Ctrl-C, which a terminal sends to every process of its group, does not reach it.
    """
    return subprocess.Popen(
        child_command(module, *words),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        start_new_session=True,
    )


def end_child(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Close a child's standard input, and kill the child if it has not ended after `seconds`."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
