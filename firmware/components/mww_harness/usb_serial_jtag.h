#pragma once

#include "esphome/core/defines.h"

#ifdef USE_MWW_HARNESS_USB_SERIAL_JTAG

#include "esphome/components/uart/uart_component.h"
#include "esphome/core/component.h"

namespace esphome::mww_harness {

/// The chip's own USB port as a UART; ESPHome's `uart` drives hardware UARTs only.
class UsbSerialJtag final : public uart::UARTComponent, public Component {
 public:
  UsbSerialJtag();

  void setup() override;
  void dump_config() override;
  float get_setup_priority() const override { return setup_priority::BUS; }

  /// Never waits: a frame without room in the host's buffer is dropped as a whole, and requested again.
  void write_array(const uint8_t *data, size_t len) override;
  bool peek_byte(uint8_t *data) override;
  bool read_array(uint8_t *data, size_t len) override;
  size_t available() override;
  uart::UARTFlushResult flush() override;
  bool is_connected() override;
  /// Nothing to apply: USB has no baud rate. Pure virtual on ESP32 since ESPHome 2026.7.
  void load_settings(bool dump_config) override {}

 protected:
  void check_logger_conflict() override {}

  uint8_t buffer_[64];  // one USB packet
  size_t begin_{0};
  size_t end_{0};
};

}  // namespace esphome::mww_harness

#endif  // USE_MWW_HARNESS_USB_SERIAL_JTAG
