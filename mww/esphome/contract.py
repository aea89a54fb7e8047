"""What ESPHome's `micro_wake_word` accepts and relies on: the only place of its numbers.

Read from ESPHome 2026.6.5, `esphome/components/micro_wake_word/` (`__init__.py`, `micro_wake_word.cpp`,
`streaming_model.cpp`, `streaming_model.h`, `preprocessor_settings.h`), and compared function by function up to
2026.10.0; the source stands beside each number. What differs between releases stands in `releases.toml`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

# --- The model -------------------------------------------------------------------------------------------------------
SCHEMA_VERSION: Final = 3
"""TFLITE_SCHEMA_VERSION, checked in `StreamingModel::load_model_`."""

REGISTERED_OPS: Final = (
    "CALL_ONCE",
    "VAR_HANDLE",
    "RESHAPE",
    "READ_VARIABLE",
    "STRIDED_SLICE",
    "CONCATENATION",
    "ASSIGN_VARIABLE",
    "CONV_2D",
    "MUL",
    "ADD",
    "MEAN",
    "FULLY_CONNECTED",
    "LOGISTIC",
    "QUANTIZE",
    "DEPTHWISE_CONV_2D",
    "AVERAGE_POOL_2D",
    "MAX_POOL_2D",
    "PAD",
    "PACK",
    "SPLIT_V",
)
"""The 20 operators of `StreamingModel::register_streaming_ops_`, in its order. Op versions do not matter to TFLM."""

MAX_RESOURCE_VARIABLES: Final = 20
"""`MicroResourceVariables::Create(ma_, 20)`."""

VARIABLE_ARENA_SIZE: Final = 1024
"""Bytes; STREAMING_MODEL_VARIABLE_ARENA_SIZE. Holds handles only: state buffers live in the tensor arena's tail."""

FEATURES: Final = 40
"""Features a slice; PREPROCESSOR_FEATURE_SIZE."""

MAX_STRIDE: Final = 255
"""Slices an inference: `uint8_t stride = input->dims->data[1]`, so 256 would be 0, by which the device divides."""

OUTPUT_SCALE: Final = 1 / 256
OUTPUT_ZERO_POINT: Final = 0
"""Quantisation of the uint8 output; the runtime ignores it and reads byte / 255 as the probability."""

# --- Features (preprocessor_settings.h, micro_wake_word.cpp) ---------------------------------------------------------
SAMPLE_RATE: Final = 16_000
"""Hz."""
MAX_SECONDS: Final = 24 * 3600
"""Seconds of the longest clip; a limit of mww-harness, not of ESPHome."""
MAX_LEAD_IN: Final = 3600
"""Seconds of silence in front of a clip: more takes minutes, and tells nothing new about a model."""
FEATURE_STEP_MS: Final = 10
"""`feature_step_size` of every V2 model; the front-end package steps 10 ms and nothing else."""

FEATURE_STEP_BYTES: Final = SAMPLE_RATE * FEATURE_STEP_MS // 1000 * 2
"""A step of int16 samples."""

FEATURE_FLOAT_SCALE: Final = 25.6
"""Front-end uint16 features divided by this are the floats (0..26) that models are trained on."""
FEATURE_MAX: Final = 26.0
"""The float that stands for int8 127; 0.0 stands for -128."""

QUANTIZE_VALUE_SCALE: Final = 256
QUANTIZE_VALUE_DIV: Final = 666
"""`int8 = clamp((feature * 256 + 333) / 666 - 128)` in int32 (`micro_wake_word.cpp`, value_scale and value_div)."""

INPUT_SCALE: Final = FEATURE_MAX / 255
INPUT_ZERO_POINT: Final = -128
"""The input quantisation that the integer rule above amounts to; the runtime never reads the model's own."""

# --- Detection (streaming_model.h, micro_wake_word.cpp) --------------------------------------------------------------
MIN_SLICES_BEFORE_DETECTION: Final = 100
"""`ignore_windows_` starts at minus this, and returns there at each detection."""

# --- Manifest --------------------------------------------------------------------------------------------------------
V1_FEATURE_STEP_MS: Final = 20
V1_TENSOR_ARENA_SIZE: Final = 45_672
"""What ESPHome gives a version 1 manifest (`_convert_manifest_v1_to_v2`)."""

DEFAULT_PROBABILITY_CUTOFF: Final = 0.97
DEFAULT_SLIDING_WINDOW_SIZE: Final = 5
"""Cutoff and window of the published models, used without a manifest."""


@dataclass(frozen=True, slots=True)
class RuntimeVersions:
    """The library versions that one ESPHome release pins (`__init__.py`, `add_idf_component`)."""

    esp_tflite_micro: str
    esp_nn: str


DEFAULT_RUNTIME: Final = RuntimeVersions(esp_tflite_micro="1.3.3~1", esp_nn="1.1.2")
"""What ESPHome has pinned since 2026.4.0b3; a test compares it with the newest entry of `releases.toml`."""


def cutoff_byte(probability_cutoff: float) -> int:
    """The cutoff as the byte that the device compares sums with: truncated, never rounded.

    ESPHome's code generation emits `int(cutoff * 255)` (`__init__.py`, `to_code`).
    """
    return int(probability_cutoff * 255)


def cutoff_of(byte: int) -> float:
    """The smallest cutoff with four decimals that the device holds as `byte`."""
    cutoff = math.ceil(byte / 255 * 10_000) / 10_000
    return cutoff if cutoff_byte(cutoff) == byte else round(cutoff + 0.0001, 4)
