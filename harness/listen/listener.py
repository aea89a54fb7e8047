"""Does a device's work on live sound: front-end, models and ESPHome's rule; also measures the level."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from harness.targets.base import Target
from mww.core.closing import Closing
from mww.esphome.contract import FEATURES, SAMPLE_RATE
from mww.esphome.detection import Detection, LiveDetector, Recording, Vad
from mww.esphome.frontend import Slices, open_frontend, quantize_features
from mww.esphome.model import Model

_FULL_SCALE: Final = 32768
_RECORDED_SAMPLES: Final = 24 * 3600 * SAMPLE_RATE
"""A day, after which the record of outputs starts again."""


@dataclass(frozen=True, slots=True)
class Level:
    """The level of the last block, and the averages of the models.

    Attributes:
        time_s: Seconds of sound so far.
        peak: Largest sample, 0..1.
        rms: Root mean square about the mean, 0..1.
        dc: Mean, -1..1.
        clipped: Share of samples at full scale, 0..1.
        averages: For each model, the average of its sliding window, a byte.
        board: For each model on a board that hears itself, its newest output there.
    """

    time_s: float
    peak: float
    rms: float
    dc: float
    clipped: float
    averages: tuple[tuple[str, int], ...]
    board: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Heard:
    """A detection, or with `near_miss` an average that came near the cutoff and fell again.

    Attributes:
        model: The model's name.
        time_s: Seconds of sound up to and including it.
        inference: Index of the newest output.
        average: Of the sliding window, a byte.
        maximum: Of the sliding window, a byte.
        vad_blocked: Whether the VAD model heard no speech.
        near_miss: Whether the cutoff was not exceeded.
        by: Whose rule it was: this computer's, or the board's own.
    """

    model: str
    time_s: float
    inference: int
    average: int
    maximum: int
    vad_blocked: bool
    near_miss: bool = False
    by: Literal["computer", "board"] = "computer"


class Stream:
    """A model on a target that receives sound."""

    def __init__(self, model: Model, target: Target, *, record: bool = False) -> None:
        """Load the model; with `record`, its outputs are kept.

        Raises:
            MwwError: The target refuses it.
        """
        self.model, self._target = model, target
        target.load(model)
        target.reset()
        self.detector = LiveDetector(
            cutoff_byte=model.cutoff_byte, window=model.sliding_window_size, stride=model.stride
        )
        self._frontend = open_frontend(model.feature_step_size)
        self._step_bytes = SAMPLE_RATE * model.feature_step_size // 1000 * 2
        self.recorded = bytearray()
        self._record = record
        self._samples = b""
        self._rest: Slices = np.empty((0, FEATURES), np.int8)

    def hear(self, samples: bytes) -> npt.NDArray[np.uint8]:
        """Take little-endian int16 samples and return the outputs that they complete."""
        samples = self._samples + samples
        whole = len(samples) // self._step_bytes * self._step_bytes
        self._samples = samples[whole:]
        made = quantize_features(self._frontend.process(samples[:whole]))
        slices = np.concatenate([self._rest, made]) if len(self._rest) else made
        count = len(slices) // self.model.stride * self.model.stride
        self._rest = slices[count:]
        if not count:
            return np.empty(0, np.uint8)
        outputs = self._target.infer(slices[:count].reshape(-1, self.model.stride, FEATURES)).outputs
        if self._record:
            self.recorded += outputs.tobytes()
        return outputs


class _Gate:
    """Whether the VAD model hears speech at a slice of the newest block."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._first = 0
        self._above = [False]

    def hear(self, samples: bytes) -> None:
        self._first += len(self._above) - 1
        above = [self._above[-1]]
        for output in self.stream.hear(samples):
            list(self.stream.detector.push(np.array([output], np.uint8)))
            above.append(self.stream.detector.above)
        self._above = above

    def speech(self, slices: int) -> bool:
        heard = slices // self.stream.model.stride - self._first
        return self._above[max(0, min(heard, len(self._above) - 1))]


class Listener(Closing):
    """Several models, and a VAD model where there is one, on the same sound."""

    NEAR = 0.6
    """Share of the cutoff that an average must reach to be a near miss when it falls again."""

    def __init__(
        self, words: Sequence[tuple[Model, Target]], vad: tuple[Model, Target] | None, *, record: bool = False
    ) -> None:
        """Load all models; with `record` their outputs are kept, a day of them at most, for `judge`.

        Raises:
            MwwError: A target refuses one.
        """
        with ExitStack() as stack:
            for _, target in (*words, *([vad] if vad else [])):
                stack.enter_context(target)
            self._streams = [Stream(model, target, record=record) for model, target in words]
            self._gate = _Gate(Stream(*vad, record=record)) if vad else None
            self._open = stack.pop_all()
        self._samples = self._recorded_from = 0
        self._peaks: dict[str, Heard] = {}

    @property
    def time_s(self) -> float:
        """Seconds of sound so far."""
        return self._samples / SAMPLE_RATE

    def hear(self, block: bytes) -> Iterator[Heard]:
        """Take little-endian int16 samples, 16 kHz mono, and yield detections and near misses.

        Raises:
            MwwError: A target failed.
        """
        self._samples += len(block) // 2
        if self._samples - self._recorded_from > _RECORDED_SAMPLES:
            self._recorded_from = self._samples
            for stream in self._all_streams():
                stream.recorded.clear()
        if self._gate is not None:
            self._gate.hear(block)
        for stream in self._streams:
            yield from self._judge(stream, stream.hear(block))

    def judge(self, number: int, cutoff: int) -> list[Detection]:
        """The detections that a cutoff, a byte, would have given for the recorded outputs; callable from any thread.

        Raises:
            IndexError: No model has that number.
            ValueError: The cutoff is not a byte.
        """
        if not 0 <= cutoff <= 255:
            raise ValueError(f"a cutoff of {cutoff}")
        model = self._streams[number].model
        vad = None
        if self._gate is not None:
            gate = self._gate.stream
            vad = Vad(
                np.frombuffer(bytes(gate.recorded), np.uint8),
                cutoff=gate.model.probability_cutoff,
                window=gate.model.sliding_window_size,
                stride=gate.model.stride,
            )
        outputs = np.frombuffer(bytes(self._streams[number].recorded), np.uint8)
        recording = Recording(outputs, window=model.sliding_window_size, stride=model.stride)
        return recording.detections(
            cutoff, vad, feature_step_size=model.feature_step_size, lead_in=-self._recorded_from / SAMPLE_RATE
        )

    def close(self) -> None:
        """Close the targets."""
        self._open.close()

    def _all_streams(self) -> Iterator[Stream]:
        yield from self._streams
        if self._gate is not None:
            yield self._gate.stream

    def level(self, block: bytes) -> Level:
        """The level of a block, and the average of each model."""
        samples = np.frombuffer(block, "<i2").astype(np.float64) / _FULL_SCALE
        mean = float(samples.mean()) if len(samples) else 0.0
        return Level(
            time_s=self.time_s,
            peak=float(np.abs(samples).max(initial=0)),
            rms=float(samples.std()) if len(samples) else 0.0,
            dc=mean,
            clipped=float((np.abs(samples) >= 32767 / _FULL_SCALE).mean()) if len(samples) else 0.0,
            averages=tuple((stream.model.name, stream.detector.average) for stream in self._streams),
        )

    def _judge(self, stream: Stream, outputs: npt.NDArray[np.uint8]) -> Iterator[Heard]:
        name = stream.model.name
        for output in outputs:
            detected = False
            for detection in stream.detector.push(np.array([output], np.uint8)):
                blocked = self._gate is not None and not self._gate.speech(detection.slices)
                at, time_s = detection.inference, detection.slices * stream.model.feature_step_size / 1000
                yield Heard(name, time_s, at, detection.average, detection.maximum, blocked)
                if not blocked:
                    stream.detector.reset()
                detected = True
                self._peaks.pop(name, None)
            if not detected:
                yield from self._near_miss(stream)

    def _near_miss(self, stream: Stream) -> Iterator[Heard]:
        """Track the highest average above the share of the cutoff, and give it once the average has fallen."""
        name, detector, cutoff = stream.model.name, stream.detector, stream.model.cutoff_byte
        peak = self._peaks.get(name)
        if detector.listening and self.NEAR * cutoff <= detector.average:
            if peak is None or detector.average > peak.average:
                time_s = detector.inferences * stream.model.stride * stream.model.feature_step_size / 1000
                self._peaks[name] = Heard(
                    name, time_s, detector.inferences - 1, detector.average, detector.maximum, False, True
                )
        elif peak is not None:
            yield self._peaks.pop(name)
