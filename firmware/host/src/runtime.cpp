// What the library would need of the C++ runtime, for ziglang, which would otherwise build all of it first: nothing
// here is deleted through a base class, and no abstract function is called.
#include <cstddef>
#include <cstdlib>

void operator delete(void *memory) noexcept { std::free(memory); }
void operator delete(void *memory, size_t /*size*/) noexcept { std::free(memory); }

extern "C" void __cxa_pure_virtual();  // NOLINT(bugprone-reserved-identifier,readability-identifier-naming)
extern "C" void __cxa_pure_virtual() { std::abort(); }
