// Declarations of what ESPHome's headers and the component's ESP32 sources use of ESP-IDF 5.5, for -fsyntax-only alone.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <strings.h>

#define IRAM_ATTR
#define DRAM_ATTR
#define ESP_OK 0
#define ESP_FAIL (-1)
#define ESP_ERR_NO_MEM 0x101
#define ESP_IDF_VERSION_VAL(major, minor, patch) (((major) << 16) | ((minor) << 8) | (patch))
#define ESP_IDF_VERSION ESP_IDF_VERSION_VAL(5, 5, 4)
using esp_err_t = int;
extern "C" {
const char *esp_err_to_name(esp_err_t);
const char *esp_get_idf_version();

// esp_system.h, esp_chip_info.h
enum esp_reset_reason_t {
  ESP_RST_UNKNOWN,
  ESP_RST_POWERON,
  ESP_RST_EXT,
  ESP_RST_SW,
  ESP_RST_PANIC,
  ESP_RST_INT_WDT,
  ESP_RST_TASK_WDT,
  ESP_RST_WDT,
  ESP_RST_DEEPSLEEP,
  ESP_RST_BROWNOUT,
  ESP_RST_SDIO,
  ESP_RST_USB,
  ESP_RST_JTAG,
  ESP_RST_EFUSE,
  ESP_RST_PWR_GLITCH,
  ESP_RST_CPU_LOCKUP,
};
[[noreturn]] void esp_system_abort(const char *);
void esp_restart();
uint32_t esp_random();
uint32_t esp_get_free_heap_size();
uint32_t esp_get_minimum_free_heap_size();
esp_reset_reason_t esp_reset_reason();
struct esp_chip_info_t {
  int model;
  uint32_t features;
  uint16_t revision;
  uint8_t cores;
};
void esp_chip_info(esp_chip_info_t *);
int64_t esp_timer_get_time();

// esp_heap_caps.h
#define MALLOC_CAP_8BIT (1 << 2)
#define MALLOC_CAP_DMA (1 << 3)
#define MALLOC_CAP_SPIRAM (1 << 10)
#define MALLOC_CAP_INTERNAL (1 << 11)
#define MALLOC_CAP_DEFAULT (1 << 12)
void *heap_caps_malloc(size_t, uint32_t);
void *heap_caps_calloc(size_t, size_t, uint32_t);
void *heap_caps_realloc(void *, size_t, uint32_t);
void *heap_caps_malloc_prefer(size_t, size_t, ...);
void *heap_caps_realloc_prefer(void *, size_t, size_t, ...);
void *heap_caps_aligned_alloc(size_t, size_t, uint32_t);
void heap_caps_free(void *);
size_t heap_caps_get_free_size(uint32_t);
size_t heap_caps_get_total_size(uint32_t);
size_t heap_caps_get_minimum_free_size(uint32_t);
size_t heap_caps_get_largest_free_block(uint32_t);

// freertos
using BaseType_t = int;
using UBaseType_t = unsigned;
using TickType_t = uint32_t;
using TaskHandle_t = void *;
using SemaphoreHandle_t = void *;
using QueueHandle_t = void *;
using portMUX_TYPE = int;
struct StaticSemaphore_t {};
struct StaticTask_t {};
struct StaticRingbuffer_t {};
using RingbufHandle_t = void *;
#define configTICK_RATE_HZ 1000
#define portTICK_PERIOD_MS 1
#define portMAX_DELAY 0xffffffffu
#define pdMS_TO_TICKS(ms) (ms)
#define pdTRUE 1
#define pdFALSE 0
#define portYIELD_FROM_ISR(...)
TaskHandle_t xTaskGetCurrentTaskHandle();
TickType_t xTaskGetTickCount();
UBaseType_t uxTaskGetStackHighWaterMark(TaskHandle_t);
void vTaskDelay(TickType_t);
void vTaskSuspendAll();
BaseType_t xTaskResumeAll();
char *pcTaskGetName(TaskHandle_t);
BaseType_t xPortInIsrContext();
void vPortYield();
SemaphoreHandle_t xSemaphoreCreateMutex();
BaseType_t xSemaphoreTake(SemaphoreHandle_t, TickType_t);
BaseType_t xSemaphoreGive(SemaphoreHandle_t);
uint32_t ulTaskNotifyTake(BaseType_t, TickType_t);
BaseType_t xTaskNotifyGive(TaskHandle_t);
void vTaskNotifyGiveFromISR(TaskHandle_t, BaseType_t *);

// esp_partition.h
enum esp_partition_type_t { ESP_PARTITION_TYPE_APP, ESP_PARTITION_TYPE_DATA };
enum esp_partition_subtype_t { ESP_PARTITION_SUBTYPE_ANY = 0xff };
enum esp_partition_mmap_memory_t { ESP_PARTITION_MMAP_DATA, ESP_PARTITION_MMAP_INST };
using esp_partition_mmap_handle_t = uint32_t;
struct esp_partition_t {
  uint32_t address;
  uint32_t size;
  uint32_t erase_size;
  char label[17];
};
const esp_partition_t *esp_partition_find_first(esp_partition_type_t, esp_partition_subtype_t, const char *);
esp_err_t esp_partition_mmap(const esp_partition_t *, size_t, size_t, esp_partition_mmap_memory_t, const void **,
                             esp_partition_mmap_handle_t *);
void esp_partition_munmap(esp_partition_mmap_handle_t);
esp_err_t esp_partition_read(const esp_partition_t *, size_t, void *, size_t);
esp_err_t esp_partition_write(const esp_partition_t *, size_t, const void *, size_t);
esp_err_t esp_partition_erase_range(const esp_partition_t *, size_t, size_t);

// driver/usb_serial_jtag.h
struct usb_serial_jtag_driver_config_t {
  uint32_t tx_buffer_size;
  uint32_t rx_buffer_size;
};
#define USB_SERIAL_JTAG_DRIVER_CONFIG_DEFAULT() {256, 256}
esp_err_t usb_serial_jtag_driver_install(usb_serial_jtag_driver_config_t *);
int usb_serial_jtag_read_bytes(void *, uint32_t, TickType_t);
int usb_serial_jtag_write_bytes(const void *, size_t, TickType_t);
esp_err_t usb_serial_jtag_wait_tx_done(TickType_t);
size_t usb_serial_jtag_get_read_bytes_available();
bool usb_serial_jtag_is_connected();

// driver/gpio.h, driver/uart.h, esp_cpu.h, esp_task_wdt.h
using gpio_num_t = int;
using uart_port_t = int;
struct uart_config_t {};
enum uart_word_length_t { UART_DATA_8_BITS };
int uart_write_bytes(uart_port_t, const void *, size_t);
uint32_t esp_cpu_get_cycle_count();
esp_err_t esp_task_wdt_reset();
}
#define UART_NUM_0 0
#define UART_NUM_1 1
#define UART_NUM_2 2
