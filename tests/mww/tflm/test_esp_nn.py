"""The scratch memory that each version of esp-nn asks for, against its own C functions.

Recorded from builds of `esp_nn_get_conv_scratch_size_*` and `esp_nn_get_depthwise_conv_scratch_size_*` for 32 bits, at
the tags and commits that carry the versions. The same builds agreed with the tables on 102,000 random convolutions
a version and chip.
"""

from __future__ import annotations

import pytest

from mww.core.resources import published_models
from mww.esphome.chips import CHIPS
from mww.esphome.contract import RuntimeVersions
from mww.tflm.arena import predict_arena
from mww.tflm.esp_nn import TABLES
from mww.tflm.runtime import STRUCTS, newest_esp_nn, versions_of
from mww.tflm.scratch import Convolution

COLUMNS = (
    *(("1.1", "esp32s3"), ("1.2.0", "esp32s3"), ("1.2.1", "esp32s3"), ("1.2.3", "esp32s3")),
    *(("1.1", "esp32p4"), ("1.2.3", "esp32p4")),
)
CONV, DEPTHWISE = "conv", "depthwise_conv"

# what, kind, `Convolution`'s fields, bytes by `COLUMNS`
RECORDED = (
    (
        "first convolution of okay_nabu",
        CONV,
        (1, 5, 40, 1, 5, 1, 1, 32, 0, 0, 1, 1, 0),
        (7840, 7840, 15520, 15552, 7840, 7840),
    ),
    ("1x1 on one pixel", CONV, (1, 1, 64, 1, 1, 1, 1, 64, 0, 0, 1, 1, 0), (4128, 4128, 4128, 4160, 4128, 4128)),
    ("1x1, odd channels, eight pixels", CONV, (2, 4, 13, 1, 1, 2, 4, 7, 0, 0, 1, 1, 0), (528, 528, 528, 560, 528, 204)),
    ("1x1, few channels", CONV, (9, 9, 3, 1, 1, 9, 9, 8, 0, 0, 1, 1, 0), (872, 872, 872, 904, 872, 224)),
    ("1x1, strided", CONV, (9, 9, 20, 1, 1, 5, 5, 8, 0, 0, 2, 2, 0), (320, 320, 2576, 2608, 320, 320)),
    ("3x3, padded", CONV, (12, 12, 16, 3, 3, 12, 12, 24, 1, 1, 1, 1, 0), (6720, 6720, 13312, 13344, 6720, 272)),
    (
        "3x3, one channel, window below 16",
        CONV,
        (10, 10, 1, 3, 3, 8, 8, 4, 0, 0, 1, 1, 0),
        (624, 624, 816, 848, 624, 2224),
    ),
    ("3x3, one channel, padded", CONV, (10, 10, 1, 3, 3, 10, 10, 4, 1, 1, 1, 1, 0), (768, 768, 1104, 1136, 768, 768)),
    (
        "3x3, one channel, padded, beyond the cache",
        CONV,
        (300, 200, 1, 3, 3, 300, 200, 8, 1, 1, 1, 1, 0),
        (62220, 62220, 123608, 123640, 62220, 39872),
    ),
    (
        "3x3, one channel, a row beyond the cache",
        CONV,
        (1000, 40, 1, 3, 3, 1000, 40, 64, 1, 1, 1, 1, 0),
        (51588, 51588, 96744, 96776, 51588, 89664),
    ),
    (
        "5x1, three channels, a window as a row",
        CONV,
        (40, 8, 3, 5, 1, 36, 8, 8, 0, 0, 1, 1, 0),
        (704, 704, 832, 864, 704, 5824),
    ),
    (
        "3x3, stride behind the edge",
        CONV,
        (7, 7, 32, 3, 3, 4, 4, 16, 0, 0, 2, 2, 0),
        (4704, 4704, 12512, 12544, 4704, 4704),
    ),
    ("time 5x1 depthwise", DEPTHWISE, (1, 7, 64, 1, 5, 1, 3, 64, 0, 0, 1, 1, 1), (32, 32, 1568, 1568, 0, 0)),
    ("time 23x1 depthwise", DEPTHWISE, (1, 25, 64, 1, 23, 1, 3, 64, 0, 0, 1, 1, 1), (32, 32, 6176, 6176, 0, 0)),
    (
        "3x3 depthwise, 16 channels",
        DEPTHWISE,
        (10, 10, 16, 3, 3, 10, 10, 16, 1, 1, 1, 1, 1),
        (2464, 2464, 2464, 2464, 0, 0),
    ),
    (
        "3x3 depthwise, 16 channels, no padding",
        DEPTHWISE,
        (9, 9, 16, 3, 3, 4, 4, 16, 0, 0, 2, 2, 1),
        (1760, 1760, 1760, 1760, 0, 0),
    ),
    (
        "3x3 depthwise, 16 channels, large",
        DEPTHWISE,
        (60, 60, 16, 3, 3, 60, 60, 16, 1, 1, 1, 1, 1),
        (61664, 61664, 3136, 3136, 0, 0),
    ),
    (
        "3x3 depthwise, 24 channels",
        DEPTHWISE,
        (10, 10, 24, 3, 3, 5, 5, 24, 0, 0, 2, 2, 1),
        (5248, 5264, 5760, 5760, 0, 0),
    ),
    (
        "3x3 depthwise, 8 channels",
        DEPTHWISE,
        (10, 10, 8, 3, 3, 10, 10, 8, 1, 1, 1, 1, 1),
        (1760, 1776, 1776, 1776, 0, 0),
    ),
    ("5x5 depthwise, large", DEPTHWISE, (40, 40, 32, 5, 5, 40, 40, 32, 2, 2, 1, 1, 1), (32, 32, 14432, 14432, 0, 0)),
    ("depthwise, 5 channels", DEPTHWISE, (10, 10, 5, 3, 3, 10, 10, 5, 1, 1, 1, 1, 1), (32, 32, 2656, 2656, 0, 0)),
    ("depthwise, 3 channels", DEPTHWISE, (10, 10, 3, 3, 3, 10, 10, 3, 1, 1, 1, 1, 1), (32, 32, 32, 32, 0, 0)),
    ("depthwise, multiplier 4", DEPTHWISE, (8, 8, 6, 3, 3, 6, 6, 24, 0, 0, 1, 1, 4), (1216, 1232, 1232, 1232, 0, 0)),
    ("depthwise, multiplier 3", DEPTHWISE, (8, 8, 6, 3, 3, 6, 6, 18, 0, 0, 1, 1, 3), (32, 32, 32, 32, 0, 0)),
)


@pytest.mark.parametrize("kind, fields, asked", [row[1:] for row in RECORDED], ids=[row[0] for row in RECORDED])
def test_a_convolution_asks_what_the_c_function_answered(
    kind: str, fields: tuple[int, ...], asked: tuple[int, ...]
) -> None:
    convolution = Convolution(*fields, filter_channels=0)
    sizes = tuple(getattr(TABLES[tables][chip], kind)(convolution) for tables, chip in COLUMNS)
    assert sizes == asked


def test_portable_kernels_ask_nothing() -> None:
    for tables in TABLES.values():
        for chip in (chip.name for chip in CHIPS if chip.kernels == "portable"):
            for _, kind, fields, _ in RECORDED:
                assert getattr(tables[chip], kind)(Convolution(*fields, filter_channels=0)) == 0


def test_every_known_version_has_tables() -> None:
    for version in versions_of("esp-nn").values():
        assert version.tables in TABLES
    for version in versions_of("esp-tflite-micro").values():
        assert version.tables in STRUCTS


# Worked out by hand from the C sources named in `TABLES`' docstring: bytes on the S3 and on the P4.
NEWER = (
    ("1x1 on one pixel", CONV, (1, 1, 64, 1, 1, 1, 1, 64, 0, 0, 1, 1, 0, 64), (2112, 4128)),
    ("1x1 with 24 KB of filters and more", CONV, (1, 1, 256, 1, 1, 1, 1, 128, 0, 0, 1, 1, 0, 256), (22592, 32800)),
    ("first convolution", CONV, (1, 5, 40, 1, 5, 1, 1, 32, 0, 0, 1, 1, 0, 40), (7872, 3576)),
    ("3x3, 16 channels, one position", CONV, (3, 3, 16, 3, 3, 1, 1, 16, 0, 0, 1, 1, 0, 16), (2544, 2560)),
    ("3x3, 16 channels, 16 positions", CONV, (6, 6, 16, 3, 3, 4, 4, 16, 0, 0, 1, 1, 0, 16), (22240, 2560)),
    ("two groups", CONV, (1, 5, 40, 1, 5, 1, 1, 32, 0, 0, 1, 1, 0, 20), (2868, 2836)),
    ("time 5x1 depthwise", DEPTHWISE, (1, 7, 64, 1, 5, 1, 3, 64, 0, 0, 1, 1, 1, 64), (960, 256)),
    ("time 5x1 depthwise, 40 channels", DEPTHWISE, (1, 7, 40, 1, 5, 1, 3, 40, 0, 0, 1, 1, 1, 40), (992, 160)),
)


@pytest.mark.parametrize("kind, fields, asked", [row[1:] for row in NEWER], ids=[row[0] for row in NEWER])
def test_newer_kernels_ask_what_their_sources_say(kind: str, fields: tuple[int, ...], asked: tuple[int, int]) -> None:
    tables = TABLES["2026-11"]
    assert tuple(getattr(tables[chip], kind)(Convolution(*fields)) for chip in ("esp32s3", "esp32p4")) == asked


def test_published_models_on_the_newest_kernels_need_what_others_read_from_the_same_sources() -> None:
    minimum = {"alexa": 22_176, "hey_jarvis": 22_592, "hey_mycroft": 23_456, "okay_nabu": 34_544}
    for name, expected in minimum.items():
        runtime = RuntimeVersions("1.3.3~1", newest_esp_nn())
        assert predict_arena(published_models() / f"{name}.tflite", "esp32s3", runtime=runtime).minimum == expected
