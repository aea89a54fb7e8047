"""Mutated models through the interpreters, which crash on some: each is one error, and the models beside it run on."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.reliability.mutation import mutated
from benchmarks.reliability.processes import published
from harness.check import check_models
from harness.run.options import RunOptions
from mww.core.errors import MwwError
from mww.esphome.model import load_model


def try_models(engine: str, count: int, seed: int) -> Iterator[str | None]:
    """Run `count` mutated models that the parser takes, each before a good one; yields what was lost, or None."""
    chance = random.Random(f"{engine} {seed}")
    names = ("okay_nabu", "hey_jarvis", "alexa")
    good = load_model(published() / "okay_nabu.json")
    clips = {"a": np.zeros((90, 40), np.int8), "b": np.ones((60, 40), np.int8)}
    options = RunOptions(engine=engine)
    expected = check_models([good], clips, options)[0]
    with tempfile.TemporaryDirectory(prefix="mww-mutated-") as scratch:
        path = Path(scratch) / "mutated.tflite"
        tried = 0
        while tried < count:
            path.write_bytes(mutated((published() / f"{chance.choice(names)}.tflite").read_bytes(), chance))
            try:
                hostile = load_model(path)
            except MwwError:
                continue  # refused before any interpreter sees it
            tried += 1
            try:
                bad, after = check_models([hostile, good], clips, options)
            except MwwError as error:
                yield f"the run ended: {error.message:.120}"
                continue
            if any(clip.status == "error" and clip.error is None for clip in bad.clips):
                yield "an error without a reason"
            elif [c.outputs_sha256 for c in after.clips] != [c.outputs_sha256 for c in expected.clips]:
                yield f"the good model after it gave {after.verdict}"
            else:
                yield None
