#include "machine.h"

namespace esphome::mww_harness {

const Machine MACHINE{"rv32imc", "QEMU virt", 0x10000000, 0};

static constexpr uint32_t UART = 10;                                     // at the interrupt controller
static constexpr uint32_t EXTERNAL = 1 << 11, TIMER = 1 << 7;            // of mie
static constexpr uint32_t TICKS_PER_US = 10, SLEEP_TICKS = 100 * 10000;  // of mtime

static uint32_t slept;  // what the counter went on while nothing was executed

static volatile uint32_t &plic(uint32_t offset) { return *reinterpret_cast<volatile uint32_t *>(0x0C000000 + offset); }
static volatile uint32_t &clint(uint32_t offset) { return *reinterpret_cast<volatile uint32_t *>(0x02000000 + offset); }

static uint32_t count() {
  uint32_t now;
  __asm__ volatile(".option push\n.option arch, +zicsr\ncsrr %0, minstret\n.option pop" : "=r"(now));
  return now;
}

uint32_t instructions() { return count() - slept; }

void sleep_start() {
  plic(UART * 4) = 1;
  plic(0x2000) = 1 << UART;
  plic(0x200000) = 0;
  // Not let in, an interrupt ends a sleep and no more.
  __asm__ volatile(".option push\n.option arch, +zicsr\ncsrs mie, %0\n.option pop" : : "r"(EXTERNAL | TIMER));
}

static uint64_t ticks() {
  uint32_t high, low;
  do {
    high = clint(0xBFFC);
    low = clint(0xBFF8);
  } while (clint(0xBFFC) != high);  // the lower half ran over between the two
  return static_cast<uint64_t>(high) << 32 | low;
}

uint32_t sleep() {
  const uint64_t start = ticks(), end = start + SLEEP_TICKS;
  const uint32_t before = count();
  clint(0x4004) = UINT32_MAX;
  clint(0x4000) = static_cast<uint32_t>(end);
  clint(0x4004) = static_cast<uint32_t>(end >> 32);
  __asm__ volatile("wfi");
  slept += count() - before;
  plic(0x200004) = plic(0x200004);  // taken, and dealt with
  return (clint(0xBFF8) - static_cast<uint32_t>(start)) / TICKS_PER_US;
}

}  // namespace esphome::mww_harness
