"""Every option and argument that takes a path, with what can stand at one: one error, and nothing is left."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest

from harness.cli import execute, mww
from harness.clips.npz import write_archive

BASES = {
    "export": "--checkpoint {checkpoint} --output out --calibration {features} --allow-small-calibration",
    "recover": "{model} --output r.h5",
    "verify": "{manifest}",
    "manifest": "{model}",
    "optimize": "{model} --output o.tflite",
    "arena": "{manifest} --write",
    "budget": "{manifest}",
    "analyze": "{model}",
    "compare": "{model} {model}",
    "features": "{wav} --output f.npz",
    "listen": "{manifest} --input {wav}",
    "record": "{manifest} --features {features} --output g.npz",
    "synth": "computer --output syn",
    "cutoff": "{manifest} --clips {folder}",
    "run": "{manifest} --features {features} --engine exact",
    "compare-runs": "{manifest} {manifest}",
    "bisect": "{model} --features {features} --target emulator --engine exact",
    "firmware": "esp32s3 --output fw",
    "flash": "--port /dev/nothing --model {manifest}",
    "boards list": "",
    "boards check": "",
    "explain": "{log}",
}
"""Words with which a verb would go on; each is tried with one of them replaced."""
SLOW = {"virtual", "demo", "bench", "boards scan", "doctor", "matrix"}
"""Verbs that serve, measure, look for hardware, or take seconds."""
OUTPUTS = re.compile("output|page|report|junit|allowance|save|write|state|port_file")
STEERS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]")


def _commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield " ".join(path), command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        assert inner is not None
        yield from _commands(inner, (*path, name))


def _takes_path(parameter: click.Parameter) -> bool:
    known = isinstance(parameter.type, (click.Path, click.types.FuncParamType))
    return known or (parameter.name in ("models", "source") and parameter.type is click.STRING)


@pytest.fixture
def words(tmp_path: Path, models: Path) -> dict[str, Path]:
    """What a verb takes, and what stands at a path in its place."""
    given = tmp_path / "given"
    (given / "folder" / "positive").mkdir(parents=True)
    write_archive(given / "f.npz", [("a", np.zeros((30, 40), np.int8))])
    (given / "clip.wav").write_bytes(b"RIFF")
    (given / "log").write_text("nothing\n")
    os.mkfifo(given / "pipe")
    with (given / "sparse").open("wb") as file:
        file.truncate(40 << 30)
    checkpoint = Path(__file__).parents[2] / "exporter" / "checkpoints" / "residual" / "model.keras"
    return {
        "model": models / "okay_nabu.tflite",
        "manifest": models / "okay_nabu.json",
        "features": given / "f.npz",
        "wav": given / "clip.wav",
        "log": given / "log",
        "folder": given / "folder",
        "checkpoint": checkpoint,
    }


def _with(base: list[str], parameter: click.Parameter, value: str) -> list[str]:
    if isinstance(parameter, click.Argument):
        return [value, *base[1:]]
    flag = parameter.opts[0]
    if flag in base:
        place = base.index(flag)
        return [*base[:place], f"{flag}={value}", *base[place + 2 :]]
    return [*base, f"{flag}={value}"]


def test_no_path_of_any_verb_holds_it_or_leaves_a_trace(
    words: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    (here / "tmp").mkdir(parents=True)
    monkeypatch.chdir(here)
    monkeypatch.setattr(tempfile, "tempdir", str(here / "tmp"))
    given = words["log"].parent
    inputs = (given / "pipe", given / "sparse", Path("a\udcff\x1b[31m\nb" * 40))
    outputs = (words["log"] / "below",)
    tried = 0
    for verb, command in _commands(mww):
        if verb in SLOW:
            continue
        base = [word.format(**words) for word in BASES[verb].split()]
        for parameter in command.params:
            if not _takes_path(parameter):
                continue
            for value in outputs if OUTPUTS.search(str(parameter.name)) else inputs:
                case = [*verb.split(), *_with(base, parameter, str(value))]
                before = set(here.rglob("*"))
                code = execute(mww, case)
                printed = capfd.readouterr()
                assert code in (0, 1, 2), case
                assert not STEERS.search(printed.out + printed.err), case
                assert max(map(len, printed.err.splitlines()), default=0) < 600, case
                if code == 2:
                    assert len(re.findall("^error: ", printed.err, re.MULTILINE)) == 1, (case, printed.err)
                    assert re.search("^ hint: .", printed.err, re.MULTILINE), (case, printed.err)
                    assert set(here.rglob("*")) <= before, case
                tried += 1
    assert tried > 100
