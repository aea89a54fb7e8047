"""Frames: both ends agree with each other and with the `cobs` package, and noise never becomes a frame."""

from __future__ import annotations

import hashlib
import zlib

from cobs import cobs
from hypothesis import given
from hypothesis import strategies as st

from harness.link.declaration import Message, messages
from harness.link.framing import Frame, FrameDecoder, Stray, encode_frame, wire_size
from harness.link.messages import Model, Outputs, Welcome
from mww.core.errors import WireFormatError
from mww.esphome.detection import detect
from tests.harness.link.test_messages import any_message
from tests.support import host_codec

LONG_RUNS = st.builds(bytes.__mul__, st.sampled_from([b"\0", b"a", b"ab\0"]), st.integers(80, 600))
PAYLOADS = st.binary(max_size=600) | LONG_RUNS
FRAMES = st.builds(Frame, st.integers(0, 255), st.integers(0, 65535), PAYLOADS)
TEXT = st.text("abcXYZ 0123[]:\r\n\x1b", max_size=40).map(str.encode)


def wire(frame: Frame) -> bytes:
    return encode_frame(frame.type, frame.sequence, frame.payload)


def decode(stream: bytes) -> list[Frame | Stray]:
    return FrameDecoder().feed(stream)


@given(FRAMES)
def test_a_frame_is_what_the_design_says_and_both_ends_write_the_same(frame: Frame) -> None:
    body = bytes([frame.type]) + frame.sequence.to_bytes(2, "little") + frame.payload
    expected = b"\0" + cobs.encode(body + zlib.crc32(body).to_bytes(4, "little")) + b"\0"
    assert wire(frame) == expected
    assert host_codec.encode_frame(frame.type, frame.sequence, frame.payload) == expected
    assert len(expected) <= wire_size(len(frame.payload))


@given(st.lists(FRAMES | TEXT, max_size=8), st.data())
def test_both_ends_find_every_frame_between_text_in_any_portions(
    parts: list[Frame | bytes], data: st.DataObject
) -> None:
    stream = b"".join(wire(part) if isinstance(part, Frame) else part for part in parts)
    frames = [part for part in parts if isinstance(part, Frame)]
    decoder, result, left = FrameDecoder(), [], stream
    while left:
        size = data.draw(st.integers(1, len(left)))
        result += decoder.feed(left[:size])
        left = left[size:]
    assert [item for item in result if isinstance(item, Frame)] == frames
    assert host_codec.decode_frames(stream)[0] == frames


@given(FRAMES, st.data())
def test_both_ends_refuse_a_damaged_frame(frame: Frame, data: st.DataObject) -> None:
    good = wire(frame)
    at = data.draw(st.integers(1, len(good) - 2))
    bad = good[:at] + bytes([good[at] ^ data.draw(st.integers(1, 255))]) + good[at + 1 :]
    assert not [item for item in decode(bad) if isinstance(item, Frame)]
    frames, rejected = host_codec.decode_frames(bad)
    assert not frames
    assert rejected


@given(st.binary(max_size=2000), FRAMES)
def test_noise_never_hides_the_frame_behind_it(noise: bytes, frame: Frame) -> None:
    stream = noise + wire(frame)
    assert decode(stream)[-1] == frame
    assert host_codec.decode_frames(stream)[0][-1] == frame


@given(FRAMES)
def test_a_frame_that_the_buffer_does_not_hold_is_refused_whole(frame: Frame) -> None:
    body = len(frame.payload) + 7
    assert host_codec.decode_frames(wire(frame), capacity=body)[0] == [frame]
    assert host_codec.decode_frames(wire(frame), capacity=body - 1) == ([], 1)
    size = len(wire(frame))
    assert host_codec.encode_frame(frame.type, frame.sequence, frame.payload, capacity=size - 1) == b""


def test_an_endless_stream_without_a_zero_is_dropped_in_the_end() -> None:
    decoder = FrameDecoder()
    strays = [item for _ in range(40) for item in decoder.feed(b"a" * 8192)]
    assert strays
    assert all(isinstance(item, Stray) for item in strays)


@given(any_message())
def test_the_firmware_reads_and_writes_every_message_as_the_host_does(message: Message) -> None:
    payload = message.encode()
    again = decode(host_codec.reencode(message.type, payload))
    assert again == [Frame(message.type, 0, payload)]


@given(st.sampled_from([Model, Outputs, Welcome, *messages().values()]), st.binary(max_size=200))
def test_the_firmware_refuses_what_the_host_refuses(kind: type[Message], payload: bytes) -> None:
    try:
        kind.decode(payload)
    except WireFormatError:
        accepted = False
    else:
        accepted = True
    assert bool(host_codec.reencode(kind.type, payload)) == accepted


@given(st.binary(max_size=300))
def test_sha256_is_sha256(data: bytes) -> None:
    assert host_codec.sha256(data) == hashlib.sha256(data).digest()


@given(
    st.lists(st.sampled_from([0, 10, 100, 200, 255]) | st.integers(0, 255), max_size=400).map(bytes),
    st.integers(1, 255),
    st.integers(1, 12),
    st.integers(1, 4),
)
def test_the_firmwares_detection_is_the_hosts(outputs: bytes, cutoff: int, window: int, stride: int) -> None:
    result = host_codec.detect(outputs, cutoff=cutoff, window=window, stride=stride)
    expected = detect(list(outputs), cutoff=min(1.0, (cutoff + 0.5) / 255), window=window, stride=stride)
    assert [(frame * stride + at, average, maximum) for frame, at, average, maximum in result] == [
        (round(item.time_s * 100), item.average, item.maximum) for item in expected
    ]
