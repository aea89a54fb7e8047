"""Starting Python children that import the same code as this process."""

from __future__ import annotations

import json
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
