"""Streams a clip through one or more targets at once, block by block."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import chain
from typing import Final

import numpy as np
import numpy.typing as npt

from harness.clips.clip import AudioClip, Clip
from harness.clips.input import ClipInput, InputMeter
from harness.run.features import FeatureComparison, HeardFeatures
from harness.targets.base import Inference, Target
from mww.core.errors import MwwError
from mww.esphome.contract import FEATURES
from mww.esphome.detection import DeviceDetection
from mww.esphome.frontend import Slices

SHORT: Final = 3000
"""Slices, half a minute: a longer clip fills the arrays of an engine by itself."""


@dataclass(frozen=True, slots=True)
class Streamed:
    """Facts about a streamed clip, and why it ended early; `input` is None where nothing was read."""

    slices: int
    frames_sha256: str
    error: MwwError | None
    input: ClipInput | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """Slices, and the sound that completes them if the clip is streamed as sound."""

    slices: Slices
    samples: bytes = b""


class Feed:
    """A target with a loaded model that takes slices in blocks of any length, and infers whole frames."""

    def __init__(self, target: Target, stride: int) -> None:
        self.target = target
        self.stride = stride
        self._rest: Slices = np.empty((0, FEATURES), np.int8)
        self._outputs: list[npt.NDArray[np.uint8]] = []
        self._microseconds: list[npt.NDArray[np.uint32]] = []
        self._instructions: list[npt.NDArray[np.uint32]] = []
        self._detections: tuple[DeviceDetection, ...] | None = None

    @property
    def joins(self) -> bool:
        """Whether its target is faster with many short clips at once, and can take them."""
        return self.target.computes_here()

    @property
    def outputs(self) -> npt.NDArray[np.uint8]:
        """All outputs since `start`, uint8 `[n]`."""
        return np.concatenate([np.empty(0, np.uint8), *self._outputs])

    @property
    def microseconds(self) -> npt.NDArray[np.uint32]:
        """Microseconds of each on the chip, uint32 `[n]`; empty where the target does not measure them."""
        return np.concatenate([np.empty(0, np.uint32), *self._microseconds])

    @property
    def instructions(self) -> npt.NDArray[np.uint32]:
        """Instructions of each, uint32 `[n]`; empty where the target does not count them."""
        return np.concatenate([np.empty(0, np.uint32), *self._instructions])

    @property
    def detections(self) -> tuple[DeviceDetection, ...] | None:
        """The detections of the target's own rule since `start`; None without a rule or an inference."""
        return self._detections

    @property
    def features(self) -> HeardFeatures | None:
        """The comparison of the target's own features with this computer's; None for a target without own features."""
        return None

    def start(self) -> None:
        """Start a clip, in the model's initial state."""
        self._rest, self._outputs, self._detections = self._rest[:0], [], None
        self._microseconds, self._instructions = [], []
        self._begin()

    def push(self, block: Block) -> None:
        """Infer every frame that `block` completes; slices after the last whole frame wait for the next block."""
        slices = np.concatenate([self._rest, block.slices]) if len(self._rest) else block.slices
        whole = len(slices) - len(slices) % self.stride
        self._rest = slices[whole:]
        if whole:
            self._keep(self.target.infer(whole_frames(slices, self.stride)))

    def _begin(self) -> None:
        self.target.reset()

    def _keep(self, inference: Inference) -> None:
        self._outputs.append(inference.outputs)
        if inference.microseconds is not None:
            self._microseconds.append(inference.microseconds)
        if inference.instructions is not None:
            self._instructions.append(inference.instructions)
        if inference.detections is not None:
            self._detections = (self._detections or ()) + inference.detections


class SoundFeed(Feed):
    """A target that takes the sound itself; the features of its front-end are compared with the block's slices."""

    def __init__(self, target: Target, stride: int) -> None:
        super().__init__(target, stride)
        self._comparison = FeatureComparison()

    @property
    def joins(self) -> bool:
        """It takes sound, clip by clip."""
        return False

    @property
    def features(self) -> HeardFeatures | None:
        """See `Feed`."""
        return self._comparison.result()

    def push(self, block: Block) -> None:
        """Send the block's samples to the target."""
        heard = self.target.hear(block.samples)
        self._comparison.add(block.slices, heard.features)
        self._keep(heard.inference)

    def _begin(self) -> None:
        self._comparison = FeatureComparison()
        self.target.listen()


class Reading:
    """A clip that is read once, from its beginning, and measured as it passes."""

    def __init__(self, clip: Clip, feeds: Sequence[Feed]) -> None:
        self._meter = InputMeter()
        self._rest = _blocks(clip, self._meter, feeds)
        self._read: list[Block] = []

    def short(self) -> Slices | None:
        """All slices of a clip that has at most `SHORT`; None for a longer one, whose blocks are still to come.

        Raises:
            MwwError: It cannot be read; it can be read again, by another `Reading`.
        """
        slices = 0
        while (block := next(self._rest, None)) is not None:
            self._read.append(block)
            slices += len(block.slices)
            if slices > SHORT:
                return None
        whole: Slices = np.concatenate([np.empty((0, FEATURES), np.int8), *(block.slices for block in self._read)])
        return whole

    def blocks(self) -> Iterator[Block]:
        """Every block from the beginning."""
        read, self._read = self._read, []
        return chain(read, self._rest)

    def input(self) -> ClipInput:
        """What the blocks so far were made from."""
        return self._meter.result()


def stream(reading: Reading, feeds: Sequence[Feed], reader: Executor, stopped: Callable[[], bool]) -> Streamed:
    """Stream a clip through every feed, from their initial states; a block ahead in `reader` where it saves time.

    A failure ends the clip and is in the result; the feeds keep their outputs so far. `stopped` ends it too.
    """
    slices, digest = 0, hashlib.sha256()
    here = all(feed.target.computes_here() for feed in feeds)
    try:
        for feed in feeds:
            feed.start()
        for block in reading.blocks() if here else _ahead(reading.blocks(), reader):
            slices += len(block.slices)
            digest.update(block.slices.tobytes())
            for feed in feeds:
                feed.push(block)
            if stopped():
                break
    except MwwError as error:
        return Streamed(slices, digest.hexdigest(), error)
    return Streamed(slices, digest.hexdigest(), None, reading.input())


def whole_frames(slices: Slices, stride: int) -> npt.NDArray[np.int8]:
    """The whole frames `[n, stride, 40]` of slices; those after the last one are left out."""
    return slices[: len(slices) // stride * stride].reshape(-1, stride, FEATURES)


def first_slices(clip: Clip, count: int) -> Slices:
    """The first slices of a clip, at most `count`.

    Raises:
        MwwError: The clip cannot be read.
    """
    slices: Slices = np.empty((0, FEATURES), np.int8)
    for block in clip.blocks():
        slices = np.concatenate([slices, block])
        if len(slices) >= count:
            break
    return slices[:count]


def _blocks(clip: Clip, meter: InputMeter, feeds: Sequence[Feed]) -> Iterator[Block]:
    """A clip's blocks, with their sound where a feed needs it."""
    if isinstance(clip, AudioClip) and any(isinstance(feed, SoundFeed) for feed in feeds):
        return (Block(slices, samples) for samples, slices in meter.sound(clip))
    return map(Block, meter.blocks(clip))


def _ahead(blocks: Iterator[Block], reader: Executor) -> Iterator[Block]:
    """Read the next block while the last block is inferred: the front-end takes nearly as long as a model.

    The first block is read directly: most clips have only one.
    """
    block = next(blocks, None)
    while block is not None:
        coming = reader.submit(next, blocks, None)
        yield block
        block = coming.result()
