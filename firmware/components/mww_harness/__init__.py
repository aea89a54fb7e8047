"""Runs wake word models on frames that a host sends, in the runtime that micro_wake_word uses."""

import re

import esphome.codegen as cg
import esphome.config_validation as cv
import esphome.final_validate as fv
from esphome.components import esp32, logger, microphone, uart
from esphome.components.esp32 import (
    VARIANT_ESP32,
    VARIANT_ESP32C2,
    VARIANT_ESP32C3,
    VARIANT_ESP32C5,
    VARIANT_ESP32C6,
    VARIANT_ESP32C61,
    VARIANT_ESP32H2,
    VARIANT_ESP32P4,
    VARIANT_ESP32S2,
    VARIANT_ESP32S3,
)
from esphome.config_helpers import filter_source_files_from_platform
from esphome.const import (
    CONF_BAUD_RATE,
    CONF_BOARD,
    CONF_HARDWARE_UART,
    CONF_ID,
    CONF_LOGGER,
    CONF_MICROPHONE,
    CONF_NAME,
    CONF_NUMBER,
    CONF_RX_BUFFER_SIZE,
    CONF_SIZE,
    CONF_SOURCE,
    CONF_TX_PIN,
    CONF_UART_ID,
    PLATFORM_ESP32,
    PLATFORM_HOST,
    PlatformFramework,
)
from esphome.core import CORE
from esphome.types import ConfigType

AUTO_LOAD = ["uart"]

VERSION = "0.1.0"

# The runtime, as micro_wake_word pins it (esphome 2026.6.5 to 2026.10.0,
# components/micro_wake_word/__init__.py)
ESP_TFLITE_MICRO_VERSION = "1.3.3~1"
ESP_NN_VERSION = "1.1.2"
SPEECH_FEATURES_VERSION = "1.2.3"

CONF_ESP_NN_VERSION = "esp_nn_version"
CONF_FRAMES_PER_PACKET = "frames_per_packet"
CONF_MEMORY = "memory"
CONF_MODEL_PARTITION = "model_partition"
CONF_TENSOR_ARENA = "tensor_arena"
CONF_TRANSPORT = "transport"
CONF_WINDOW = "window"

TRANSPORT_UART = "uart"
TRANSPORT_USB_SERIAL_JTAG = "usb_serial_jtag"

# What the host side looks for when it flashes models
PARTITION_TYPE = "data"
PARTITION_SUBTYPE = 0x40
SECTOR_SIZE = 0x1000
MIN_PARTITION_SIZE = 4 * SECTOR_SIZE  # two sectors of table, a small model

# Payload of the largest message, which also carries the pieces of an upload
MIN_MAX_PAYLOAD = 1024
SAMPLE_RATE = 16000
PUBLISHED_FRAME_SIZE = 3 * 40
WIRE_OVERHEAD = 32  # header, checksum, byte stuffing and zeros of one message of MIN_MAX_PAYLOAD

# Where the ROM and the logger's UART0 speak (esp-idf, soc/uart_pins.h)
UART0_TX_PINS = {
    VARIANT_ESP32: 1,
    VARIANT_ESP32C2: 20,
    VARIANT_ESP32C3: 21,
    VARIANT_ESP32C5: 11,
    VARIANT_ESP32C6: 16,
    VARIANT_ESP32C61: 11,
    VARIANT_ESP32H2: 24,
    VARIANT_ESP32P4: 37,
    VARIANT_ESP32S2: 43,
    VARIANT_ESP32S3: 43,
}

mww_harness_ns = cg.esphome_ns.namespace("mww_harness")
MwwHarness = mww_harness_ns.class_("MwwHarness", cg.Component, uart.UARTDevice)
UsbSerialJtag = mww_harness_ns.class_("UsbSerialJtag", uart.UARTComponent, cg.Component)

ArenaSource = mww_harness_ns.enum("ArenaSource", is_class=True)
ARENA_SOURCES = {
    "manifest": ArenaSource.MANIFEST,
    "probe": ArenaSource.PROBE,
}

ArenaMemory = mww_harness_ns.enum("ArenaMemory", is_class=True)
ARENA_MEMORIES = {
    "any": ArenaMemory.ANY,
    "internal": ArenaMemory.INTERNAL,
    "psram": ArenaMemory.PSRAM,
}


def _validate_partition_size(value: int) -> int:
    value = cv.int_range(min=MIN_PARTITION_SIZE)(value)
    if value % SECTOR_SIZE != 0:
        raise cv.Invalid("Partition size must be 4KB (0x1000) aligned")
    return value


def _validate_arena_memory(value: str) -> str:
    value = cv.enum(ARENA_MEMORIES, lower=True)(value)
    if value == "psram":
        return cv.requires_component("psram")(value)
    return value


def _validate_component_version(value: str) -> str:
    value = cv.string_strict(value)
    if re.fullmatch(r"\d+\.\d+\.\d+(~\d+)?", value) is None:
        raise cv.Invalid("Expected one version of the component, such as 1.2.1")
    return value


BASE_SCHEMA = cv.Schema(
    {
        cv.GenerateID(): cv.declare_id(MwwHarness),
        cv.Optional(CONF_BOARD): cv.All(cv.string_strict, cv.Length(max=63)),
        cv.Optional(CONF_MODEL_PARTITION, default={}): cv.Schema(
            {
                cv.Optional(CONF_NAME, default="mww_model"): cv.All(cv.string_strict, cv.Length(min=1, max=16)),
                cv.Optional(CONF_SIZE, default=0x80000): _validate_partition_size,
            }
        ),
        cv.Optional(CONF_TENSOR_ARENA, default={}): cv.Schema(
            {
                cv.Optional(CONF_SOURCE, default="probe"): cv.enum(ARENA_SOURCES, lower=True),
                cv.Optional(CONF_MEMORY, default="any"): _validate_arena_memory,
            }
        ),
        cv.Optional(CONF_ESP_NN_VERSION, default=ESP_NN_VERSION): _validate_component_version,
        cv.Optional(CONF_MICROPHONE): microphone.microphone_source_schema(),
        cv.Optional(CONF_WINDOW, default=8): cv.int_range(min=1, max=64),
        cv.Optional(CONF_FRAMES_PER_PACKET, default=4): cv.int_range(min=1, max=32),
    }
).extend(cv.COMPONENT_SCHEMA)

UART_SCHEMA = BASE_SCHEMA.extend(uart.UART_DEVICE_SCHEMA)

USB_SERIAL_JTAG_SCHEMA = cv.All(
    BASE_SCHEMA.extend(
        {cv.GenerateID(CONF_UART_ID): cv.declare_id(UsbSerialJtag)},
    ),
    esp32.only_on_variant(
        supported=[
            VARIANT_ESP32C3,
            VARIANT_ESP32C5,
            VARIANT_ESP32C6,
            VARIANT_ESP32C61,
            VARIANT_ESP32H2,
            VARIANT_ESP32P4,
            VARIANT_ESP32S3,
        ],
        msg_prefix="USB-Serial-JTAG",
    ),
)

CONFIG_SCHEMA = cv.All(
    cv.only_on([PLATFORM_ESP32, PLATFORM_HOST]),
    cv.typed_schema(
        {
            TRANSPORT_UART: UART_SCHEMA,
            TRANSPORT_USB_SERIAL_JTAG: USB_SERIAL_JTAG_SCHEMA,
        },
        key=CONF_TRANSPORT,
        default_type=TRANSPORT_UART,
        lower=True,
    ),
)


def _serial_logger() -> str | None:
    """Return where the logger writes, or None if it writes to no serial port."""
    config = fv.full_config.get().get(CONF_LOGGER)
    if config is None or config[CONF_BAUD_RATE] == 0:
        return None
    return config.get(CONF_HARDWARE_UART)


def _max_payload(config: ConfigType) -> int:
    return max(MIN_MAX_PAYLOAD, 2 + config[CONF_FRAMES_PER_PACKET] * PUBLISHED_FRAME_SIZE)


def _final_validate_uart(config: ConfigType) -> None:
    uart.final_validate_device_schema("mww_harness", require_tx=True, require_rx=True)(config)
    if not CORE.is_esp32:
        return
    full_config = fv.full_config.get()
    bus = full_config.get_config_for_path(full_config.get_path_for_id(config[CONF_UART_ID])[:-1])
    if bus[CONF_RX_BUFFER_SIZE] < (needed := _max_payload(config) + WIRE_OVERHEAD):
        raise cv.Invalid(
            f"The uart needs an {CONF_RX_BUFFER_SIZE} of at least {needed}; 4096 lets the host send ahead",
            path=[CONF_UART_ID],
        )
    if _serial_logger() == logger.UART0 and bus[CONF_TX_PIN][CONF_NUMBER] == UART0_TX_PINS[esp32.get_esp32_variant()]:
        raise cv.Invalid(
            "The logger writes to the pins of this uart; set its baud_rate to 0: log lines then travel over the link",
            path=[CONF_UART_ID],
        )


def _final_validate(config: ConfigType) -> None:
    if CONF_MICROPHONE in config:
        fits = microphone.final_validate_microphone_source_schema("mww_harness", sample_rate=SAMPLE_RATE)
        fits(config[CONF_MICROPHONE])
    if config[CONF_TRANSPORT] == TRANSPORT_UART:
        _final_validate_uart(config)
    elif _serial_logger() == logger.USB_SERIAL_JTAG:
        raise cv.Invalid(
            "The logger holds USB-Serial-JTAG; set its baud_rate to 0: log lines then travel over the link",
            path=[CONF_TRANSPORT],
        )


FINAL_VALIDATE_SCHEMA = _final_validate


def _add_runtime(esp_nn_version: str) -> None:
    """Add the runtime exactly as micro_wake_word does, where no other esp-nn is asked for."""
    esp32.add_idf_component(name="espressif/esp-tflite-micro", ref=ESP_TFLITE_MICRO_VERSION)
    esp32.add_idf_component(name="espressif/esp-nn", ref=esp_nn_version)
    esp32.add_idf_component(name="esphome/esp-micro-speech-features", ref=SPEECH_FEATURES_VERSION)
    cg.add_build_flag("-DTF_LITE_STATIC_MEMORY")
    cg.add_build_flag("-DTF_LITE_DISABLE_X86_NEON")
    cg.add_build_flag("-DESP_NN")


async def to_code(config: ConfigType) -> None:
    var = cg.new_Pvariable(config[CONF_ID])
    await cg.register_component(var, config)

    if config[CONF_TRANSPORT] == TRANSPORT_USB_SERIAL_JTAG:
        usb = cg.new_Pvariable(config[CONF_UART_ID])
        await cg.register_component(usb, {})
        cg.add_define("USE_MWW_HARNESS_USB_SERIAL_JTAG")
    elif CORE.is_esp32:
        # Erasing flash for a new model stops all code in flash for tens of milliseconds, and with it an interrupt
        # handler there: the UART's FIFO of 128 bytes would overflow.
        esp32.add_idf_sdkconfig_option("CONFIG_UART_ISR_IN_IRAM", True)
    await uart.register_uart_device(var, config)

    if CONF_MICROPHONE in config:
        source = await microphone.microphone_source_to_code(config[CONF_MICROPHONE])
        cg.add(var.set_microphone(source))
        cg.add_define("USE_MWW_HARNESS_MICROPHONE")

    cg.add_define("MWW_HARNESS_VERSION", VERSION)
    cg.add_define("MWW_HARNESS_WINDOW", config[CONF_WINDOW])
    cg.add_define("MWW_HARNESS_MAX_FRAMES", config[CONF_FRAMES_PER_PACKET])
    cg.add_define("MWW_HARNESS_MAX_PAYLOAD", _max_payload(config))
    cg.add(var.set_board(config.get(CONF_BOARD, CORE.name)))

    partition = config[CONF_MODEL_PARTITION]
    cg.add(var.set_model_partition(partition[CONF_NAME], partition[CONF_SIZE]))

    if CONF_LOGGER in CORE.config:
        logger.request_log_listener()

    if not CORE.is_esp32:
        return
    arena = config[CONF_TENSOR_ARENA]
    cg.add(var.set_arena(arena[CONF_SOURCE], arena[CONF_MEMORY]))
    cg.add_define("MWW_HARNESS_CHIP", esp32.get_esp32_variant().lower())
    cg.add_define("MWW_HARNESS_ESP_TFLITE_MICRO_VERSION", ESP_TFLITE_MICRO_VERSION)
    cg.add_define("MWW_HARNESS_ESP_NN_VERSION", config[CONF_ESP_NN_VERSION])
    esp32.add_partition(
        partition[CONF_NAME],
        PARTITION_TYPE,
        PARTITION_SUBTYPE,
        partition[CONF_SIZE],
    )
    _add_runtime(config[CONF_ESP_NN_VERSION])


_ESP32 = {PlatformFramework.ESP32_IDF, PlatformFramework.ESP32_ARDUINO}
_HOST = {PlatformFramework.HOST_NATIVE}

FILTER_SOURCE_FILES = filter_source_files_from_platform(
    {
        "board_esp32.cpp": _ESP32,
        "engine_tflm.cpp": _ESP32,
        "model_partition_esp32.cpp": _ESP32,
        "speech_features.cpp": _ESP32,
        "usb_serial_jtag.cpp": _ESP32,
        "board_host.cpp": _HOST,
        "model_partition_host.cpp": _HOST,
    }
)
