#include "usb_serial_jtag.h"

#ifdef USE_MWW_HARNESS_USB_SERIAL_JTAG

#include <algorithm>
#include <cstring>

#include <driver/usb_serial_jtag.h>

#include "esphome/core/log.h"

namespace esphome::mww_harness {

static const char *const TAG = "mww_harness.usb_serial_jtag";

static constexpr size_t BUFFER_SIZE = 4096;

UsbSerialJtag::UsbSerialJtag() { this->set_rx_buffer_size(BUFFER_SIZE); }

void UsbSerialJtag::setup() {
  usb_serial_jtag_driver_config_t config{};
  config.rx_buffer_size = BUFFER_SIZE;
  config.tx_buffer_size = BUFFER_SIZE;
  if (usb_serial_jtag_driver_install(&config) != ESP_OK) {
    this->mark_failed();
  }
}

void UsbSerialJtag::dump_config() { ESP_LOGCONFIG(TAG, "USB-Serial-JTAG"); }

void UsbSerialJtag::write_array(const uint8_t *data, size_t len) {
  if (!this->is_failed()) {
    usb_serial_jtag_write_bytes(data, len, 0);
  }
}

bool UsbSerialJtag::peek_byte(uint8_t *data) {
  if (this->available() == 0) {
    return false;
  }
  *data = this->buffer_[this->begin_];
  return true;
}

bool UsbSerialJtag::read_array(uint8_t *data, size_t len) {
  while (len > 0) {
    const size_t count = std::min(len, this->available());
    if (count == 0) {
      return false;
    }
    std::memcpy(data, this->buffer_ + this->begin_, count);
    this->begin_ += count;
    data += count;
    len -= count;
  }
  return true;
}

size_t UsbSerialJtag::available() {
  if (this->begin_ == this->end_ && !this->is_failed()) {
    this->begin_ = 0;
    this->end_ = static_cast<size_t>(usb_serial_jtag_read_bytes(this->buffer_, sizeof(this->buffer_), 0));
  }
  return this->end_ - this->begin_;
}

uart::UARTFlushResult UsbSerialJtag::flush() {
  return uart::UARTFlushResult::UART_FLUSH_RESULT_ASSUMED_SUCCESS;  // this driver never waits
}

bool UsbSerialJtag::is_connected() { return usb_serial_jtag_is_connected(); }

}  // namespace esphome::mww_harness

#endif  // USE_MWW_HARNESS_USB_SERIAL_JTAG
