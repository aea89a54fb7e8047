"""What only shows in time: memory, pace, and power that goes away."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

from harness.boards.inventory import Board, power_cycle
from harness.link.client import LinkClient
from harness.link.messages import UNKNOWN
from mww.core.errors import LinkError
from mww.esphome.model import Model
from tests.hardware.conftest import Spoken, record

LOADS = 100

Record = Callable[[str, object], None]


def test_a_hundred_loads_leave_the_heap_as_it_was(
    link: LinkClient, mww_model: Model, spoken: Spoken, record_property: Record
) -> None:
    link.upload(0, record(mww_model))
    free = []
    for _ in range(LOADS):
        link.open_model(0)
        link.infer(spoken.frames[:1])
        link.close_model(0)
        stats = link.stats()
        free.append((stats.heap_free, stats.psram_free))
    link.open_model(0)
    assert np.array_equal(link.infer(spoken.frames).outputs, spoken.golden)
    internal = [item[0] for item in free if item[0] != UNKNOWN]
    if internal:
        record_property("mww_heap_lost", internal[0] - internal[-1])
        assert min(internal[LOADS // 2 :]) >= min(internal[: LOADS // 2]), "internal RAM leaks"
        assert free[-1][1] >= free[0][1], "PSRAM leaks"


def test_it_keeps_up_with_the_microphone(
    link: LinkClient, mww_model: Model, spoken: Spoken, record_property: Record
) -> None:
    """One frame each time that the microphone would have one: outputs stay right, and nothing piles up."""
    link.upload(0, record(mww_model))
    link.open_model(0)
    step = mww_model.stride * mww_model.feature_step_size / 1000
    outputs, times, late = [], [], 0.0
    start = time.monotonic()
    for index, frame in enumerate(spoken.frames):
        time.sleep(max(0.0, start + index * step - time.monotonic()))
        streamed = link.infer(frame[np.newaxis])
        outputs.extend(streamed.outputs.tolist())
        times.extend(streamed.microseconds.tolist())
        late = time.monotonic() - (start + index * step)
    record_property("mww_drift_ms", round(late * 1000, 1))
    record_property("mww_longest_us", max(times))
    assert outputs == spoken.golden.tolist()
    assert max(times) < step * 1_000_000, "an inference takes longer than the microphone waits"
    assert late < 1.0, "the board falls behind"


@pytest.fixture
def cycled(mww_board: Board) -> Board:
    """A board whose power can be taken away."""
    if not mww_board.power_cycle:
        pytest.skip(f"board {mww_board.id} has no power_cycle in the inventory")
    return mww_board


def test_power_lost_in_a_clip_is_an_error_and_the_next_clip_is_whole(
    cycled: Board, link: LinkClient, mww_model: Model, spoken: Spoken
) -> None:
    link.upload(0, record(mww_model))
    link.open_model(0)
    half = len(spoken.frames) // 2
    assert np.array_equal(link.infer(spoken.frames[:half]).outputs, spoken.golden[:half])
    power_cycle(cycled)
    with pytest.raises(LinkError):
        link.infer(spoken.frames[half:])
    link.reconnect()
    assert link.describe(0).sha256.hex() == mww_model.sha256
    link.open_model(0)
    assert np.array_equal(link.infer(spoken.frames).outputs, spoken.golden)


def test_power_lost_in_an_upload_leaves_the_old_model_whole(
    cycled: Board, link: LinkClient, mww_model: Model, spoken: Spoken, another: tuple[Model, Spoken]
) -> None:
    link.upload(0, record(mww_model))

    def cut(what: str, done: int, total: int) -> None:
        if done > total // 2 and not cutting:
            cutting.append(done)
            power_cycle(cycled)

    cutting: list[int] = []
    with pytest.raises(LinkError):
        link.upload(0, record(another[0]), progress=cut)
    link.reconnect()
    assert link.describe(0).sha256.hex() == mww_model.sha256
    link.open_model(0)
    assert np.array_equal(link.infer(spoken.frames).outputs, spoken.golden)
