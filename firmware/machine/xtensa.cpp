#include "machine.h"

namespace esphome::mww_harness {

const Machine MACHINE{"xtensa", "QEMU lx60-nommu, lx106", 0x9D050020, 2};

// `lx60-nommu` has a clock of 40 MHz. With `-icount shift=10` an instruction takes 1024 ns, which is 40.96 cycles.
constexpr uint32_t INSTRUCTIONS = 25, CYCLES = 1024;
static uint32_t counted, counted_at;  // instructions, and the cycle at which they were so many

static uint32_t cycles() {
  uint32_t now;
  __asm__ volatile("rsr.ccount %0" : "=r"(now));
  return now;
}

uint32_t instructions() {
  const uint32_t passed = cycles() - counted_at;
  counted += passed / CYCLES * INSTRUCTIONS;
  counted_at += passed / CYCLES * CYCLES;
  return counted + (passed % CYCLES * INSTRUCTIONS + CYCLES / 2) / CYCLES;
}

void sleep_start() {}

uint32_t sleep() {
  constexpr uint32_t uart = 1 << 0, timer = 1 << 6;
  constexpr uint32_t cycles_per_us = 40, sleep_cycles = 100 * 1000 * cycles_per_us;
  counted = instructions();
  const uint32_t start = cycles();
  __asm__ volatile("wsr.ccompare0 %0" : : "a"(start + sleep_cycles));
  // `waiti` lets an interrupt in, not earlier; its vector disables all and returns.
  uint32_t level;
  __asm__ volatile("rsil %0, 15\nwsr.intenable %1\nrsync\nwaiti 0" : "=&a"(level) : "a"(uart | timer));
  counted_at = cycles();  // a sleep takes time, and no instructions
  return (counted_at - start) / cycles_per_us;
}

}  // namespace esphome::mww_harness
