"""Which code on a chip most likely computed a wrong result: the kernel's source, and esp-nn's function behind it.

Read from esp-tflite-micro 1.3.3~1 (`tensorflow/lite/micro/kernels`) and esp-nn 1.1.2 (`include/esp_nn_*.h`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

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
"""Where the file is not named after the operator."""
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
    """Where to look for a wrong operator, in a sentence; `target` are its versions, as `TensorSource` says them."""
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
    if function is None:
        return f"{file} of esp-tflite-micro, which calls no esp-nn for this"
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
