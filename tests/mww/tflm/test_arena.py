"""Arena predictions against figures of the runtime itself.

The figures were recorded from 32-bit builds of esp-tflite-micro 1.3.3~1, with its `kernels/esp_nn` on esp-nn 1.1.2
where no other is named, ESPHome's 20 operators and a 16-byte aligned arena: used, head and tail after
`AllocateTensors`, the smallest size in steps of 16 at which it succeeds, and the result of ESPHome 2026.6.5's
`probe_arena_size_`. For the esp32s3 and esp32p4 the scratch sizes come from the chips' own C functions.
"""

from __future__ import annotations

from pathlib import Path

import pymicro_wakeword
import pytest

from mww.core.errors import UnknownRuntimeError
from mww.esphome.chips import CHIP_NAMES, CHIPS
from mww.esphome.contract import RuntimeVersions
from mww.tflite.model_file import read_model
from mww.tflm.arena import fits, predict_arena, predict_arenas, probe_arena_size
from mww.tflm.runtime import versions_of

PORTABLE = tuple(chip.name for chip in CHIPS if chip.kernels == "portable")
MODELS = Path(pymicro_wakeword.__file__).parent / "models"

# model, manifest size -> chip -> used, head, tail, minimum, probe
PUBLISHED = {
    ("okay_nabu", 37000): {
        "esp32": (20460, 3840, 16620, 21520, 28768),
        "esp32s3": (34508, 17840, 16668, 34512, 34544),
        "esp32p4": (34476, 17840, 16636, 34480, 34512),
    },
    ("hey_jarvis", 22860): {
        "esp32": (15516, 3424, 12092, 15520, 15552),
        "esp32s3": (22492, 10368, 12124, 22496, 22528),
        "esp32p4": (22476, 10368, 12108, 22480, 22512),
    },
    ("hey_mycroft", 23628): {
        "esp32": (17420, 4288, 13132, 17424, 17456),
        "esp32s3": (23420, 10256, 13164, 23424, 23456),
        "esp32p4": (23404, 10256, 13148, 23408, 23440),
    },
    ("alexa", 22348): {
        "esp32": (16140, 3648, 12492, 16144, 16176),
        "esp32s3": (22140, 9616, 12524, 22144, 22176),
        "esp32p4": (22124, 9616, 12508, 22128, 22160),
    },
}


@pytest.mark.parametrize("name, size", PUBLISHED)
@pytest.mark.parametrize("chip", ["esp32", "esp32s3", "esp32p4"])
def test_a_published_model_needs_what_the_runtime_measured(name: str, size: int, chip: str) -> None:
    arena = predict_arena(MODELS / f"{name}.tflite", chip, manifest_size=size)
    assert (arena.used, arena.head, arena.tail, arena.minimum, arena.probe) == PUBLISHED[name, size][chip]


# model, manifest size -> esp-nn on the esp32s3 -> used, head, tail, minimum, probe
ON_ESP_NN_1_2 = {
    ("okay_nabu", 37000): {
        "1.2.0": (34508, 17840, 16668, 34512, 34544),
        "1.2.1": (50156, 33488, 16668, 50160, 50192),
        "1.2.3": (50188, 33520, 16668, 50192, 50224),
    },
    ("hey_jarvis", 22860): {
        "1.2.0": (22492, 10368, 12124, 22496, 22528),
        "1.2.1": (29964, 17840, 12124, 29968, 30000),
        "1.2.3": (29996, 17872, 12124, 30000, 30032),
    },
    ("hey_mycroft", 23628): {
        "1.2.0": (23420, 10256, 13164, 23424, 23456),
        "1.2.1": (31388, 18224, 13164, 31392, 31424),
        "1.2.3": (31420, 18256, 13164, 31424, 31456),
    },
    ("alexa", 22348): {
        "1.2.0": (22140, 9616, 12524, 22144, 22176),
        "1.2.1": (30108, 17584, 12524, 30112, 30144),
        "1.2.3": (30140, 17616, 12524, 30144, 30176),
    },
}


@pytest.mark.parametrize("name, size", ON_ESP_NN_1_2)
def test_esp_nn_1_2_1_makes_every_published_manifest_too_small_on_the_s3(name: str, size: int) -> None:
    for version, figures in ON_ESP_NN_1_2[name, size].items():
        runtime = RuntimeVersions("1.3.3~1", version)
        arena = predict_arena(MODELS / f"{name}.tflite", "esp32s3", manifest_size=size, runtime=runtime)
        assert (arena.used, arena.head, arena.tail, arena.minimum, arena.probe) == figures
        assert fits(arena.minimum, size) == (version == "1.2.0")


def test_the_p4_keeps_its_figures_for_the_published_models() -> None:
    for (name, size), chips in PUBLISHED.items():
        for version in ("1.2.0", "1.2.1", "1.2.3"):
            runtime = RuntimeVersions("1.3.3~1", version)
            arena = predict_arena(MODELS / f"{name}.tflite", "esp32p4", manifest_size=size, runtime=runtime)
            assert (arena.used, arena.head, arena.tail, arena.minimum, arena.probe) == chips["esp32p4"]


def test_an_s3_in_the_field_asked_for_the_head_that_is_predicted() -> None:
    """A log of 2026-04-11, `Failed to resize buffer. Requested: 33488`, from an ESP32-S3 that loads okay_nabu.

    It was built as esp-nn 1.2.1 was new (github.com/m5stack/esphome-yaml/issues/68 and others); okay_nabu's manifest
    says 37000, and the allocation failed there.
    """
    arena = predict_arena(MODELS / "okay_nabu.tflite", "esp32s3", runtime=RuntimeVersions("1.3.3~1", "1.2.1"))
    assert arena.head == 33488


@pytest.mark.parametrize("chip", CHIP_NAMES)
def test_the_breakdown_accounts_for_every_byte(chip: str) -> None:
    for path in MODELS.glob("*.tflite"):
        arena = predict_arena(path, chip)
        breakdown = dict(arena.breakdown)
        assert breakdown.pop("memory_plan") == arena.head
        assert sum(breakdown.values()) == arena.tail
        assert arena.head + arena.tail == arena.used <= arena.minimum
        assert arena.minimum % 16 == 0
        assert arena.probe is None


def test_chips_on_which_esp_nn_asks_no_scratch_need_the_same() -> None:
    figures = {a.chip: (a.used, a.minimum) for a in predict_arenas(MODELS / "okay_nabu.tflite")}
    assert list(figures) == list(CHIP_NAMES)
    assert len({figures[chip] for chip in PORTABLE}) == 1


def test_buffers_that_live_at_the_same_time_never_share_memory() -> None:
    arena = predict_arena(MODELS / "okay_nabu.tflite", "esp32s3")
    assert max(buffer.offset + buffer.size for buffer in arena.plan) == arena.head
    assert all(-1 <= buffer.first <= buffer.last < len(arena.timeline) for buffer in arena.plan)
    for index, item in enumerate(arena.plan):
        for other in arena.plan[:index]:
            apart_in_time = item.first > other.last or other.first > item.last
            apart_in_memory = item.offset >= other.offset + other.size or other.offset >= item.offset + item.size
            assert apart_in_time or apart_in_memory


def test_path_bytes_and_parsed_model_give_the_same() -> None:
    path = MODELS / "alexa.tflite"
    assert predict_arena(path) == predict_arena(path.read_bytes()) == predict_arena(read_model(path))


def test_the_probe_takes_the_first_attempt_that_loads_and_shrinks_it() -> None:
    assert probe_arena_size(1000, used=900, minimum=912) == 912 + 16 + 16
    assert probe_arena_size(1000, used=990, minimum=1008) == 1008  # nothing smaller loads
    assert probe_arena_size(1000, used=1300, minimum=1312) == 1344  # 1.5 times the size
    assert probe_arena_size(1000, used=1900, minimum=1936) == 1984  # twice the size, after one midpoint
    assert probe_arena_size(1000, used=2100, minimum=2112) == 0
    assert fits(1008, 1000)
    assert not fits(1024, 1000)


def test_what_is_not_known_is_an_error_that_says_what_is() -> None:
    model = MODELS / "alexa.tflite"
    with pytest.raises(UnknownRuntimeError, match="chip 'esp8266'") as error:
        predict_arena(model, "esp8266")
    assert error.value.hint == f"known: {', '.join(CHIP_NAMES)}"
    with pytest.raises(UnknownRuntimeError, match=r"esp-nn 9\.9\.9") as error:
        predict_arena(model, runtime=RuntimeVersions("1.3.3~1", "9.9.9"))
    assert error.value.hint == f"known: {', '.join(versions_of('esp-nn'))}"
    with pytest.raises(UnknownRuntimeError, match=r"esp-tflite-micro 2\.0") as error:
        predict_arena(model, runtime=RuntimeVersions("2.0", "1.1.2"))
    assert error.value.hint == f"known: {', '.join(versions_of('esp-tflite-micro'))}"
