"""esp-nn's scratch functions, by version and chip; data for `runtime`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mww.esphome.chips import CHIPS
from mww.tflm import esp_nn_p4 as p4
from mww.tflm import esp_nn_s3 as s3
from mww.tflm.scratch import ScratchSize, no_scratch


@dataclass(frozen=True, slots=True)
class Kernels:
    """The scratch functions of one chip."""

    conv: ScratchSize
    depthwise_conv: ScratchSize


def _chips(
    conv_s3: ScratchSize, depthwise_s3: ScratchSize, conv_p4: ScratchSize, depthwise_p4: ScratchSize = no_scratch
) -> dict[str, Kernels]:
    """The table of a version; esp-nn's portable kernels, on all other chips, ask nothing."""
    kernels = {
        "portable": Kernels(no_scratch, no_scratch),
        "esp32s3": Kernels(conv_s3, depthwise_s3),
        "esp32p4": Kernels(conv_p4, depthwise_p4),
    }
    return {chip.name: kernels[chip.kernels] for chip in CHIPS}


TABLES: Final[dict[str, dict[str, Kernels]]] = {
    "1.0": _chips(s3.conv_1_1, s3.depthwise_1_1, no_scratch),
    "1.1": _chips(s3.conv_1_1, s3.depthwise_1_1, s3.conv_1_1),
    "1.2.0": _chips(s3.conv_1_1, s3.depthwise_1_2_0, s3.conv_1_1),
    "1.2.1": _chips(s3.conv_1_2_1, s3.depthwise_1_2_1, s3.conv_1_1),
    "1.2.3": _chips(s3.conv_1_2_3, s3.depthwise_1_2_1, p4.conv_1_2_3),
    "2026-11": _chips(s3.conv_2026_11, s3.depthwise_2026_11, p4.conv_2026_11, p4.depthwise_2026_11),
}
"""Scratch functions by chip, from `include/esp_nn*.h` and `src/convolution/`, under the first version that has them.

`2026-11` is from single files of the repository that are newer than 1.2.3 (`src/convolution/esp_nn_conv_esp32s3.c` at
commit 25cae54, and the S3's depthwise and the P4's `riscv_pie` kernels of the same months), whose version is not known.
"""
