"""A model or manifest that was damaged on its way gives a verdict or one error, and never a crash."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from mww.core.errors import MwwError
from mww.verification import verify_esphome_compatibility
from tests.support.examples import examples

VALUES: list[Any] = [
    None,
    0,
    -1,
    1e308,
    10**400,
    "",
    "x" * 9999,
    [],
    {},
    True,
    [[[]]],
    "../m.tflite",
    "m.tflite\0",
    ".",
]


def damaged(content: bytes, chance: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 5])):
        position = chance.randrange(max(0, len(data) - 20_000), len(data) - 4) & ~3
        word = chance.choice([0, 1, 2, 9, 0xFF, 0xFFFF, 2**31 - 1, 2**32 - 1])
        data[position : position + 4] = word.to_bytes(4, "little")
    return bytes(data)


def altered(content: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    target = content if chance.random() < 0.5 else content["micro"]
    key = chance.choice(list(target))
    if chance.random() < 0.2:
        del target[key]
    else:
        target[key] = chance.choice(VALUES)
    return content


@pytest.mark.parametrize("name", ["alexa", "hey_jarvis", "hey_mycroft", "okay_nabu"])
def test_a_damaged_model_or_manifest(published: dict[str, Path], tmp_path: Path, name: str) -> None:
    chance = random.Random(name)
    seen = set()
    for _ in range(examples(30)):
        model = damaged(published[name].read_bytes(), chance)
        manifest = json.loads(published[name].with_suffix(".json").read_text())
        if chance.random() < 0.4:
            manifest = altered(manifest, chance)
        (tmp_path / f"{name}.tflite").write_bytes(model)
        (tmp_path / "manifest.json").write_text(json.dumps(manifest))
        try:
            seen.add(verify_esphome_compatibility(tmp_path / "manifest.json").compatible)
        except MwwError as error:
            assert error.exit_code == 2
            seen.add(type(error).__name__)
    assert {True, False, "ModelFileError"} <= seen
