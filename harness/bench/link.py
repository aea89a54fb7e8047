"""The link: how close it comes to the limit of the wire or the device, and what a frame costs the host."""

from __future__ import annotations

import cProfile
import pstats
import sys
import threading
import time
from contextlib import suppress
from types import FrameType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from harness.bench.inputs import manifest, spoken
from harness.bench.measuring import Goal, Plan, Row
from harness.link.client import LinkClient
from harness.link.model_table import ModelRecord
from harness.serial.connection import DEFAULT_BAUD
from harness.targets.emulator import EmulatorTarget
from harness.virtual.process import VirtualBoard
from mww.core.errors import BenchmarkError
from mww.esphome.contract import FEATURES
from mww.esphome.model import Model, load_model

_BITS: Final = 10
"""Bits of a byte on the wire: one start, eight data, one stop."""
_INFERENCE_US: Final = 3_000
_LISTED: Final = 8
"""Functions that the profile lists."""

Frames = npt.NDArray[np.int8]


def link(plan: Plan) -> list[Row]:
    """Stream frames at a baud rate, and to a device with a given inference time."""
    model = load_model(manifest())
    frames, expected = _frames(model, plan.size(4000, 100))
    wire = DEFAULT_BAUD / _BITS / (model.stride * FEATURES)
    chip = 1e6 / _INFERENCE_US
    return [
        _limit(
            plan,
            VirtualBoard(baud=DEFAULT_BAUD),
            frames,
            expected,
            wire,
            f"{DEFAULT_BAUD} baud, if every byte carried features",
        ),
        _limit(
            plan,
            VirtualBoard(baud=DEFAULT_BAUD, inference_us=_INFERENCE_US),
            frames[: len(frames) // 2],
            expected[: len(frames) // 2],
            chip,
            f"one inference every {_INFERENCE_US} us",
        ),
    ]


def link_cost(plan: Plan) -> list[Row]:
    """Measure this process' processor time while it streams frames to a board that answers at once."""
    model = load_model(manifest())
    frames, expected = _frames(model, plan.size(10_000, 500))
    with VirtualBoard(inference_us=1) as board:
        costs = []
        for _ in range(plan.repetitions):
            with _opened(board.port, model) as client:
                started = time.process_time()
                outputs = client.infer(frames).outputs
                costs.append((time.process_time() - started) / len(frames) * 1e6)
                _check(outputs, expected)
        profile = _profile(board.port, model, frames)
    return [
        Row(
            what="a frame to a virtual board and its output back, processor time of the host",
            against="the goal alone",
            unit="us",
            own=tuple(costs),
            reference=(),
            comparison="value",
            goal=Goal("at most", 60),
            same=f"{len(frames)} output bytes",
            notes=profile,
        )
    ]


def _limit(plan: Plan, board: VirtualBoard, frames: Frames, expected: bytes, limit: float, against: str) -> Row:
    model = load_model(manifest())
    rates = []
    with board, _opened(board.port, model) as client:
        for number in range(plan.repetitions):
            plan.report(f"{against}, repetition {number + 1}")
            client.reset()
            started = time.perf_counter()
            outputs = client.infer(frames).outputs
            rates.append(len(frames) / (time.perf_counter() - started))
            _check(outputs, expected)
    return Row(
        what="frames over the link",
        against=against,
        unit="frames/s",
        own=tuple(rates),
        reference=(limit,) * len(rates),
        comparison="ratio",
        goal=Goal("at least", 0.95),
        same=f"{len(frames)} output bytes",
    )


def _frames(model: Model, count: int) -> tuple[Frames, bytes]:
    """Frames of speech, and the emulator's outputs for them."""
    frames = np.resize(spoken(), (count, model.stride, FEATURES))
    with EmulatorTarget() as emulator:
        emulator.load(model)
        return frames, emulator.infer(frames).outputs.tobytes()


def _opened(port: str, model: Model) -> LinkClient:
    client = LinkClient.connect(port)
    client.upload(0, ModelRecord(model.content, model.tensor_arena_size or 0))
    client.open_model(0)
    return client


def _check(outputs: npt.NDArray[np.uint8], expected: bytes) -> None:
    if outputs.tobytes() != expected:
        raise BenchmarkError(
            "the board and the emulator gave different outputs", hint="mww bisect finds the operator that differs"
        )


def _profile(port: str, model: Model, frames: Frames) -> tuple[tuple[str, str], ...]:
    """Profile the sending thread, then the reading thread. Profiling makes everything slower.

    They run one after the other: from Python 3.12 on, a process has one profiler at a time. Empty where another
    profiler is active.
    """
    sender, reader = cProfile.Profile(), cProfile.Profile()

    def begin(frame: FrameType, event: str, argument: Any) -> None:  # in the reader's thread, at its first call
        sys.setprofile(None)
        with suppress(ValueError):
            reader.enable()

    with suppress(ValueError):
        with _opened(port, model) as client:
            sender.enable()
            client.infer(frames)
            sender.disable()
        threading.setprofile(begin)
        try:
            client = _opened(port, model)
        finally:
            threading.setprofile(None)
        with client:
            client.infer(frames)
    return tuple(line for name, profile in (("sends", sender), ("reads", reader)) for line in _longest(name, profile))


def _longest(name: str, profile: cProfile.Profile) -> list[tuple[str, str]]:
    profile.create_stats()
    if not profile.getstats():  # pstats refuses a profile without a call
        return []
    rows = [
        (times[2], f"{function} ({file.rsplit('/', 1)[-1]})" if line else function)
        for (file, line, function), times in pstats.Stats(profile).stats.items()  # type: ignore[attr-defined]
        if "lock" not in function and "select" not in function and "recv" not in function
    ]
    total = sum(seconds for seconds, _ in rows) or 1.0
    return [
        (f"{name}: {function}", f"{seconds / total:.0%}") for seconds, function in sorted(rows, reverse=True)[:_LISTED]
    ]
