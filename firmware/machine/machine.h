#pragma once

#include <cstddef>
#include <cstdint>

namespace esphome::mww_harness {

/// What differs between the machines; each has a file of its own.
struct Machine {
  const char *chip;      // the instruction set: no chip that can be bought
  const char *revision;  // what executes it
  uintptr_t uart;        // registers of a 16550
  unsigned uart_shift;   // of the distance between two of them
};
extern const Machine MACHINE;

/// Instructions executed, modulo 2^32, where QEMU counts them (`-icount`); called at least once in 2^26 of them.
uint32_t instructions();

/// Sleeps until the serial port asks for attention, but no longer than a tenth of a second; returns the microseconds.
/// No instruction is counted meanwhile.
uint32_t sleep();
void sleep_start();

/// The serial port.
void uart_start();
/// Takes what has come, at most `capacity` bytes.
size_t uart_read(uint8_t *data, size_t capacity);
/// Sleeps unless something has come; returns the microseconds.
uint32_t uart_wait();
void uart_write(const uint8_t *data, size_t size);

/// Bytes of the stack that were never used.
uint32_t stack_free();
/// Panics if the stack was too small.
void check_stack();

/// Writes a line to the serial port and starts again, as a board does.
[[noreturn]] void panic(const char *format, ...) __attribute__((format(printf, 1, 2)));
/// Whether a panic was the reason for this start, and how many starts there were before it.
bool panicked();
uint32_t starts();

}  // namespace esphome::mww_harness

/// The program, after the machine has started.
[[noreturn]] void mww_machine_main();
