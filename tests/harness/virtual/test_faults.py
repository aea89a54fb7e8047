from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.virtual.board import UartLine
from harness.virtual.faults import NO_FAULTS, Faults, Noise, parse_faults
from mww.core.errors import UsageError

FRAMES = st.lists(st.binary(min_size=1, max_size=60).map(lambda data: data.replace(b"\0", b"\1")), max_size=12)


def test_every_fault_reads_as_documented() -> None:
    words = "corrupt=0.1 drop=0.02 duplicate=1e-3 log=0 reboot=5 hang=6 wrong=7 swap=8 kernel=conv_2d arena=0x100"
    result = parse_faults([*words.split(), "noreset", "seed=3"])
    assert result == Faults(0.1, 0.02, 0.001, 0.0, 5, 6, 7, 8, "CONV_2D", 256, noreset=True, seed=3)
    assert parse_faults(["detect=12"]) == Faults(detect=12)
    assert parse_faults([]) == NO_FAULTS
    assert not NO_FAULTS.noisy


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "drop",
        "drop=",
        "drop=1",
        "drop=-0.1",
        "drop=nan",
        "reboot=-1",
        "hang=1.5",
        "kernel=SOFTMAX",
        "kernel=VAR_HANDLE",
        "kernel=",
        "arena=0x80000000",
        "corrupt=1.5",
        "log=inf",
        "noreset=1",
        "x=1",
    ],
)
def test_what_is_no_fault_is_refused_with_a_hint(wrong: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_faults([wrong])
    assert caught.value.hint


@given(frames=FRAMES, cut=st.integers(1, 40))
def test_without_faults_every_frame_passes_however_it_is_cut(frames: list[bytes], cut: int) -> None:
    stream = b"".join(b"\0" + frame + b"\0" for frame in frames)
    noise = Noise(NO_FAULTS, "to host")
    passed = b"".join(noise.spoil(stream[at : at + cut]) for at in range(0, len(stream), cut))
    assert [chunk for chunk in passed.split(b"\0") if chunk] == frames


@pytest.mark.parametrize("name", ["corrupt", "drop", "duplicate", "log"])
def test_faults_come_as_often_as_their_rate_and_the_same_for_a_seed(name: str) -> None:
    faults = parse_faults([f"{name}=0.1", "seed=5"])
    frames = [b"\0frame %d\0" % number for number in range(5000)]
    spoiled = [Noise(faults, "to host") for _ in range(2)]
    first, second = ([noise.spoil(frame) for frame in frames] for noise in spoiled)
    assert first == second
    changed = sum(entry.strip(b"\0") != frame.strip(b"\0") for entry, frame in zip(first, frames, strict=True))
    assert 400 < changed < 600


@given(baud=st.integers(300, 5_000_000), sizes=st.lists(st.integers(1, 400), min_size=1, max_size=10))
def test_a_wire_delivers_in_order_and_no_faster_than_its_rate(baud: int, sizes: list[int]) -> None:
    wire = UartLine(baud)
    for number, size in enumerate(sizes):
        wire.put(bytes([number]) * size, now=1.0)
    total = sum(sizes)
    assert len(wire.take(1.0 + total / 2 * 10 / baud)) <= total / 2 + 1
    rest = wire.take(1.0 + total * 10 / baud + 1e-6)
    assert wire.size == 0
    assert wire.next_at is None
    assert rest == bytes(sorted(rest))


def test_a_wire_without_a_rate_delays_nothing() -> None:
    wire = UartLine(None)
    wire.put(b"at once", now=5.0)
    assert wire.take(5.0) == b"at once"
