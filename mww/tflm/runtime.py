"""The known versions of esp-tflite-micro and esp-nn, and the sizes that each fixes on a 32-bit ESP32.

A new version is a line in `libraries.toml`. Where it changes sizes, it is also an entry here or in `esp_nn`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final, Literal

from mww.core.errors import UnknownRuntimeError
from mww.core.readable import shown
from mww.core.resources import read_toml
from mww.esphome.chips import INSTRUCTION_SETS
from mww.esphome.contract import DEFAULT_RUNTIME, RuntimeVersions
from mww.tflm.esp_nn import TABLES, Kernels

ESP_TFLITE_MICRO: Final = "esp-tflite-micro"
ESP_NN: Final = "esp-nn"

Basis = Literal["measured", "read", "unseen"]
"""How the tables of a version are known; see `libraries.toml`."""

_DATA: Final = Path(__file__).with_name("libraries.toml")


@dataclass(frozen=True, slots=True)
class LibraryVersion:
    """A version of a library, the tables that hold for it, and how they are known."""

    version: str
    tables: str
    basis: Basis


@cache
def versions_of(library: str) -> dict[str, LibraryVersion]:
    """The known versions of a library by number, oldest first."""
    listed = read_toml(_DATA)[library]
    return {entry["version"]: LibraryVersion(**entry) for entry in listed}


def newest_esp_nn() -> str:
    """The newest known version of esp-nn: what a build takes that does not pin it."""
    return list(versions_of(ESP_NN))[-1]


def find_version(library: str, version: str) -> LibraryVersion:
    """Look up a version.

    Raises:
        UnknownRuntimeError: It is not known; the hint lists those that are.
    """
    known = versions_of(library)
    if version not in known:
        raise UnknownRuntimeError(f"{library} {version} is not known", hint=f"known: {', '.join(known)}")
    return known[version]


def basis_of(runtime: RuntimeVersions) -> Basis:
    """How the figures for a pair of versions are known: as the less certain of the two.

    Raises:
        UnknownRuntimeError: A version is not known.
    """
    order: tuple[Basis, ...] = ("measured", "read", "unseen")
    pair = (find_version(ESP_TFLITE_MICRO, runtime.esp_tflite_micro), find_version(ESP_NN, runtime.esp_nn))
    return max((version.basis for version in pair), key=order.index)


@dataclass(frozen=True, slots=True)
class Structs:
    """`sizeof` of what TFLM puts into the arena, in bytes, and where versions of its kernels do other things.

    Pointers and `size_t` take 4 bytes, a `double` is aligned to 8.
    """

    single_arena_buffer_allocator: int
    greedy_memory_planner: int
    micro_allocator: int
    micro_builtin_data_allocator: int
    subgraph_allocations: int
    eval_tensor: int
    node_and_registration: int
    tflite_tensor: int
    affine_quantization: int
    scratch_buffer_request: int
    scratch_buffer_handle: int
    allocation_info: int
    planner_per_buffer: int
    max_scratch_buffers_per_op: int
    builtin_params: Mapping[str, int]
    """Operator to the size of the `TfLite...Params` that its parser allocates."""
    op_data: Mapping[str, int]
    """Operator to the size of the `OpData` that its `Init` allocates."""
    concatenation_keeps_scales: bool = False
    """Whether CONCATENATION keeps its int8 inputs' scales and zero points, instead of comparing them."""
    depthwise_needs_bias: bool = False
    """Whether DEPTHWISE_CONV_2D crashes while it prepares without a bias."""
    fully_connected_per_channel: tuple[str, ...] = ("INT8",)
    """Input types for which FULLY_CONNECTED takes weights with several scales."""
    mean_iterates_in_scratch: bool = False
    """Whether MEAN asks scratch memory for its position in the input and for its axes."""
    pool_keeps_quantization: bool = False
    """Whether a pool refuses an output that is quantised otherwise than its input."""
    passes_filter_channels: bool = False
    """Whether CONV_2D passes the filter's channels to esp-nn: without them newer kernels run as reference code."""


_1_3_3: Final = Structs(
    single_arena_buffer_allocator=36,
    greedy_memory_planner=44,
    micro_allocator=36,
    micro_builtin_data_allocator=8,
    subgraph_allocations=8,
    eval_tensor=12,
    node_and_registration=32,
    tflite_tensor=40,
    affine_quantization=12,
    scratch_buffer_request=12,
    scratch_buffer_handle=4,
    allocation_info=24,
    planner_per_buffer=40,
    max_scratch_buffers_per_op=12,
    builtin_params={
        "CONV_2D": 28,
        "DEPTHWISE_CONV_2D": 28,
        "AVERAGE_POOL_2D": 40,
        "MAX_POOL_2D": 40,
        "FULLY_CONNECTED": 16,
        "ADD": 8,
        "MUL": 4,
        "MEAN": 1,
        "RESHAPE": 36,
        "STRIDED_SLICE": 24,
        "CONCATENATION": 8,
        "CALL_ONCE": 4,
        "VAR_HANDLE": 8,
        "PACK": 8,
        "SPLIT_V": 4,
    },
    op_data={
        "CONV_2D": 56,
        "DEPTHWISE_CONV_2D": 60,
        "AVERAGE_POOL_2D": 32,
        "MAX_POOL_2D": 32,
        "FULLY_CONNECTED": 48,
        "ADD": 60,
        "MUL": 36,
        "MEAN": 40,
        "LOGISTIC": 16,
        "QUANTIZE": 32,
        "STRIDED_SLICE": 84,
        "CONCATENATION": 24,
        "PAD": 56,
        "CALL_ONCE": 8,
        "VAR_HANDLE": 4,
    },
)
_1_3_1: Final = replace(
    _1_3_3,
    op_data={**_1_3_3.op_data, "FULLY_CONNECTED": 36},
    concatenation_keeps_scales=True,
    depthwise_needs_bias=True,
    fully_connected_per_channel=(),
)
_1_3_4: Final = replace(
    _1_3_3,
    op_data={**_1_3_3.op_data, "CONV_2D": 60},
    fully_connected_per_channel=("INT8", "INT16"),
    pool_keeps_quantization=True,
)
_1_3_7: Final = replace(
    _1_3_4,
    op_data={**_1_3_4.op_data, "MEAN": 44},
    mean_iterates_in_scratch=True,
    passes_filter_channels=True,
)

STRUCTS: Final = {"1.3.1": _1_3_1, "1.3.3": _1_3_3, "1.3.4": _1_3_4, "1.3.7": _1_3_7}
"""Struct sizes under the first version that has them: of 1.3.1, 1.3.3~1 and 1.3.8 measured on 32-bit builds with the
kernels of `kernels/esp_nn`, of the others read from their sources."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """One runtime on one chip."""

    versions: RuntimeVersions
    chip: str
    structs: Structs
    esp_nn: Kernels


def find_runtime(chip: str, versions: RuntimeVersions = DEFAULT_RUNTIME) -> Runtime:
    """Look up the tables of a chip, or of an instruction set of `mww.esphome.chips`, and runtime version.

    Raises:
        UnknownRuntimeError: A version or the chip is not known; the hint lists those that are.
    """
    structs = STRUCTS[find_version(ESP_TFLITE_MICRO, versions.esp_tflite_micro).tables]
    chips = TABLES[find_version(ESP_NN, versions.esp_nn).tables]
    same = INSTRUCTION_SETS.get(chip, chip)
    if same not in chips:
        raise UnknownRuntimeError(f"chip {shown(chip)} is not known", hint=f"known: {', '.join(chips)}")
    return Runtime(versions, chip, structs, chips[same])
