"""A clip's wrong outputs, made again: the golden engine gives the very same ones under some fault outside the model.

A fault that reproduces every output of a clip needs no further search; `harness.bisect.explanation` looks into the
model only after these, and `harness.run` names them in its report.

It also names the code that most likely computed a wrong result: the kernel's source, and esp-nn's function.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Final, Literal, Protocol

import numpy as np
import numpy.typing as npt

from harness.bisect.operator_search import Divergence
from harness.targets.registry import spec_of_kind
from mww.esphome.chips import CHIP_NAMES, find_chip

_KERNELS: Final = "tensorflow/lite/micro/kernels"
_FILES: Final[Mapping[str, str]] = {
    "ADD": "esp_nn/add.cc",
    "AVERAGE_POOL_2D": "esp_nn/pooling.cc",
    "CONV_2D": "esp_nn/conv.cc",
    "DEPTHWISE_CONV_2D": "esp_nn/depthwise_conv.cc",
    "FULLY_CONNECTED": "esp_nn/fully_connected.cc",
    "MAX_POOL_2D": "esp_nn/pooling.cc",
    "MEAN": "reduce.cc",
    "MUL": "esp_nn/mul.cc",
}
"""Kernel files that are not named after the operator."""
_FUNCTIONS: Final[Mapping[str, tuple[str, str, str]]] = {
    "ADD": ("esp_nn_add_elementwise_s8", "ansi", "ansi"),
    "AVERAGE_POOL_2D": ("esp_nn_avg_pool_s8", "ansi", "ansi"),
    "CONV_2D": ("esp_nn_conv_s8", "esp32p4", "opt"),
    "DEPTHWISE_CONV_2D": ("esp_nn_depthwise_conv_s8", "opt", "opt"),
    "FULLY_CONNECTED": ("esp_nn_fully_connected_s8", "ansi", "ansi"),
    "MAX_POOL_2D": ("esp_nn_max_pool_s8", "ansi", "ansi"),
    "MUL": ("esp_nn_mul_elementwise_s8", "ansi", "ansi"),
}
"""An operator's function in esp-nn with its variants on the ESP32-P4 and on other chips; the ESP32-S3 has its own of
each."""


def suspect(found: Divergence, target: Mapping[str, str]) -> str:
    """Where to look for a wrong operator, in a sentence; `target` holds the versions as `TensorSource` gives them."""
    if found.op == "CALL_ONCE":
        return "the initial state differs: the subgraph that CALL_ONCE runs, or the variables' memory before it"
    kernels = spec_of_kind(target.get("kind", "")).kernels
    if kernels == "engine":
        return f"{target.get('engine', 'the engine')} has kernels of its own; a device has TFLite Micro's"
    file = f"{_KERNELS}/{_FILES.get(found.op, found.op.lower() + '.cc')}"
    function = _function(found, target.get("chip", ""))
    if kernels == "host":
        on_chip = f"; on the chip that would be {function} of esp-nn" if function else ""
        return f"a virtual board computes with the kernels of the tflite-micro package: a planted fault{on_chip}"
    return _in_source(file, function, target.get("kernels", ""))


def _in_source(file: str, function: str | None, linked: str) -> str:
    """The kernel's file and esp-nn's function, from the libraries that a firmware reports."""
    if linked == "reference":
        return f"{file.replace('/esp_nn/', '/')} of TensorFlow Lite Micro: this library has its reference kernels"
    if function is None:
        return f"{file} of esp-tflite-micro, which calls no esp-nn for this"
    if linked == "ansi":
        return f"{function.rpartition('_')[0]}_ansi of esp-nn, called by {file} of esp-tflite-micro"
    return (
        f"{function} of esp-nn, called by {file} of esp-tflite-micro; build the firmware with CONFIG_NN_ANSI_C=y: if "
        "the difference is gone, it is that function's"
    )


def _function(result: Divergence, chip: str) -> str | None:
    """esp-nn's function, but for operands that must be broadcast, which the kernels compute without it."""
    if result.op not in _FUNCTIONS:
        return None
    if result.op in ("ADD", "MUL") and len({tensor.shape for tensor in result.inputs}) > 1:
        return None
    name, on_p4, elsewhere = _FUNCTIONS[result.op]
    kernels = find_chip(chip).kernels if chip in CHIP_NAMES else "portable"
    variant = {"esp32s3": "esp32s3", "esp32p4": on_p4, "portable": elsewhere}[kernels]
    return f"{name}_{variant}"


Frames = npt.NDArray[np.int8]
"""`[n, stride, 40]`"""
Outputs = npt.NDArray[np.uint8]

Cause = Literal["operator", "unsteady", "reset", "slice-order", "output", "passing", "unknown"]
"""`operator`: its result differs; `unsteady`: the same frames give other outputs from run to run; `reset`: the state
outlives a reset; `slice-order`: slices reach the model in another order; `output`: a result was damaged behind the
model; `passing`: it did not happen again; `unknown`: none of these."""

_MEMORY: Final = 120
"""Frames before a wrong output that are searched for exchanged slices: more than any model remembers."""
_MOST: Final = 1500
"""Exchanges within single frames that are tried, for about ten seconds; one frame of 40 slices has 780."""
_LONGEST: Final = 4000
"""Frames of a clip, two minutes, beyond which an exchange in a single frame is not looked for: that takes too long."""


class Streamer(Protocol):
    """A loaded model that can be reset."""

    def reset(self) -> None:
        """Put the streaming state back to the initial one."""
        ...

    def outputs(self, frames: Frames) -> Outputs:
        """The output after each of `frames`."""
        ...


@dataclass(frozen=True, slots=True)
class Explanation:
    """A cause, in a sentence."""

    cause: Cause
    account: str


@dataclass(frozen=True, slots=True)
class Difference:
    """A clip with wrong outputs; `before` holds all frames that were streamed since the model was loaded."""

    clip: str
    frames: Frames
    found: Outputs
    expected: Outputs
    before: Frames

    @property
    def wrong(self) -> npt.NDArray[np.intp]:
        """The inferences whose output differs."""
        return np.flatnonzero(self.found != self.expected)

    @property
    def first(self) -> int:
        """The first inference whose output differs."""
        return int(self.wrong[0])


def explain_besides_reset(difference: Difference, golden: Streamer, *, thorough: bool = True) -> Explanation | None:
    """Slices in another order, or one damaged output; a single flipped bit is likelier damage than an order.

    Of hundreds of orders, one may give a single wrong output by chance. See `explain_by_order` for `thorough`.
    """
    damage = explain_by_damage(difference)
    at = difference.first
    if damage is not None and (int(difference.found[at]) ^ int(difference.expected[at])).bit_count() == 1:
        return damage
    return explain_by_order(difference, golden, thorough=thorough) or damage


def explain_by_reset(difference: Difference, golden: Streamer) -> Explanation | None:
    """A reset without effect: the golden engine, without a reset, gives the same outputs."""
    if not len(difference.before):
        return None
    golden.reset()
    golden.outputs(difference.before)
    if not np.array_equal(golden.outputs(difference.frames), difference.found):
        return None
    message = "the reset between two clips does not restore the streaming state: it continues from the clip before"
    return Explanation("reset", message)


def explain_by_order(difference: Difference, golden: Streamer, *, thorough: bool = True) -> Explanation | None:
    """An order of slices with which the golden engine gives every output; the same in all frames unless `thorough`."""
    result, quickly = difference.found, difference.first + 1
    for frames, account in _reorderings(difference, thorough=thorough):
        if _gives(golden, frames, result, quickly) and _gives(golden, frames, result):
            return Explanation("slice-order", account)
    return None


def explain_by_damage(difference: Difference) -> Explanation | None:
    """A single damaged output, with all later ones right."""
    if len(difference.wrong) > 1:
        return None
    result, expected = int(difference.found[difference.first]), int(difference.expected[difference.first])
    bits = (result ^ expected).bit_count()
    message = (
        f"one output alone is wrong, {result} for {expected} ({bits} of its bits), and no later one: the model ran"
    )
    return Explanation("output", f"{message} correctly, and the result was damaged after it")


def _gives(golden: Streamer, frames: Frames, outputs: Outputs, count: int | None = None) -> bool:
    """Whether the golden engine gives these outputs for these frames; only the first `count`, to be quick."""
    golden.reset()
    return np.array_equal(golden.outputs(frames[:count]), outputs[:count])


def _reorderings(difference: Difference, *, thorough: bool) -> Iterator[tuple[Frames, str]]:
    """The clip with its slices in other orders: in every frame, then in a single one."""
    frames, first = difference.frames, difference.first
    orders = orders_of_slices(frames.shape[1])
    for order in orders:
        yield frames[:, order], f"the slices of every frame reach the model in the order {order}"
    if len(frames) > _LONGEST or not thorough:
        return
    back = min(_MEMORY, _MOST // max(1, len(orders)))
    for index in range(first, max(-1, first - back), -1):
        for order in orders:
            changed = frames.copy()
            changed[index] = frames[index, order]
            if not np.array_equal(changed, frames):
                yield changed, f"the slices of frame {index} reach the model in the order {order}"


def orders_of_slices(stride: int) -> list[list[int]]:
    """Every other order of a frame's slices; of long frames, every exchange of two."""
    straight = list(range(stride))
    if stride <= 4:
        return [list(order) for order in permutations(straight)][1:]
    return [
        [two if at == item else item if at == two else at for at in straight] for item, two in combinations(straight, 2)
    ]
