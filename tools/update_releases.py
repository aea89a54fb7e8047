"""Brings `mww/esphome/releases.toml` up to date from ESPHome's own packages.

    python -m tools.update_releases                  # downloads every final release that is newer than the data
    python -m tools.update_releases 2026.12.0        # downloads these releases
    python -m tools.update_releases --wheels FOLDER  # reads the wheels in a folder

Wheels are read as archives: nothing of them is installed, imported or run. An entry is written where a release differs
from the one before it. What a wheel cannot say (the newest esp-nn on the day of a release that pins none) is kept.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Final

from mww.core.errors import EsphomeError
from mww.core.files import write_files
from mww.esphome.releases import (
    DATA,
    Release,
    ReleaseFacts,
    known_releases,
    newest_release,
    read_release,
    read_releases,
    release_key,
)

_WHEEL: Final = re.compile(r"esphome-([\w.]+)-py3-none-any\.whl")
_FINAL: Final = re.compile(r"\d{4}\.\d{1,2}\.\d{1,2}")
_HEAD: Final = """\
# What ESPHome's releases build micro_wake_word with; each entry stands for the releases up to the next one.
# Written by `python -m tools.update_releases` from the packages of the releases under `read`. Only `esp_nn_then`,
# the newest esp-nn when a release came out that pins none, is kept by hand.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Read wheels, write the data, and print what changed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("releases", nargs="*", metavar="RELEASE")
    parser.add_argument("--wheels", type=Path, metavar="FOLDER")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        wheels = options.wheels or Path(folder)
        if options.wheels is None:
            for release in options.releases or _newer(newest_release()):
                _download(release, wheels)
        facts = read_wheels(wheels)
    if not facts:
        print(f"ESPHome {newest_release()} is the newest release on the package index; nothing to do")
        return 0
    merged = merge(known_releases(), facts)
    read = sorted({*read_releases(), *facts}, key=release_key)
    write_files({DATA: render(merged, read).encode()})
    print(f"read {', '.join(sorted(facts, key=release_key))}; {len(merged)} entries; the newest is {read[-1]}")
    return 0


def read_wheels(folder: Path) -> dict[str, ReleaseFacts]:
    """The facts of every ESPHome wheel in a folder, by release."""
    facts = {}
    for path in sorted(folder.glob("esphome-*.whl")):
        match = _WHEEL.fullmatch(path.name)
        if match is None:
            continue
        with zipfile.ZipFile(path) as archive:
            metadata = archive.read(f"esphome-{match[1]}.dist-info/METADATA").decode()
            facts[match[1]] = read_release(match[1], metadata, partial(_text, archive))
    return facts


def _text(archive: zipfile.ZipFile, name: str) -> str:
    return archive.read(name).decode()


def merge(known: Iterable[Release], facts: Mapping[str, ReleaseFacts]) -> tuple[Release, ...]:
    """The entries with new facts in their places, without those that say the same as the one before."""
    then = {release.since: release.esp_nn_then for release in known}
    every = {release.since: release.facts for release in known} | dict(facts)
    merged: list[Release] = []
    for since in sorted(every, key=release_key):
        if merged and merged[-1].facts == every[since]:
            continue
        unpinned = every[since].esp_nn is None
        esp_nn_then = then.get(since) or (merged[-1].esp_nn_then if merged and unpinned else None)
        merged.append(Release(since, every[since], esp_nn_then if unpinned else None))
    return tuple(merged)


def render(releases: Iterable[Release], read: Sequence[str]) -> str:
    """The data file's text."""
    lines = ["read = [", *(f'    "{name}",' for name in read), "]"]
    for release in releases:
        entry = {"since": release.since, **asdict(release.facts), "esp_nn_then": release.esp_nn_then}
        lines += ["", "[[release]]"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in entry.items() if value is not None]
    return "\n".join([_HEAD, *lines, ""])


def _newer(release: str) -> list[str]:
    """Final releases on the package index that are newer than one, oldest first."""
    command = [sys.executable, "-m", "pip", "index", "versions", "esphome", "--ignore-requires-python"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    names = {name for name in re.findall(r"[\d.]+", listed.stdout) if _FINAL.fullmatch(name)}
    if not names:
        raise EsphomeError("pip lists no release of ESPHome", hint="check the package index, or give --wheels FOLDER")
    return sorted((name for name in names if release_key(name) > release_key(release)), key=release_key)


def _download(release: str, folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", "3.13", "--dest", str(folder), f"esphome=={release}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["pip gives no reason"])[-1]
        raise EsphomeError(f"esphome {release} cannot be downloaded: {reason}", hint="check the release's number")


if __name__ == "__main__":
    sys.exit(main())
