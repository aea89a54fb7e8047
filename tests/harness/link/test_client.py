"""The client against the firmware's own session: exactly once whatever the line does, and every failure by its name."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt
import pytest

from harness.link import messages as wire
from harness.link.client import LinkClient
from harness.link.declaration import Message
from harness.link.framing import Frame, FrameDecoder, encode_frame
from harness.link.model_table import ModelRecord, partition_image
from harness.link.session import Timing
from mww.core.errors import (
    DeviceError,
    HungError,
    LinkError,
    NoisyLinkError,
    NoReplyError,
    ProtocolVersionError,
    RebootedError,
    WireFormatError,
)
from mww.esphome.detection import detect
from mww.esphome.frontend import quantize_features
from mww.esphome.frontend_numpy import FrontendSettings, NumpyFrontend
from tests.support.host_board import (
    MODEL,
    PARTITION_SIZE,
    STRIDE,
    TENSOR,
    BoardPort,
    ChainEngine,
    Noise,
    expected_outputs,
)
from tests.support.partition import read_partition
from tests.support.waiting import PATIENCE

FAST = Timing(hello=PATIENCE, hello_interval=0.05, silence=2.0, stall=4.0, resend_min=0.02, resend_max=0.1)
"""For what shall end in silence."""
PATIENT = replace(FAST, silence=PATIENCE, stall=PATIENCE, timeout=PATIENCE)
"""For what shall be answered, also on a machine that is busy."""
IMPOSSIBLE = (
    *(("model", 1), ("state", wire.STORED), ("sha256", bytes(32)), ("stride", 0)),
    *(("arena_used", 0), ("arena_used", wire.UNKNOWN), ("arena_size", 0)),
)
"""What no model slot is that was just opened."""
Connect = Callable[..., tuple[LinkClient, BoardPort]]


@pytest.fixture
def connect() -> Iterator[Connect]:
    with ExitStack() as stack:

        def connect(*, ends_in_silence: bool = False, **options: object) -> tuple[LinkClient, BoardPort]:
            timing = FAST if ends_in_silence else PATIENT
            port = BoardPort(**options)
            stack.callback(port.end)
            client = LinkClient(port, reopen=lambda: port, timing=timing)
            stack.callback(client.close)
            return client, port

        yield connect


def flashed() -> bytearray:
    image = partition_image([MODEL], PARTITION_SIZE)
    return bytearray(image.ljust(PARTITION_SIZE, b"\xff"))


def frames(number: int, seed: int = 0) -> npt.NDArray[np.int8]:
    return np.random.default_rng(seed).integers(-128, 128, (number, STRIDE, 40), np.int8)


def test_a_board_says_what_it_is(connect: Connect) -> None:
    client, _ = connect()
    assert (client.board.chip, client.board.runtime, client.board.models) == ("esp32s3", "1.3.3~1", 4)
    assert client.board.partition_size == PARTITION_SIZE
    assert client.board.mac == bytes((1, 2, 3, 4, 5, 6))


def test_frames_are_inferred_in_order_over_several_packets(connect: Connect) -> None:
    client, port = connect(partition=flashed())
    model = client.open_model(0)
    assert (model.state, model.stride, model.sha256) == (wire.OPEN, STRIDE, MODEL.sha256)
    clip = frames(101)
    given = client.infer(clip)
    assert np.array_equal(given.outputs, expected_outputs(clip))
    assert given.inferences == port.board.engine.inferences == 101
    assert given.microseconds.min() == 6800


def test_a_reset_starts_the_state_over_and_none_carries_it_on(connect: Connect) -> None:
    client, _ = connect(partition=flashed())
    client.open_model()
    first, second = frames(20), frames(20, seed=1)
    client.infer(first)
    carried = client.infer(second)
    assert np.array_equal(carried.outputs, expected_outputs(np.concatenate([first, second]))[20:])
    client.reset()
    again = client.infer(second)
    assert np.array_equal(again.outputs, expected_outputs(second))
    assert again.inferences == 20


@pytest.mark.parametrize("seed", range(4))
def test_no_mix_of_faults_changes_an_output_or_infers_twice(connect: Connect, seed: int) -> None:
    noise = Noise(seed, corrupt=0.05, drop=0.05, duplicate=0.05, log=0.05, log_inside=0.02)
    client, port = connect(partition=flashed(), noise=noise)
    client.open_model()
    for clip in range(4):
        client.reset()
        given = client.infer(frames(200, seed=clip))
        assert np.array_equal(given.outputs, expected_outputs(frames(200, seed=clip)))
    assert port.board.engine.inferences == 4 * 200


def sound(seconds: float, seed: int = 0) -> bytes:
    """Noise that swells and falls."""
    random, count = np.random.default_rng(seed), int(seconds * 16_000)
    swell = 1 + 8000 * np.sin(np.linspace(0, 9, count)) ** 2
    return np.asarray(random.normal(0, swell), np.int16).tobytes()


@pytest.mark.parametrize(("seed", "step_ms"), [(0, 10), (1, 20), (2, 7), (3, 30)])
def test_no_mix_of_faults_changes_a_slice_or_hears_a_sample_twice(connect: Connect, seed: int, step_ms: int) -> None:
    noise = Noise(seed, corrupt=0.05, drop=0.05, duplicate=0.05, log=0.05, log_inside=0.02)
    client, port = connect(partition=flashed(), noise=noise)
    client.open_model()
    client.arm_detection(0, cutoff=150, window=2)
    made = 0
    for clip in range(2):
        heard = sound(2.5, clip)
        client.listen(step_ms=step_ms)
        parts = [client.hear(heard[:9_002]), client.hear(heard[9_002:])]
        expected = quantize_features(NumpyFrontend(FrontendSettings(step_ms)).process(heard))
        features = np.concatenate([part.features for part in parts])
        assert np.array_equal(features, expected)
        whole = len(features) // STRIDE * STRIDE
        outputs = np.concatenate([part.models[0].outputs for part in parts])
        assert np.array_equal(outputs, expected_outputs(features[:whole].reshape(-1, STRIDE, 40)))
        rule = detect(outputs, cutoff=150 / 255, window=2, stride=STRIDE)
        detections = [item for part in parts for item in part.models[0].detections]
        assert [item.inference for item in detections] == [item.inference for item in rule]
        made += len(outputs)
    assert port.board.engine.inferences == made


def test_a_step_that_esphome_does_not_take_is_refused(connect: Connect) -> None:
    client, _ = connect(partition=flashed())
    client.open_model()
    with pytest.raises(DeviceError) as caught:
        client.listen(step_ms=31)
    assert caught.value.code == "frontend"
    with pytest.raises(DeviceError) as caught:
        client.hear(bytes(320))
    assert caught.value.code == "not-listening"
    client.listen()
    assert not len(client.hear(bytes(320)).features)


def test_two_models_hear_the_same_sound(connect: Connect) -> None:
    client, _ = connect(partition=flashed())
    client.upload(2, ModelRecord(b"model" + bytes([1]) + b"other" * 500, 30_000))
    client.open_model(0)
    client.open_model(2)
    client.listen((0, 2))
    heard = client.hear(sound(1.0))
    for slot, stride in ((0, STRIDE), (2, 1)):
        frames = heard.features[: len(heard.features) // stride * stride].reshape(-1, stride, 40)
        assert np.array_equal(heard.models[slot].outputs, expected_outputs(frames))


def test_what_was_not_asked_for_in_time_is_counted_and_the_rest_is_right(connect: Connect) -> None:
    heard = sound(3.0)
    client, _ = connect(partition=flashed(), microphone=heard, noise=Noise(5, drop=0.05, duplicate=0.05))
    client.open_model()
    client.listen(microphone=True)
    last = client.read_sound(0)
    while len(last.samples):
        first, samples = last.first, last.samples
        last = client.read_sound(last.first + len(last.samples) // 2)
    assert first * 2 + len(samples) == len(heard)
    assert samples == heard[first * 2 :]
    slices = quantize_features(NumpyFrontend(FrontendSettings()).process(heard))
    parts = [client.read_heard()]
    while len(parts[-1].features):
        parts.append(client.read_heard())
    assert parts[0].lost == len(slices) - 128
    assert not any(part.lost for part in parts[1:])
    assert np.array_equal(np.concatenate([part.features for part in parts]), slices[-128:])
    whole = slices[: len(slices) // STRIDE * STRIDE].reshape(-1, STRIDE, 40)
    outputs = np.concatenate([part.models[0].outputs for part in parts])
    assert np.array_equal(outputs, expected_outputs(whole)[-len(outputs) :])
    assert parts[-1].models[0].inferences == len(whole)


def test_a_board_without_a_microphone_says_so(connect: Connect) -> None:
    client, _ = connect(partition=flashed())
    client.open_model()
    assert not client.has_microphone
    with pytest.raises(DeviceError) as caught:
        client.listen(microphone=True)
    assert caught.value.code == "no-microphone"
    with pytest.raises(DeviceError) as caught:
        client.read_sound(0)
    assert caught.value.code == "not-listening"


def test_a_board_without_a_front_end_says_so(connect: Connect) -> None:
    client, _ = connect(partition=flashed(), deaf=True)
    client.open_model()
    assert not client.has_frontend
    with pytest.raises(DeviceError) as caught:
        client.listen()
    assert caught.value.code == "no-frontend"


def test_the_boards_rule_detects_where_the_hosts_does(connect: Connect) -> None:
    client, _ = connect(partition=flashed())
    client.open_model()
    client.arm_detection(0, cutoff=150, window=2)
    clip = frames(400)
    result = client.infer(clip).detections
    expected = detect(expected_outputs(clip), cutoff=150 / 255, window=2, stride=STRIDE)
    assert len(expected) > 2
    assert [(item.inference, item.slices / 100, item.average, item.maximum) for item in result] == [
        (item.inference, item.time_s, item.average, item.maximum) for item in expected
    ]


def test_any_output_comes_in_pieces(connect: Connect) -> None:
    client, _ = connect(partition=flashed())
    client.open_model(any_output=True)
    client.infer(frames(1))
    assert client.read_outputs([len(TENSOR)]) == [TENSOR]
    with pytest.raises(WireFormatError, match="output 0 has 5120 bytes on the board, not 5000"):
        client.read_outputs([5000])
    with pytest.raises(DeviceError) as caught:
        client.read_outputs([len(TENSOR), 1])
    assert caught.value.code == "no-such-output"


def test_a_profile_comes_in_pieces_and_only_after_a_profiled_inference(connect: Connect) -> None:
    client, _ = connect(partition=flashed())
    client.open_model()
    client.infer(frames(1))
    with pytest.raises(DeviceError) as caught:
        client.read_profile()
    assert caught.value.code == "no-profile"
    client.infer(frames(3), profile=True)
    times = client.read_profile()
    assert [(item.name, item.microseconds) for item in times] == [(f"OP_{i}", i * 10) for i in range(70)]


def test_an_uploaded_model_replaces_the_old_one(connect: Connect) -> None:
    client, port = connect(partition=flashed())
    client.open_model()
    other = ModelRecord(b"model" + bytes([STRIDE]) + b"other" * 5000, 30_000)
    done: list[int] = []
    model = client.upload(0, other, progress=lambda what, now, total: done.append(now))
    assert (model.state, model.sha256, model.manifest_arena) == (wire.STORED, other.sha256, 30_000)
    assert done[-1] == len(other.content)
    with pytest.raises(DeviceError) as caught:
        client.infer(frames(1))
    assert caught.value.code == "not-open"
    assert read_partition(bytes(port.board.partition))[0] == other
    assert client.open_model().arena_size == 30_000


def test_an_interrupted_upload_leaves_the_old_model_whole(connect: Connect) -> None:
    client, port = connect(partition=flashed())
    other = ModelRecord(b"model" + bytes([STRIDE]) + b"other" * 5000, 0)

    def stop(what: str, now: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.upload(0, other, progress=stop)
    client.reconnect()
    assert client.describe(0).sha256 == MODEL.sha256
    assert client.describe(0).state == wire.STORED
    assert client.upload(0, other).sha256 == other.sha256
    assert port.board.partition


def test_an_interrupted_stream_does_not_disturb_the_next(connect: Connect) -> None:
    interrupt = partial(signal.raise_signal, signal.SIGINT)
    client, _ = connect(partition=flashed(), engine=ChainEngine(delay=0.01, at=20, then=interrupt))
    client.open_model()
    with pytest.raises(KeyboardInterrupt):
        client.infer(frames(200))
    client.reset()
    assert np.array_equal(client.infer(frames(50)).outputs, expected_outputs(frames(50)))


def test_a_refusal_ends_a_stream_and_the_session_goes_on(connect: Connect) -> None:
    engine = ChainEngine(fail_at=30)
    client, _ = connect(partition=flashed(), engine=engine)
    client.open_model()
    with pytest.raises(DeviceError) as caught:
        client.infer(frames(100))
    assert caught.value.code == "inference-failed"
    assert caught.value.detail == 30
    with pytest.raises(DeviceError) as caught:
        client.infer(frames(1))
    assert caught.value.code == "needs-reset"
    engine.fail_at = None
    client.reset()
    assert np.array_equal(client.infer(frames(5)).outputs, expected_outputs(frames(5)))


@pytest.mark.parametrize(
    ("slot", "code"), [(0, "no-model"), (3, "no-model"), (4, "no-such-slot"), (255, "no-such-slot")]
)
def test_a_slot_without_a_model_is_refused_by_name(connect: Connect, slot: int, code: str) -> None:
    client, _ = connect()
    with pytest.raises(DeviceError) as caught:
        client.open_model(slot)
    assert caught.value.code == code
    assert caught.value.hint


def test_a_reboot_ends_the_clip_and_reconnecting_goes_on(connect: Connect) -> None:
    engine = ChainEngine(delay=0.005, at=20)
    client, port = connect(partition=flashed(), engine=engine)
    engine.then = port.reboot
    client.open_model()
    with pytest.raises(RebootedError):
        client.infer(frames(200))
    assert client.reconnect().boot_id == 2
    client.open_model()
    assert np.array_equal(client.infer(frames(5)).outputs, expected_outputs(frames(5)))


def test_a_hung_board_is_told_within_its_deadline(connect: Connect) -> None:
    engine = ChainEngine(delay=0.005, at=20)
    client, port = connect(ends_in_silence=True, partition=flashed(), engine=engine)
    engine.then = port.dead.set
    client.open_model()
    with pytest.raises(HungError, match="Infer"):
        client.infer(frames(400))


def test_a_line_that_damages_everything_is_called_noisy(connect: Connect) -> None:
    client, port = connect(ends_in_silence=True, partition=flashed())
    client.open_model()
    port.noise.corrupt = 1.0
    with pytest.raises(NoisyLinkError):
        client.infer(frames(10))


class DribblingPort(BoardPort):
    """A board that answers each request late, but never too late after the answer before."""

    pause = 0.0

    def _transmit(self, frame: bytes) -> None:
        time.sleep(self.pause)
        super()._transmit(frame)


def test_answers_that_dribble_in_end_within_the_timeout() -> None:
    port = DribblingPort(partition=flashed())
    client = LinkClient(port, reopen=lambda: port, timing=replace(FAST, timeout=1.5))
    client.open_model()
    port.pause = 0.6
    with pytest.raises(HungError, match="too slowly: a request has waited") as caught:
        client.infer(frames(400))
    assert 0 < caught.value.inference < 400
    port.pause = 0.0
    client.close()
    port.end()


class FloodingPort(BoardPort):
    """A board that sends valid answers to requests that nobody made, without end."""

    flood = b""

    def read(self) -> bytes:
        if not self.flood:
            return super().read()
        time.sleep(len(self.flood) / 1e6)  # as fast as USB carries bytes
        return self.flood

    def _transmit(self, frame: bytes) -> None:
        if not self.flood:
            super()._transmit(frame)


def test_a_flood_of_valid_frames_ends_as_silence_does() -> None:
    port = FloodingPort(partition=flashed())
    client = LinkClient(port, reopen=lambda: port, timing=FAST)
    client.open_model()
    answer = wire.Outputs(0, 7, bytes(8 * wire.Sample.fixed_size()))
    port.flood = encode_frame(answer.type, 4, answer.encode()) * 50
    with pytest.raises(HungError, match="alive, but does not answer Infer"):
        client.infer(frames(10))
    port.flood = b""
    client.close()
    port.end()


class LyingPort(BoardPort):
    """A board that alters fields of one kind of message."""

    lie: tuple[type[Message], dict[str, object]] | None = None

    def _transmit(self, frame: bytes) -> None:
        for item in FrameDecoder().feed(frame) if self.lie else ():
            kind, changes = self.lie or (Message, {})
            if isinstance(item, Frame) and item.type == kind.type:
                altered = replace(kind.decode(item.payload), **changes)  # type: ignore[type-var]
                frame = encode_frame(item.type, item.sequence, altered.encode())
        super()._transmit(frame)


def test_what_a_board_says_of_its_models_must_agree() -> None:
    port = LyingPort(partition=flashed())
    client = LinkClient(port, reopen=lambda: port, timing=PATIENT)
    client.describe()
    lies: tuple[tuple[type[Message], dict[str, object], Callable[[], object]], ...] = (
        *((wire.Model, {name: value}, client.open_model) for name, value in IMPOSSIBLE),
        (wire.Model, {"sha256": bytes(32)}, lambda: client.upload(0, MODEL)),
        (wire.Model, {"state": wire.ABSENT}, lambda: client.upload(0, MODEL)),
        (wire.Outputs, {"model": 1}, lambda: client.infer(frames(2))),
        (wire.Outputs, {"first": 3}, lambda: client.infer(frames(2))),
        *((wire.Profile, {name: value}, client.read_profile) for name, value in (("total", 1), ("first", 1))),
    )
    for kind, changes, ask in lies:
        port.lie = None
        client.describe()
        client.open_model()
        client.infer(frames(1), profile=True)
        port.lie = kind, changes
        with pytest.raises(WireFormatError) as caught:
            ask()
        assert caught.value.hint, changes
    client.close()
    port.end()


def test_waits_keep_their_proportion() -> None:
    assert Timing.within(30.0) == Timing()
    brief = Timing.within(3.0)
    assert (brief.silence, brief.timeout, brief.part) == (pytest.approx(0.4), 3.0, pytest.approx(0.1))


def test_silence_is_no_reply() -> None:
    port = BoardPort()
    port.dead.set()
    with pytest.raises(NoReplyError):
        LinkClient(port, reopen=lambda: port, timing=Timing(hello=0.2))
    port.end()


def test_a_wait_can_be_interrupted(connect: Connect) -> None:
    client, port = connect(partition=flashed())
    client.open_model()
    port.dead.set()
    with pytest.raises(KeyboardInterrupt):
        threading.Timer(0.1, signal.raise_signal, [signal.SIGINT]).start()
        client.infer(frames(10))


class OtherVersionPort(BoardPort):
    """A board that speaks protocol 2 to 3."""

    def write(self, data: bytes) -> None:
        (hello,) = FrameDecoder().feed(data)
        assert isinstance(hello, Frame)
        error = wire.Error(1, 2 * 256 + 3, "")
        self._transmit(encode_frame(error.type, hello.sequence, error.encode()))


def test_another_protocol_version_is_told_with_both_sides_versions() -> None:
    port = OtherVersionPort()
    with pytest.raises(ProtocolVersionError, match="protocol 2 to 3, this mww-harness 1"):
        LinkClient(port, reopen=lambda: port, timing=FAST)
    port.end()


def test_no_thread_is_left_behind(connect: Connect) -> None:
    client, _ = connect(ends_in_silence=True)
    client.close()
    client.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "mww-link-reader"]
    with pytest.raises(LinkError):
        client.describe()


def test_log_lines_reach_the_user() -> None:
    lines: list[str] = []
    port = BoardPort(noise=Noise(log=1.0))
    client = LinkClient(port, reopen=lambda: port, timing=PATIENT, on_log=lines.append)
    port.board.log("hello from the board")
    client.stats()
    client.close()
    port.end()
    assert "hello from the board" in lines
    assert "I (456) heap: between" in lines
