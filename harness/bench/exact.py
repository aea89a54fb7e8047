"""The exact engine against bare loops over tflite-micro, by the length of the clips; and from sound to verdicts."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np

from harness.bench.inputs import SLICES_A_SECOND, feature_file, model_file, wav_file
from harness.bench.measuring import BUG, Goal, Plan, Row
from harness.bench.programs import Finished, bare, mww, run, run_together
from harness.clips.feature_cache import SIZE_VARIABLE
from harness.engines.exact.engine import ExactModel
from mww.core.errors import BenchmarkError
from mww.core.resources import published_models
from mww.esphome.audio import read_samples
from mww.esphome.contract import SAMPLE_RATE
from mww.esphome.frontend import open_frontend, package_agrees

_LOOP: Final = "bare loop over tflite-micro"
_STRIDE: Final = 3
_STEP: Final = SAMPLE_RATE // SLICES_A_SECOND * 2
_TRIES: Final = 10
"""The best of this many short runs counts: neither side waits for anything."""
_FEW: Final = 3
"""Repetitions of a benchmark that takes most of a minute for each."""
_FOUR: Final = ("okay_nabu", "hey_jarvis", "alexa", "hey_mycroft")


def exact(plan: Plan) -> list[Row]:
    """Run clips of several lengths in this process, one by one or in one line."""
    return [
        _row(plan, "clips of 100 frames, one by one", clips=plan.size(20, 2), frames=100, goal=4.0),
        _row(plan, "60 clips of 100 frames, in one line", clips=plan.size(60, 4), frames=100, goal=8.0, in_line=True),
        _row(plan, "clips of 1,000 frames", clips=4, frames=plan.size(1000, 200), goal=8.0),
        _row(plan, "an hour of features", clips=1, frames=plan.size(120_000, 500), goal=10.0),
    ]


def _row(plan: Plan, what: str, *, clips: int, frames: int, goal: float, in_line: bool = False) -> Row:
    seconds = -(-frames * _STRIDE // SLICES_A_SECOND)
    path = feature_file(plan.scratch / f"{clips} of {frames}.npz", clips=clips, seconds=seconds)
    archive = np.load(path)
    taken = {name: archive[name][: len(archive[name]) // _STRIDE * _STRIDE] for name in archive.files}
    arrays = [slices.reshape(-1, _STRIDE * slices.shape[1]) for slices in taken.values()]
    count = sum(map(len, arrays))
    model = ExactModel(model_file().read_bytes())
    outputs: dict[str, str] = {}

    def own_side() -> float:
        started = time.perf_counter()
        if in_line:
            results = model.infer_clips(arrays)
        else:
            results = []
            for array in arrays:
                model.reset()
                results.append(model.infer(array))
        elapsed = time.perf_counter() - started
        outputs.update(
            (name, hashlib.sha256(part.tobytes()).hexdigest()) for name, part in zip(taken, results, strict=True)
        )
        return count / elapsed

    own_side()  # makes the programs, once for each length
    own, others = plan.by_turns(own_side, lambda: run(bare("tflm_loop", model_file(), path)))
    if any(item.document["outputs"] != outputs for item in others):
        raise BenchmarkError("the exact engine and tflite-micro gave different outputs", hint=BUG)
    return Row(
        what=f"{what}, engine `exact`",
        against=_LOOP,
        unit="frames/s",
        own=tuple(own),
        reference=tuple(count / item.document["seconds"] for item in others),
        comparison="ratio",
        goal=Goal("at least", goal),
        same=f"{count} output bytes",
    )


def sound(plan: Plan) -> list[Row]:
    """Judge an hour of sound with four models: as `mww run` does it, and with TFLite Micro and no cached features."""
    plan = replace(plan, repetitions=min(plan.repetitions, _FEW))
    path = wav_file(plan.scratch / "sound.wav", seconds=plan.size(3600, 4))
    models = [published_models() / f"{name}.json" for name in _FOUR]

    def go(engine: str, megabytes: int, folder: Path) -> Finished:
        words = mww("run", *models, "--wav", path, "--engine", engine, "--json")
        return run(words, {SIZE_VARIABLE: str(megabytes), "XDG_CACHE_HOME": str(folder)})

    def own_side() -> Finished:
        """Without features in the cache; the models were compared with TFLite Micro before, as it happens once."""
        shutil.rmtree(kept / "mww-harness" / "features")
        return go("exact", 2048, kept)

    kept = plan.scratch / "kept"
    go("exact", 2048, kept)
    own, others = plan.by_turns(own_side, lambda: go("tflm", 0, plan.scratch / "none"))
    digests = {tuple(item["clips"][0]["outputs_sha256"] for item in run_.document["runs"]) for run_ in (*own, *others)}
    if len(digests) != 1:
        raise BenchmarkError("the two engines gave different outputs", hint=BUG)
    return [
        Row(
            what="`mww run` of four known models over an hour of sound, engine `exact`, each feature computed once",
            against="the same with engine `tflm`, features computed for each model",
            unit="s",
            own=tuple(item.seconds for item in own),
            reference=tuple(item.seconds for item in others),
            comparison="ratio",
            goal=Goal("at most", 1 / 3),
            same="all output bytes of four models",
        ),
        *([_frontend(plan)] if package_agrees() else []),
    ]


def sound_jobs(plan: Plan) -> list[Row]:
    """Compare two jobs with two separate runs side by side, over clips whose features are not cached."""
    seconds, clips = plan.size(300, 2), 24
    halves = [plan.scratch / "clips" / part for part in ("first", "second")]
    for number in range(clips):
        halves[number % 2].mkdir(parents=True, exist_ok=True)
        wav_file(halves[number % 2] / f"{number}.wav", seconds=seconds)
    words = ("run", published_models() / f"{_FOUR[0]}.json", "--engine", "exact", "--json")
    no_cache = {SIZE_VARIABLE: "0"}

    def go(jobs: int) -> Finished:
        return run(mww(*words, "--wav", halves[0], "--wav", halves[1], "--jobs", jobs), no_cache)

    def apart() -> tuple[list[Finished], Finished]:
        return run_together([mww(*words, "--wav", folder) for folder in halves], no_cache), go(1)

    own, others = plan.by_turns(lambda: go(2), apart)
    pairs, alone = zip(*others, strict=True)
    if len({tuple(clip["outputs_sha256"] for clip in item.document["clips"]) for item in (*own, *alone)}) != 1:
        raise BenchmarkError("two processes gave different outputs", hint=BUG)
    times = {
        "against one job": [single.seconds / double.seconds for single, double in zip(alone, own, strict=True)],
        "two runs side by side, against one job": [
            single.seconds / max(item.seconds for item in pair) for single, pair in zip(alone, pairs, strict=True)
        ],
    }
    return [
        Row(
            what=f"`mww run --jobs 2` over {clips} clips, {clips * seconds / 3600:g} hours of sound, engine `exact`",
            against="two runs side by side, with half of the clips each: what two processes reach on this machine",
            unit="s of sound/s",
            own=tuple(clips * seconds / item.seconds for item in own),
            reference=tuple(clips * seconds / max(item.seconds for item in pair) for pair in pairs),
            comparison="ratio",
            goal=Goal("at least", 0.9),
            same="all output bytes, of one job too",
            notes=tuple((name, f"{median(ratios):.2f} times as fast") for name, ratios in times.items()),
        )
    ]


def _frontend(plan: Plan) -> Row:
    """Compare the front-end's wrapper, which the whole product uses, with the bare C function of the package."""
    from pymicro_features import create_frontend, process_samples

    sound = b"".join(read_samples(wav_file(plan.scratch / "minute.wav", seconds=plan.size(60, 2))))
    steps = [sound[start : start + _STEP] for start in range(0, len(sound), _STEP)]

    def microseconds(work: Callable[[], object]) -> float:
        started = time.perf_counter()
        work()
        return (time.perf_counter() - started) / len(steps) * 1e6

    def wrapped() -> None:
        open_frontend().process(sound)

    def bare_calls() -> None:
        state = create_frontend()
        for step in steps:
            process_samples(state, step)

    own: list[float] = []
    others: list[float] = []
    for _ in range(plan.repetitions):
        tries = [(microseconds(wrapped), microseconds(bare_calls)) for _ in range(_TRIES)]
        own.append(min(first for first, _ in tries))
        others.append(min(second for _, second in tries))
    return Row(
        what="a slice of features, through the product's own wrapper",
        against="the bare call of `pymicro-features`, without a check of its floats",
        unit="us",
        own=tuple(own),
        reference=tuple(others),
        comparison="ratio",
        goal=Goal("at most", 1.1),
        same=f"{len(steps)} slices of sound",
    )
