"""The quality of a wake word on labelled clips with the device's own rule, from recorded outputs.

Every statistic of a report, a cutoff or a comparison is computed here, with its confidence interval; no model runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from harness.run.evaluation.labels import LABELS, Label, LabelKind
from mww.esphome import contract
from mww.esphome.detection import Check, Recording, Vad

_TAIL: Final = (1 - 0.95) / 2
"""The probability beyond each end of an interval: all have a confidence of 95 %."""
_HALVINGS: Final = 60  # a double has no more digits than that

SWEEP_BYTES: Final = tuple(sorted({contract.cutoff_byte(step / 100) for step in range(20, 100)} | {253, 254}))
"""Cutoff bytes of a sweep: those of the cutoffs 0.20 to 0.99, and the two bytes above."""

_SECONDS_AN_HOUR: Final = 3600


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate of events an hour.

    Attributes:
        count: Number of events.
        hours: The observed time.
        rate: Events an hour; None where there was no time.
        low: Lower end of the exact Poisson interval; None where there was no time.
        high: Upper end.
    """

    count: int
    hours: float
    rate: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Proportion:
    """A proportion of hits among trials.

    Attributes:
        hits: Number of hits.
        trials: Number of trials.
        value: Hits over trials; None where there were no trials.
        low: Lower end of the exact binomial (Clopper-Pearson) interval, 0 without trials.
        high: Upper end, 1 without trials.
    """

    hits: int
    trials: int
    value: float | None
    low: float
    high: float


@lru_cache(maxsize=4096)  # a sweep needs the same few counts again and again
def poisson_rate(count: int, hours: float) -> Rate:
    """The rate of `count` events in `hours`, with its exact Poisson interval."""
    if hours <= 0:
        return Rate(count, 0.0, None, None, None)
    low = 0.0 if count == 0 else _solve(lambda mean: 1 - _poisson_cdf(count - 1, mean), _TAIL, 0, count)
    top = count + 10 * math.sqrt(count + 1) + 10
    high = _solve(lambda mean: 1 - _poisson_cdf(count, mean), 1 - _TAIL, count, top)
    return Rate(count, hours, count / hours, low / hours, high / hours)


@lru_cache(maxsize=4096)
def binomial_proportion(hits: int, trials: int) -> Proportion:
    """The proportion of `hits` among `trials`, with its exact binomial interval."""
    if trials == 0:
        return Proportion(0, 0, None, 0.0, 1.0)
    low = 0.0 if hits == 0 else _solve(lambda p: 1 - _binomial_cdf(hits - 1, trials, p), _TAIL, 0, 1)
    high = 1.0 if hits == trials else _solve(lambda p: 1 - _binomial_cdf(hits, trials, p), 1 - _TAIL, 0, 1)
    return Proportion(hits, trials, hits / trials, low, high)


def _solve(rising: Callable[[float], float], value: float, low: float, high: float) -> float:
    """The argument at which a rising function has a value, by bisection."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < value else (low, middle)
    return (low + high) / 2


def _log_factorials(last: int) -> npt.NDArray[np.float64]:
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, last + 1, dtype=np.float64)))])


def _poisson_cdf(count: int, mean: float) -> float:
    """P(X <= count)."""
    if mean <= 0:
        return 1.0
    events = np.arange(count + 1)
    return float(np.exp(events * math.log(mean) - mean - _log_factorials(count)).sum())


def _binomial_cdf(hits: int, trials: int, p: float) -> float:
    """P(X <= hits)."""
    if not 0 < p < 1:
        return 1.0 if p <= 0 else float(hits >= trials)
    logs = _log_factorials(trials)
    k = np.arange(hits + 1)
    ways = logs[trials] - logs[k] - logs[trials - k]
    return float(np.exp(ways + k * math.log(p) + (trials - k) * math.log1p(-p)).sum())


NO_CLIPS: Final = binomial_proportion(0, 0)


@dataclass(frozen=True, slots=True)
class LabelledOutputs:
    """A clip's outputs and its label.

    Attributes:
        name: The clip's name.
        label: Its label.
        outputs: uint8 `[n]`.
        seconds: Its length without the lead-in.
        lead_in: Seconds of silence in front, which `outputs` include.
        vad: The VAD model's outputs on the same slices; None without a VAD.
    """

    name: str
    label: Label
    outputs: npt.NDArray[np.uint8]
    seconds: float
    lead_in: float = 0.0
    vad: Vad | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """The parameters of the detection rule besides the cutoff: window, slices an inference, milliseconds a slice."""

    window: int
    stride: int
    feature_step_size: int


@dataclass(frozen=True, slots=True)
class SweepPoint:
    """Recall on positive clips and false accepts on negative ones at one cutoff.

    Attributes:
        cutoff_byte: The byte that the device compares with.
        cutoff: The smallest cutoff with four decimals for that byte, for a manifest.
        recall: Positive clips with a detection.
        false_accepts: Detections in negative clips, an hour.
        near_misses: Near misses with a detection.
    """

    cutoff_byte: int
    cutoff: float
    recall: Proportion
    false_accepts: Rate
    near_misses: Proportion = NO_CLIPS


@dataclass(frozen=True, slots=True)
class Delay:
    """Seconds from the end of the wake word to the first detection, over the positive clips whose end is known."""

    clips: int
    p50: float
    p95: float
    max: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The quality of a model on labelled clips.

    Attributes:
        at: Recall and false accepts at the model's own cutoff.
        missed: Positive clips without a detection.
        woken_by: Negative clips with a detection.
        near_misses_woken_by: Near misses with a detection.
        delay: None where no label gives the word's end.
        sweep: Recall and false accepts at other cutoffs, in rising order.
    """

    at: SweepPoint
    missed: tuple[str, ...]
    woken_by: tuple[str, ...]
    delay: Delay | None
    sweep: tuple[SweepPoint, ...]
    near_misses_woken_by: tuple[str, ...] = ()


def evaluate(clips: Iterable[LabelledOutputs], rule: Rule, cutoff_byte: int) -> Evaluation:
    """Judge recorded outputs at a model's own cutoff, and at all of `SWEEP_BYTES`."""
    tally = _Tally((cutoff_byte, *SWEEP_BYTES))
    delays = []
    silent: dict[LabelKind, list[str]] = {kind: [] for kind in LABELS.values()}
    woken: dict[LabelKind, list[str]] = {kind: [] for kind in LABELS.values()}
    for clip in clips:
        prepared = _Prepared(clip, rule)
        tally.add(prepared)
        (woken if prepared.detected(cutoff_byte) else silent)[prepared.kind].append(clip.name)
        if prepared.kind == "positive":
            delays.append(prepared.delay(cutoff_byte))
    return Evaluation(
        at=tally.point(cutoff_byte),
        missed=tuple(silent["positive"]),
        woken_by=tuple(woken["negative"]),
        delay=_delay(delays),
        sweep=tuple(tally.point(byte) for byte in SWEEP_BYTES),
        near_misses_woken_by=tuple(woken["near-miss"]),
    )


def sweep(clips: Iterable[LabelledOutputs], rule: Rule, bytes_: Iterable[int] = SWEEP_BYTES) -> tuple[SweepPoint, ...]:
    """Recall and false accepts at each cutoff byte, in the order given."""
    asked = tuple(bytes_)
    tally = _Tally(asked)
    for clip in clips:
        tally.add(_Prepared(clip, rule))
    return tuple(tally.point(byte) for byte in asked)


class _Prepared:
    """A clip with its running sums, which are computed once for all cutoffs."""

    def __init__(self, clip: LabelledOutputs, rule: Rule) -> None:
        self.name, self.seconds = clip.name, clip.seconds
        self.kind = clip.label.kind
        self._clip, self._step = clip, rule.feature_step_size / 1000
        self._recording = Recording(clip.outputs, window=rule.window, stride=rule.stride)
        self.loudest = self._recording.loudest
        """No sum is above the threshold of a cutoff byte that is as large: of most clips, at most cutoffs."""

    def wakes(self, byte: int) -> Iterator[Check]:
        """The checks that wake the device."""
        if self.loudest <= byte:
            return iter(())
        return (check for check in self._recording.checks(byte, self._clip.vad) if not check.vad_blocked)

    def detections(self, byte: int) -> int:
        """The number of detections that wake the device."""
        return sum(1 for _ in self.wakes(byte))

    def detected(self, byte: int) -> bool:
        """Whether the model wakes the device."""
        return next(self.wakes(byte), None) is not None

    def delay(self, byte: int) -> float | None:
        """Seconds from the end of the word to the first detection; None where either is missing."""
        end = self._clip.label.end_s
        first = next(self.wakes(byte), None)
        return None if end is None or first is None else first.slices * self._step - self._clip.lead_in - end


class _Tally:
    """Counts at several cutoffs, a clip at a time, so that memory holds the running sums of a single clip."""

    def __init__(self, bytes_: Iterable[int]) -> None:
        self._recalled = dict.fromkeys(bytes_, 0)
        self._accepts, self._near = dict(self._recalled), dict(self._recalled)
        self._positive, self._near_misses, self._seconds = 0, 0, 0.0

    def add(self, clip: _Prepared) -> None:
        """Count a clip."""
        if clip.kind == "negative":
            self._seconds += clip.seconds
            for byte in self._accepts:
                if byte < clip.loudest:
                    self._accepts[byte] += clip.detections(byte)
            return
        self._positive += clip.kind == "positive"
        self._near_misses += clip.kind == "near-miss"
        counts = self._recalled if clip.kind == "positive" else self._near
        for byte in counts:
            counts[byte] += byte < clip.loudest and clip.detected(byte)

    def point(self, byte: int) -> SweepPoint:
        """The counts at one of the cutoffs."""
        return SweepPoint(
            cutoff_byte=byte,
            cutoff=contract.cutoff_of(byte),
            recall=binomial_proportion(self._recalled[byte], self._positive),
            false_accepts=poisson_rate(self._accepts[byte], self._seconds / _SECONDS_AN_HOUR),
            near_misses=binomial_proportion(self._near[byte], self._near_misses),
        )


def _delay(result: Iterable[float | None]) -> Delay | None:
    delays = np.array([delay for delay in result if delay is not None])
    if not delays.size:
        return None
    p50, p95 = np.percentile(delays, (50, 95), method="inverted_cdf")
    return Delay(len(delays), float(p50), float(p95), float(delays.max()))
