#ifdef USE_ESP32

#include "board.h"

#include <cstdio>

#include <esp_chip_info.h>
#include <esp_heap_caps.h>
#include <esp_idf_version.h>
#include <esp_system.h>
#include <freertos/FreeRTOS.h>
#include <freertos/task.h>

#include "esphome/core/defines.h"
#include "esphome/core/hal.h"
#include "esphome/core/helpers.h"
#include "esphome/core/version.h"

namespace esphome::mww_harness {

static constexpr uint32_t HZ_PER_MHZ = 1000000;
static constexpr uint32_t INTERNAL = MALLOC_CAP_INTERNAL | MALLOC_CAP_8BIT;
static constexpr uint32_t PSRAM = MALLOC_CAP_SPIRAM | MALLOC_CAP_8BIT;

static const char *reset_reason() {
  switch (esp_reset_reason()) {
    case ESP_RST_POWERON:
      return "power on";
    case ESP_RST_EXT:
      return "reset pin";
    case ESP_RST_SW:
      return "software";
    case ESP_RST_PANIC:
      return "panic";
    case ESP_RST_INT_WDT:
      return "interrupt watchdog";
    case ESP_RST_TASK_WDT:
      return "task watchdog";
    case ESP_RST_WDT:
      return "other watchdog";
    case ESP_RST_DEEPSLEEP:
      return "deep sleep";
    case ESP_RST_BROWNOUT:
      return "brownout";
    case ESP_RST_SDIO:
      return "SDIO";
    case ESP_RST_USB:
      return "USB";
    case ESP_RST_JTAG:
      return "JTAG";
    default:
      return "unknown";
  }
}

static const char *revision() {
  static char text[sizeof("v65535.65535")];
  esp_chip_info_t info;
  esp_chip_info(&info);
  snprintf(text, sizeof(text), "v%u.%u", info.revision / 100u, info.revision % 100u);
  return text;
}

void read_identity(wire::Welcome *welcome) {
  welcome->boot_id = random_uint32();
  welcome->clock_mhz = static_cast<uint16_t>(arch_get_cpu_freq_hz() / HZ_PER_MHZ);
  get_mac_address_raw(welcome->mac);
  welcome->chip = MWW_HARNESS_CHIP;
  welcome->revision = revision();
  welcome->engine = "tflm";
  welcome->esphome = ESPHOME_VERSION;
  welcome->idf = esp_get_idf_version();
  welcome->runtime = MWW_HARNESS_ESP_TFLITE_MICRO_VERSION;
  welcome->kernels = MWW_HARNESS_ESP_NN_VERSION;
  welcome->reset_reason = reset_reason();
}

void read_memory(wire::Stats *stats) {
  stats->heap_free = heap_caps_get_free_size(INTERNAL);
  stats->heap_smallest_free = heap_caps_get_minimum_free_size(INTERNAL);
  stats->heap_largest_block = heap_caps_get_largest_free_block(INTERNAL);
  if (heap_caps_get_total_size(PSRAM) > 0) {
    stats->psram_free = heap_caps_get_free_size(PSRAM);
    stats->psram_smallest_free = heap_caps_get_minimum_free_size(PSRAM);
  }
  stats->stack_free = uxTaskGetStackHighWaterMark(nullptr);  // in bytes, unlike FreeRTOS's own
}

}  // namespace esphome::mww_harness

#endif  // USE_ESP32
