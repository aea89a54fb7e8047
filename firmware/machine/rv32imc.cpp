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

uint32_t sleep() {
  const uint32_t start = clint(0xBFF8), start_high = clint(0xBFFC), before = count();
  clint(0x4004) = UINT32_MAX;
  clint(0x4000) = start + SLEEP_TICKS;
  clint(0x4004) = start_high + (start + SLEEP_TICKS < start);
  __asm__ volatile("wfi");
  slept += count() - before;
  plic(0x200004) = plic(0x200004);  // taken, and dealt with
  return (clint(0xBFF8) - start) / TICKS_PER_US;
}

}  // namespace esphome::mww_harness
