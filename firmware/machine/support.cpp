// What lies between the machine and C++: the start, the stack, a way out, and what the C library asks for.
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#include "machine.h"

extern "C" {
extern uint8_t __data_values[], __data_start[], __data_end[], __bss_start[], __bss_end[];
extern uint32_t __stack_start[], __stack_end[];
extern void (*const __init_array_start[])();
extern void (*const __init_array_end[])();
[[noreturn]] void _start();
[[noreturn]] void mww_machine_start();
[[noreturn]] void mww_machine_trap(uint32_t cause, uint32_t at);
void __cxa_pure_virtual();
int __cxa_atexit(void (*)(void *), void *, void *);
void *__dso_handle;
}

namespace esphome::mww_harness {

namespace {

constexpr uint32_t PAINT = 0xA5A5A5A5;
constexpr uint32_t KEPT = 0x4D57574B;  // says that what follows is of an earlier start

// Not cleared by a start
struct {
  uint32_t magic;
  uint32_t starts;
  bool panicked;
} kept __attribute__((section(".kept")));

}  // namespace

uint32_t stack_free() {
  const uint32_t *at = __stack_start;
  while (at < __stack_end && *at == PAINT) {
    at++;
  }
  return static_cast<uint32_t>(at - __stack_start) * sizeof(uint32_t);
}

void check_stack() {
  if (__stack_start[0] != PAINT) {
    panic("the stack is too small");
  }
}

bool panicked() { return kept.panicked; }
uint32_t starts() { return kept.starts; }

void panic(const char *format, ...) {
  char line[120] = "\r\npanic: ";
  const size_t begun = std::strlen(line);
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(line + begun, sizeof(line) - begun - 2, format, arguments);
  va_end(arguments);
  std::strcat(line, "\r\n");
  uart_write(reinterpret_cast<const uint8_t *>(line), std::strlen(line));
  kept.panicked = true;
  _start();
}

}  // namespace esphome::mww_harness

using namespace esphome::mww_harness;

void mww_machine_start() {
  std::memcpy(__data_start, __data_values, static_cast<size_t>(__data_end - __data_start));
  std::memset(__bss_start, 0, static_cast<size_t>(__bss_end - __bss_start));
  for (volatile uint32_t *at = __stack_start; at < static_cast<uint32_t *>(__builtin_frame_address(0)) - 64; at++) {
    *at = PAINT;
  }
  if (kept.magic != KEPT) {
    kept = {KEPT, 0, false};
  }
  kept.starts++;
  uart_start();
  for (void (*const *initialiser)() = __init_array_start; initialiser < __init_array_end; initialiser++) {
    (*initialiser)();
  }
  mww_machine_main();
}

void mww_machine_trap(uint32_t cause, uint32_t at) {
  panic("the processor stopped at 0x%08lx, cause %lu", static_cast<unsigned long>(at),
        static_cast<unsigned long>(cause));
}

// --- The C and C++ libraries ---

const std::nothrow_t std::nothrow{};
void *operator new(size_t size, const std::nothrow_t & /*tag*/) noexcept { return std::malloc(size); }
void *operator new[](size_t size, const std::nothrow_t & /*tag*/) noexcept { return std::malloc(size); }
void operator delete(void *memory) noexcept { std::free(memory); }
void operator delete[](void *memory) noexcept { std::free(memory); }
void operator delete(void *memory, size_t /*size*/) noexcept { std::free(memory); }
void operator delete[](void *memory, size_t /*size*/) noexcept { std::free(memory); }

void __cxa_pure_virtual() { panic("an abstract function was called"); }
int __cxa_atexit(void (* /*function*/)(void *), void * /*object*/, void * /*handle*/) { return 0; }  // the program never ends
extern "C" [[noreturn]] void abort() { panic("abort"); }
extern "C" [[noreturn]] void _exit(int status) { panic("exit %d", status); }

// Where the interpreter prints why it refuses a model.
static int put(char character, FILE * /*file*/) {
  uart_write(reinterpret_cast<const uint8_t *>(&character), 1);
  return 0;
}
static FILE output = FDEV_SETUP_STREAM(put, nullptr, nullptr, _FDEV_SETUP_WRITE);
FILE *const stdout = &output;
FILE *const stderr = &output;
