"""Running clips: `mww run` in the emulator against bare loops over the same interpreter, both whole processes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from harness.bench.inputs import SLICES_A_SECOND, feature_file, golden_file, manifest, model_file, spoken, wav_file
from harness.bench.measuring import BUG, Goal, Plan, Row
from harness.bench.programs import Finished, bare, mww, run, run_together
from harness.clips.npz import write_archive
from harness.engines.process import EngineProcess
from mww.core.errors import BenchmarkError
from mww.esphome.model import load_model

_AS_FAST: Final = Goal("at least", 0.9)
_LOOP: Final = "bare loop over tflite-micro"


def emulator(plan: Plan) -> list[Row]:
    """Compare recorded clips with `mww run --golden`, in one job."""
    golden, clips, frames = _recorded(plan)
    own, others = plan.by_turns(
        lambda: run(mww("run", manifest(), "--golden", golden, "--json")),
        lambda: run(bare("tflm_loop", model_file(), clips)),
    )
    _check_outputs(own, others)
    return [_row("`mww run --golden`", _LOOP, frames, _seconds(own), _seconds(others))]


def jobs(plan: Plan) -> list[Row]:
    """Compare recorded clips in two jobs with two bare loops that share the clips.

    One hour of sound, where the start of a third process shows, and three hours.
    """
    lengths = {"an hour": 6, "three hours": 18}  # which are the same where inputs are small
    return [_jobs(plan, length, clips) for length, clips in list(lengths.items())[: plan.size(2, 1)]]


def _jobs(plan: Plan, length: str, clips_of_ten_minutes: int) -> Row:
    golden, clips, frames = _recorded(plan, clips_of_ten_minutes)
    own, others = plan.by_turns(
        lambda: run(mww("run", manifest(), "--golden", golden, "--jobs", 2, "--json")),
        lambda: run_together([bare("tflm_loop", model_file(), clips, 2, part) for part in range(2)]),
    )
    _check_outputs(own, *others)
    last = [max(_seconds(pair)) for pair in others]
    return _row(f"`mww run --golden --jobs 2`, {length}", f"{_LOOP}, in two processes", frames, _seconds(own), last)


def hour(plan: Plan) -> list[Row]:
    """Measure the way from sound to a verdict."""
    seconds = plan.size(3600, 20)
    sound = wav_file(plan.scratch / "hour.wav", seconds=seconds)
    own, others = plan.by_turns(
        lambda: run(mww("run", manifest(), "--wav", sound, "--json")),
        lambda: run(bare("audio_loop", model_file(), sound)),
    )
    _check_outputs(own, others)
    frames = own[0].document["clips"][0]["inferences"]
    against = "bare loop over pymicro-features and tflite-micro"
    return [_row("`mww run --wav`, an hour", against, frames, _seconds(own), _seconds(others))]


def worker(plan: Plan) -> list[Row]:
    """Compare an engine in its worker process with the same loop in this process."""
    count = plan.size(40_000, 200)
    stride = load_model(manifest()).stride
    frames = np.resize(spoken(), (count, stride, 40))
    clip = plan.scratch / "clip.npz"
    write_archive(clip, [("clip", frames.reshape(-1, 40))])
    outputs: list[bytes] = []
    with EngineProcess("tflm") as engine:
        engine.load(load_model(manifest()).content)

        def own_side() -> float:
            engine.reset()
            started = time.perf_counter()
            outputs.append(engine.infer(frames.tobytes()))
            return (time.perf_counter() - started) / count * 1e6

        own, others = plan.by_turns(own_side, lambda: run(bare("tflm_loop", model_file(), clip)))
    digests = {hashlib.sha256(entry).hexdigest() for entry in outputs}
    if digests != {item.document["outputs"]["clip"] for item in others}:
        raise BenchmarkError("the worker and the bare loop gave different outputs", hint=BUG)
    return [
        Row(
            what="an inference in the worker process",
            against=_LOOP,
            unit="us",
            own=tuple(own),
            reference=tuple(item.document["seconds"] / count * 1e6 for item in others),
            comparison="ratio",
            goal=Goal("at most", 1.05),
            same=f"{count} output bytes",
        )
    ]


def _recorded(plan: Plan, clips_of_ten_minutes: int = 6) -> tuple[Path, Path, int]:
    """A golden, the feature file that it was recorded from, and the frames in it."""
    count, seconds = plan.size(clips_of_ten_minutes, 2), plan.size(600, 3)
    clips = feature_file(plan.scratch / "clips.npz", clips=count, seconds=seconds)
    golden = golden_file(plan.scratch / "golden.npz", clips)
    return golden, clips, count * (seconds * SLICES_A_SECOND // load_model(manifest()).stride)


def _seconds(programs: Sequence[Finished]) -> list[float]:
    return [item.seconds for item in programs]


def _row(what: str, against: str, frames: int, own: Sequence[float], others: Sequence[float]) -> Row:
    return Row(
        what=what,
        against=against,
        unit="frames/s",
        own=tuple(frames / seconds for seconds in own),
        reference=tuple(frames / seconds for seconds in others),
        comparison="ratio",
        goal=_AS_FAST,
        same=f"{frames} output bytes",
    )


def _check_outputs(runs: Sequence[Finished], *loops: Sequence[Finished]) -> None:
    """Compare the outputs of the runs with those of the loops, which may have shared the clips."""
    given: dict[str, str] = {}
    for loop in (item for repetition in loops for item in repetition):
        for name, digest in loop.document["outputs"].items():
            if given.setdefault(name, digest) != digest:
                raise BenchmarkError(
                    "the bare loop does not repeat its outputs",
                    hint="install another version of tflite-micro; mww doctor shows the installed one",
                )
    for finished in runs:
        document: Any = finished.document
        result = {clip["name"]: clip["outputs_sha256"] for clip in document["clips"]}
        if result != given or document["verdict"] != "pass":
            raise BenchmarkError("mww run and the bare loop gave different outputs", hint=BUG)
