from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from harness.virtual.protocol import SlipDecoder, slip_frame

PACKETS = st.lists(st.binary(min_size=1, max_size=100), max_size=8)


@given(packets=PACKETS, cuts=st.lists(st.integers(0, 900), max_size=6))
def test_packets_survive_any_cutting_of_the_stream(packets: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(map(slip_frame, packets))
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    decoder = SlipDecoder()
    results = [packet for a, b in pairwise(edges) for packet in decoder.feed(stream[a:b])]
    assert results == packets


@given(noise=st.binary(max_size=50), packet=st.binary(min_size=1, max_size=50))
def test_a_packet_after_noise_is_found_at_the_second_try(noise: bytes, packet: bytes) -> None:
    decoder = SlipDecoder()
    decoder.feed(noise)
    assert packet in decoder.feed(slip_frame(packet) * 2)


def test_endless_packets_take_no_endless_memory() -> None:
    decoder = SlipDecoder()
    decoder.feed(b"\xc0")
    for _ in range(100):
        assert decoder.feed(bytes(0x1000)) == []
    assert decoder.feed(b"\xc0" + slip_frame(b"ok")) == [b"ok"]
