"""Releases of ESPHome, each in its own environment, asked whether they accept a wake word's configuration.

An environment is made once in the user's cache, from the package index that pip is set up for. Nothing is compiled:
`esphome compile --only-generate` reads the YAML and the manifest with the release's own code, and writes the sources.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from harness.boards.firmware_project import write_project
from harness.matrix.findings import Aspect, Finding, Row
from harness.matrix.prediction import Subject
from mww.core.errors import EsphomeError
from mww.core.progress import Progress
from mww.esphome.chips import find_chip
from mww.esphome.releases import Release, python_of, read_release, release_key

_NEWEST_PYTHON: Final = 14
_INSTALL_TIMEOUT: Final = 1800
_ESPHOME_TIMEOUT: Final = 300
_GENERATED: Final = "Successfully generated source code"
_TRACEBACK: Final = "Traceback (most recent call last)"
_NOISE: Final = re.compile(r"^(INFO|WARNING|DEBUG|\x1b\[\d+m(INFO|WARNING))|^\s*$|^Failed config")
_SHOWN: Final = 3


def esphome_python(release: str) -> Path:
    """A Python that has the release, or with `latest` the newest on the package index; made on the first call.

    Raises:
        EsphomeError: It cannot be installed, or no Python here runs it.
    """
    import platformdirs
    from filelock import FileLock

    wanted = _newest_listed() if release == "latest" else release
    interpreter, series = _interpreter_for(wanted)
    folder = platformdirs.user_cache_path("mww-harness", ensure_exists=True) / f"esphome-{wanted}-py{series}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    with FileLock(f"{folder}.lock"):
        if not (folder / ".complete").exists():
            _install(interpreter, folder, python, f"esphome=={wanted}")
    return python


def _interpreter_for(release: str) -> tuple[str, str]:
    """A Python that a release runs on, and its version as text: this one, or a newer one on PATH.

    Raises:
        EsphomeError: It does not exist.
    """
    needed = python_of(release)
    if sys.version_info[:2] >= needed:
        return sys.executable, f"{sys.version_info.major}.{sys.version_info.minor}"
    for minor in range(needed[1], _NEWEST_PYTHON + 1):
        path = shutil.which(f"python3.{minor}")
        if path is not None and _run([path, "-c", "import venv, ensurepip"], _ESPHOME_TIMEOUT).returncode == 0:
            return path, f"3.{minor}"
    hint = f"install python3.{needed[1]} or newer; this is Python {sys.version_info.major}.{sys.version_info.minor}"
    raise EsphomeError(f"ESPHome {release} needs Python {needed[0]}.{needed[1]} or newer", hint=hint)


def _newest_listed() -> str:
    """The newest final release on the package index, whatever Python it needs.

    Raises:
        EsphomeError: pip lists none.
    """
    command = [sys.executable, "-m", "pip", "index", "versions", "esphome", "--ignore-requires-python"]
    listed = re.findall(r"\b\d{4}\.\d{1,2}\.\d{1,2}\b", _run(command, _ESPHOME_TIMEOUT).stdout)
    if not listed:
        raise EsphomeError(
            "pip lists no release of ESPHome", hint="it needs pip here (python -m ensurepip) and a package index"
        )
    newest: str = max(listed, key=release_key)
    return newest


def read_installed(release: str) -> Release:
    """What a release's own source says, from its installed package.

    Raises:
        EsphomeError: It cannot be installed, or its source has another form.
    """
    where = (
        "import esphome, importlib.metadata as m; print(esphome.__path__[0]); print(m.distribution('esphome')._path)"
    )
    answer = _run([str(esphome_python(release)), "-c", where], _ESPHOME_TIMEOUT)
    package, _, info = answer.stdout.strip().partition("\n")
    root = Path(package).parent
    try:
        metadata = (Path(info) / "METADATA").read_text("utf-8")
        return Release(release, read_release(release, metadata, lambda name: (root / name).read_text("utf-8")), None)
    except OSError as error:
        hint = "name the library versions with --runtime"
        raise EsphomeError(f"ESPHome {release} has no micro_wake_word that can be read", hint=hint) from error


def check_configurations(
    subjects: Sequence[Subject],
    rows: Sequence[Row],
    releases: Sequence[str],
    chips: Sequence[str],
    progress: Progress,
) -> Iterator[Finding]:
    """Ask releases for the harness's own firmware, and for each model with a manifest, on each chip with a board.

    What a release says stands in its first row: two rows of one release are one configuration.

    Raises:
        EsphomeError: A release cannot be installed, or does not answer.
    """
    places = {release: [row.esphome for row in rows].index(release) for release in releases}
    boards = {chip: board for chip in chips if (board := find_chip(chip).board)}
    manifests = {subject.name: Path(subject.path) for subject in subjects if subject.size is not None}
    asked = [(release, chip, name) for release in places for chip in boards for name in ("", *manifests)]
    for done, (release, chip, name) in enumerate(asked):
        progress("asking ESPHome", done, len(asked))
        python = esphome_python(release)
        with tempfile.TemporaryDirectory() as folder:
            project = write_project(boards[chip], Path(folder), manifests=[manifests[name]] if name else ())
            refusal = _generate(python, project.wake_word or project.config)
        yield _finding(name, places[release], chip, "configuration" if name else "firmware", refusal)
    progress("asking ESPHome", len(asked), len(asked))


def _finding(model: str, row: int, chip: str, aspect: Aspect, refusal: str | None) -> Finding:
    message = refusal or "taken"
    return Finding(model, row, chip, aspect, refusal is None, message, message)


def _generate(python: Path, config: Path) -> str | None:
    """None where ESPHome takes a configuration and writes its sources; else why not, in its words."""
    command = [str(python), "-m", "esphome", "compile", "--only-generate", str(config)]
    result = _run(command, _ESPHOME_TIMEOUT)
    output = result.stdout + result.stderr
    if result.returncode == 0 and _GENERATED in output:
        return None
    message = [line.strip() for line in output.splitlines() if not _NOISE.match(line)] or ["no reason given"]
    if _TRACEBACK in output:
        return message[-1]
    objections = [line for line in message if not line.endswith(":")] or message
    return " ".join(objections[:_SHOWN]).replace(str(config.parent), ".")


def _install(interpreter: str, folder: Path, python: Path, requirement: str) -> None:
    made = _run([interpreter, "-m", "venv", str(folder)], _INSTALL_TIMEOUT)
    if made.returncode == 0:
        made = _run([str(python), "-m", "pip", "install", "--quiet", "--upgrade", requirement], _INSTALL_TIMEOUT)
    if made.returncode:
        lines = (made.stderr.strip() or made.stdout.strip() or "no reason given").splitlines()
        message = next((line for line in lines if line.startswith("ERROR: ")), lines[-1]).removeprefix("ERROR: ")
        hint = "it needs a package index, and a Python that the release takes"
        raise EsphomeError(f"{requirement} cannot be installed: {message[:200]}", hint=hint)
    (folder / ".complete").touch()


def _run(command: list[str], timeout: int) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    try:
        return subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env=environment,
        )
    except subprocess.TimeoutExpired as error:
        raise EsphomeError(
            f"{' '.join(command[1:4])} took more than {timeout} s",
            hint="is the network slow? run it again: what is downloaded stays",
        ) from error
    except OSError as error:
        raise EsphomeError(
            f"cannot start {command[0]}: {error.strerror}",
            hint="check that the Python of this environment still exists",
        ) from error
