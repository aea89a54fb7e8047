"""The host's window against the firmware's session over any line: exactly once, in order, and never for long."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.link import messages as wire
from harness.link.declaration import Message
from harness.link.framing import Frame, FrameDecoder, encode_frame, wire_size
from harness.link.messages import Describe, Done
from harness.link.model_table import ModelRecord, partition_image
from harness.link.window import Window
from tests.support.host_board import MODEL, PARTITION_SIZE, STRIDE, HostBoard, Noise, expected_outputs, frames_of
from tests.support.partition import read_partition


def send(window: Window, request: Message) -> bytes:
    return window.send(request, request.encode())


def answer(sequence: int) -> Frame:
    return Frame(Done.type, sequence, b"")


def test_requests_and_bytes_in_flight_are_bounded() -> None:
    size = wire_size(Describe(0).fixed_size())
    window = Window(0, requests=3, capacity=2 * size)
    assert window.has_room(10 * size), "one request always may be sent"
    send(window, Describe(0))
    assert window.has_room(size)
    send(window, Describe(1))
    assert not window.has_room(size)
    roomy = Window(0, requests=2, capacity=1 << 16)
    send(roomy, Describe(0))
    send(roomy, Describe(1))
    assert not roomy.has_room(size)


def test_answers_are_handed_out_in_order_and_an_early_one_asks_for_the_lost() -> None:
    window = Window(65535, requests=4, capacity=1 << 16)
    sent = [send(window, Describe(slot)) for slot in range(3)]
    done, again = window.accept(answer(0))
    assert not done
    assert again == sent[0], "the board answers in order, so the first answer was lost"
    assert window.accept(answer(0)) == ([], b""), "it is asked for once"
    done, again = window.accept(answer(65535))
    assert [request for request, _ in done] == [Describe(0), Describe(1)]
    assert window.accept(answer(65535)) == ([], b""), "a second answer to the same request is nothing new"
    assert len(window) == 1


def test_a_gap_is_gone_back_to_once_for_each_loss() -> None:
    window = Window(10, requests=8, capacity=1 << 16)
    sent = [send(window, Describe(slot)) for slot in range(4)]
    assert window.go_back(11, 12) == b"".join(sent[1:])
    assert window.go_back(11, 13) == b"", "refused before the board saw what was sent again"
    assert window.go_back(11, 12) == b"".join(sent[1:]), "what was sent again was lost as well"
    assert window.go_back(9, 12) == b"", "an old refusal"
    assert window.go_back(14, 12) == b""


class Line:
    """Host and board in one thread, round after round, with a line between them that goes wrong as told."""

    def __init__(self, noise: Noise, window: int, batch: int) -> None:
        self._noise = noise
        self._replies: deque[bytes] = deque()
        partition = bytearray(partition_image([MODEL], PARTITION_SIZE).ljust(PARTITION_SIZE, b"\xff"))
        self.board = HostBoard(self._replies.append, window=window, batch=batch, partition=partition)
        self._decoder = FrameDecoder()
        self._now = 0
        self.board.step(encode_frame(wire.Hello.type, 65530, wire.Hello(1, 1, 7).encode()), 0)
        self._replies.clear()
        self._window = Window(65531, requests=window, capacity=4096)

    def exchange(self, requests: list[Message]) -> list[Frame]:
        waiting, answers, idle = deque(requests), [], 0
        while waiting or self._window:
            while waiting and self._window.has_room(1200):
                self._send(send(self._window, waiting.popleft()))
            progress = self._receive()
            answers += progress
            idle = 0 if progress else idle + 1
            assert idle < 200, "no progress"
            if not progress:
                self._send(self._window.resend_oldest())
        return answers

    def _send(self, data: bytes) -> None:
        self._now += 1
        for frame in frames_of(data):
            self.board.step(self._noise.disturb(frame), self._now)

    def _receive(self) -> list[Frame]:
        data = b"".join(self._noise.disturb(reply) for reply in self._replies)
        self._replies.clear()
        done: list[Frame] = []
        for frame in self._decoder.feed(data):
            if not isinstance(frame, Frame) or frame.type == wire.Heartbeat.type:
                continue
            again = b""
            if frame.type == wire.Gap.type:
                again = self._window.go_back(wire.Gap.decode(frame.payload).expected, frame.sequence)
            else:
                answered, again = self._window.accept(frame)
                done += [answer for _, answer in answered]
            self._send(again)
        return done


@settings(max_examples=40)
@given(
    noise=st.builds(
        Noise,
        st.integers(0, 2**32),
        corrupt=st.floats(0, 0.2),
        drop=st.floats(0, 0.2),
        duplicate=st.floats(0, 0.2),
        log=st.floats(0, 0.2),
        log_inside=st.floats(0, 0.1),
    ),
    window=st.integers(1, 8),
    batch=st.integers(1, 4),
    packets=st.lists(st.integers(0, 5), min_size=1, max_size=30),
)
def test_every_frame_is_inferred_once_whatever_the_line_does(
    noise: Noise, window: int, batch: int, packets: list[int]
) -> None:
    line = Line(noise, window, batch)
    clip = np.random.default_rng(1).integers(-128, 128, (sum(packets), STRIDE, 40), np.int8)
    parts = np.split(clip, np.cumsum(packets)[:-1])
    requests: list[Message] = [wire.Open(0, 0), wire.Reset(0)]
    requests += [wire.Infer(0, 0, part.tobytes()) for part in parts]
    answers = line.exchange(requests)
    outputs = [wire.Outputs.decode(frame.payload) for frame in answers[2:]]
    line.board.close()
    assert line.board.engine.inferences == len(clip)
    assert [item.first for item in outputs] == [0, *np.cumsum(packets)[:-1]]
    result = b"".join(item.samples[::8] for item in outputs)
    assert result == expected_outputs(clip).tobytes()


@pytest.mark.parametrize("cut", range(17))
def test_a_write_that_fails_at_any_point_leaves_a_whole_model(cut: int) -> None:
    partition = bytearray(partition_image([MODEL], PARTITION_SIZE).ljust(PARTITION_SIZE, b"\xff"))
    content = b"model" + bytes([STRIDE]) + b"new" * 3000
    new = ModelRecord(content, 5)
    board = HostBoard(lambda frame: None, partition=partition, flash_fails_at=cut)
    requests: list[Message] = [wire.UploadBegin(0, len(content), 5, new.sha256)]
    requests += [wire.UploadPiece(at, content[at : at + 1000]) for at in range(0, len(content), 1000)]
    requests.append(wire.UploadCommit(new.sha256))
    board.step(encode_frame(wire.Hello.type, 0, wire.Hello(1, 1, 7).encode()), 0)
    for sequence, request in enumerate(requests, start=1):
        board.step(encode_frame(request.type, sequence, request.encode()), 0)
    board.close()
    assert read_partition(bytes(partition))[0] in (MODEL, new)
