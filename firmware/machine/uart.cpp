// A 16550.
#include "machine.h"

namespace esphome::mww_harness {

namespace {

constexpr unsigned DATA = 0, INTERRUPTS = 1, FIFO_CONTROL = 2, LINE_STATUS = 5;
// QEMU hands over as many bytes at once as the level at which the port asks for attention.
constexpr uint8_t LEVEL_14 = 0xC1, LEVEL_1 = 0x01;
constexpr uint8_t ON_DATA = 0x01;
constexpr uint8_t HAS_DATA = 0x01, CAN_SEND = 0x20;

volatile uint8_t &at(unsigned reg) {
  return *reinterpret_cast<volatile uint8_t *>(MACHINE.uart + (reg << MACHINE.uart_shift));
}

}  // namespace

void uart_start() {
  at(FIFO_CONTROL) = LEVEL_14;
  sleep_start();
}

size_t uart_read(uint8_t *data, size_t capacity) {
  size_t size = 0;
  while (size < capacity && (at(LINE_STATUS) & HAS_DATA) != 0) {
    data[size++] = at(DATA);
  }
  return size;
}

uint32_t uart_wait() {
  uint32_t slept = 0;
  at(FIFO_CONTROL) = LEVEL_1;
  if ((at(LINE_STATUS) & HAS_DATA) == 0) {
    at(INTERRUPTS) = ON_DATA;
    slept = sleep();
    at(INTERRUPTS) = 0;
  }
  at(FIFO_CONTROL) = LEVEL_14;
  return slept;
}

void uart_write(const uint8_t *data, size_t size) {
  for (size_t i = 0; i < size; i++) {
    while ((at(LINE_STATUS) & CAN_SEND) == 0) {
    }
    at(DATA) = data[i];
  }
}

}  // namespace esphome::mww_harness
