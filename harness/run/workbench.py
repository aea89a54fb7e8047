"""A bench: a target with its golden engine and its VAD engine, one for each job."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from harness.clips.clip import Clip
from harness.clips.golden import Golden
from harness.clips.input import ClipInput
from harness.run.judging import Observed, nothing_but
from harness.run.streaming import Feed, Reading, SoundFeed, Streamed, first_slices, stream, whole_frames
from harness.targets.base import ArenaUse, OperatorCost, TargetInfo
from harness.targets.emulator import EmulatorTarget
from harness.targets.registry import TargetOptions, open_target
from mww.core.closing import Closing
from mww.core.errors import DeviceError, FeatureError, LinkError, MwwError, UsageError
from mww.esphome.frontend import Slices
from mww.esphome.model import Model
from mww.tflite.model_file import read_model


@dataclass(frozen=True, slots=True)
class Setup:
    """The common data of all jobs of a run.

    Attributes:
        model: The model under test.
        options: The options of the target.
        recorded: The golden to compare with, or None.
        golden_engine: The engine that computes golden outputs during the run; None with a recorded golden, and where
            nothing is compared.
        vad: The VAD model that gates detections; None without one.
        vad_engine: What runs it.
        from_audio: Whether the target is sent sound, for its own front-end.
    """

    model: Model
    options: TargetOptions
    recorded: Golden | None
    golden_engine: str | None
    vad: Model | None
    vad_engine: str | None
    from_audio: bool = False


_PROFILED: Final = 17
"""Number of profiled frames; the first only fills the state."""
_FEEDS: Final = ("target", "golden", "vad")
AT_ONCE: Final = 64
"""Number of clips that a bench takes if it runs short clips together."""
_TOGETHER: Final = 12_000
"""Slices (two minutes) that are run together; more are not faster."""


@dataclass(frozen=True, slots=True)
class _Short:
    """A clip that was read and not yet run, with its golden outputs; None without a golden."""

    clip: Clip
    golden: npt.NDArray[np.uint8] | None
    slices: Slices
    input: ClipInput


class Bench(Closing):
    """The target and the engines of a job; for one thread at a time."""

    def __init__(self, setup: Setup, target: str) -> None:
        """Open target and engines; `target` is the target's name.

        Raises:
            MwwError: One of them cannot be opened.
        """
        self.setup = setup
        self.target = target
        with ExitStack() as stack:
            self._target = stack.enter_context(open_target(target, setup.options))
            self._golden = self._engine(stack, setup.golden_engine)
            self._vad = self._engine(stack, setup.vad_engine)
            self._reader = stack.enter_context(ThreadPoolExecutor(1, "reader"))
            self._open = stack.pop_all()
        self._feeds: dict[str, Feed] = {}
        self._last: str | None = None

    @staticmethod
    def _engine(stack: ExitStack, name: str | None) -> EmulatorTarget | None:
        return stack.enter_context(EmulatorTarget(name)) if name else None

    def info(self) -> TargetInfo:
        """Facts about the target."""
        return self._target.info()

    def load(self) -> ArenaUse:
        """Load the models on target and engines, and return the target's arena.

        Raises:
            MwwError: A model is refused.
        """
        model = self.setup.model
        if model.problem is not None:
            raise model.problem
        arena = self._target.load(model)
        self._feeds["target"] = self._target_feed()
        if self._golden is not None:
            self._golden.load(model)
            self._feeds["golden"] = Feed(self._golden, model.stride)
        if self._vad is not None and self.setup.vad is not None:
            self._vad.load(self.setup.vad)
            self._feeds["vad"] = Feed(self._vad, self.setup.vad.stride)
        return arena

    def _target_feed(self) -> Feed:
        stride = self.setup.model.stride
        if not self.setup.from_audio:
            return Feed(self._target, stride)
        self._target.listen()  # other models are refused before the first clip
        return SoundFeed(self._target, stride)

    @property
    def at_once(self) -> int:
        """The number of clips that `run` should get at a time."""
        return AT_ONCE if self._joins() else 1

    def run(self, clips: Sequence[Clip], stopped: Callable[[], bool]) -> Iterator[Observed]:
        """Stream clips until `stopped`, and yield the observations of each, in order, which include any failure.

        If the target and its engines compute in this process, short clips run together: faster, with the same outputs.
        """
        if self._joins():
            yield from self._run_joined(clips, stopped)
        else:
            for clip in clips:
                yield self._run_one(clip, stopped)

    def _run_joined(self, clips: Sequence[Clip], stopped: Callable[[], bool]) -> Iterator[Observed]:
        """Run short clips together, in groups of `_TOGETHER` slices; a long or unreadable clip runs alone."""
        waiting: list[_Short] = []
        for clip in clips:
            try:
                golden, reading = self._recorded(clip), Reading(clip, tuple(self._feeds.values()))
                slices = reading.short()
            except MwwError:
                yield from self._run_together(waiting, stopped)
                yield self._run_one(clip, stopped)
            else:
                if slices is None:
                    yield from self._run_together(waiting, stopped)
                    yield self._stream(clip, golden, reading, stopped)
                else:
                    waiting.append(_Short(clip, golden, slices, reading.input()))
                    if sum(len(short.slices) for short in waiting) < _TOGETHER:
                        continue
                    yield from self._run_together(waiting, stopped)
            waiting = []
        yield from self._run_together(waiting, stopped)

    def _joins(self) -> bool:
        return all(feed.joins for feed in self._feeds.values())

    def _recorded(self, clip: Clip) -> npt.NDArray[np.uint8] | None:
        return self.setup.recorded.outputs(clip.name) if self.setup.recorded else None

    def _run_one(self, clip: Clip, stopped: Callable[[], bool]) -> Observed:
        try:
            golden = self._recorded(clip)
        except MwwError as error:
            return nothing_but(error)
        return self._stream(clip, golden, Reading(clip, tuple(self._feeds.values())), stopped)

    def _stream(
        self, clip: Clip, golden: npt.NDArray[np.uint8] | None, reading: Reading, stopped: Callable[[], bool]
    ) -> Observed:
        streamed = stream(reading, tuple(self._feeds.values()), self._reader, stopped)
        after, self._last = self._last, clip.name if streamed.error is None else None
        target, live, vad = (self._feeds.get(name) for name in _FEEDS)
        assert target is not None
        return Observed(
            streamed=streamed,
            outputs=target.outputs,
            microseconds=target.microseconds,
            instructions=target.instructions,
            device_inferences=self._target.inferences(),
            device_detections=target.detections,
            golden=live.outputs if live else golden,
            vad=vad.outputs if vad else None,
            after=after,
            target=self.target,
            features=target.features,
        )

    def _run_together(self, shorts: Sequence[_Short], stopped: Callable[[], bool]) -> Iterator[Observed]:
        """Run clips that were read. If this fails, they run one by one, so each clip has its own result."""
        if not shorts:
            return
        try:
            outputs = {
                name: feed.target.infer_clips([whole_frames(short.slices, feed.stride) for short in shorts])
                for name, feed in self._feeds.items()
            }
        except MwwError:
            for short in shorts:
                yield self._run_one(short.clip, stopped)
            return
        for index, short in enumerate(shorts):
            after, self._last = self._last, short.clip.name
            digest = hashlib.sha256(short.slices.tobytes()).hexdigest()
            target, live, vad = (outputs[name][index] if name in outputs else None for name in _FEEDS)
            assert target is not None
            yield Observed(
                streamed=Streamed(len(short.slices), digest, None, short.input),
                outputs=target,
                microseconds=np.empty(0, np.uint32),
                device_inferences=len(target),
                device_detections=None,
                golden=short.golden if live is None else live,
                vad=vad,
                after=after,
                target=self.target,
            )

    def profile(self, clip: Clip) -> tuple[OperatorCost, ...]:
        """The cost of each operator on the first frames of a clip; called after the last clip.

        Where the target cannot measure it, operators have no cost.

        Raises:
            MwwError: The frames were not inferred, or the clip is too short.
        """
        model = self.setup.model
        frames = whole_frames(first_slices(clip, _PROFILED * model.stride), model.stride)
        if len(frames) < 2:
            raise FeatureError(f"{clip.name} is too short", hint="give a clip of two frames or more first")
        costs = self._target.profile(frames)
        if costs is not None:
            return costs
        operators = read_model(model.content).main.operators
        return tuple(OperatorCost(operator.op, index, None, None) for index, operator in enumerate(operators))

    def gone(self) -> bool:
        """Whether the target's link has failed permanently; called after a clip with an error."""
        try:
            self._target.reset()
        except LinkError as error:
            return not isinstance(error, DeviceError)
        except MwwError:
            return False
        return False

    def close(self) -> None:
        """Close target and engines."""
        self._open.close()


def open_benches(setup: Setup, targets: Sequence[str], lost: dict[str, str] | None, stack: ExitStack) -> list[Bench]:
    """A bench for each target, closed by `stack`.

    With `lost`, boards that cannot be reached are added to it and left out; without it, this is an error.

    Raises:
        UsageError: The boards are too different to give the same outputs.
        MwwError: A target cannot be opened; with `lost`, no target can.
    """
    benches: list[Bench] = []
    for index, name in enumerate(targets, start=1):
        try:
            benches.append(stack.enter_context(Bench(setup, name)))
        except LinkError as error:
            if lost is None or (not benches and index == len(targets)):
                raise
            lost[name] = f"{name} was lost before {setup.model.name}, and left out: {error.message}"
    for other in benches[1:]:
        if other.info() != benches[0].info():
            difference = _difference(other.info(), benches[0].info())
            message = f"{other.target} differs from {benches[0].target}: {difference}"
            raise UsageError(message, hint="share clips between boards with the same chip and firmware")
    return benches


def _difference(a: TargetInfo, b: TargetInfo) -> str:
    """What two targets report differently."""
    first, second = ({"kind": x.kind, "chip": x.chip, "engine": x.engine, **dict(x.versions)} for x in (a, b))
    names = [name for name in {**first, **second} if first.get(name) != second.get(name)]
    return ", ".join(f"{name} {first.get(name, 'unknown')} and {second.get(name, 'unknown')}" for name in names)
