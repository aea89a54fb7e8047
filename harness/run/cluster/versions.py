"""What decides an output byte, by version, here and on every worker: a cluster gives one result only if all agree."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import TypeAlias

import exporter
import harness
import mww
from harness.engines.catalog import ENGINES, default_engine
from harness.run.workbench import Setup
from mww.core.versions import NOT_INSTALLED, distribution_version

Versions: TypeAlias = tuple[tuple[str, str], ...]


def packages(setup: Setup) -> tuple[str, ...]:
    """The packages beside our own that have a part in a run's outputs."""
    used = (setup.options.engine or default_engine(), setup.golden_engine, setup.vad_engine)
    engines = {name for name in used if name and ENGINES[name].version is None}
    return ("pymicro-features", *sorted(ENGINES[name].distribution for name in engines))


def versions_here(names: tuple[str, ...]) -> Versions:
    """Our version, what our sources are, and the versions of packages, in this process."""
    own = (("mww-harness", mww.__version__), ("mww-harness's sources", _sources()[:12]))
    return own + tuple((name, (distribution_version(name) or NOT_INSTALLED)) for name in names)


def differences(here: Versions, there: Versions) -> str:
    """What is not the same, for people; empty where all is."""
    result = dict(there)
    return "; ".join(
        f"{name} {result.get(name, 'unknown')}, not {version}" for name, version in here if result.get(name) != version
    )


@cache
def _sources() -> str:
    """The sha256 of our Python files: two checkouts may call themselves by one version."""
    digest = hashlib.sha256()
    for package in (mww, exporter, harness):
        root = Path(str(package.__file__)).parent
        for path in sorted(root.rglob("*.py")):
            digest.update(f"{path.relative_to(root)}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
