// Declarations of what engine_tflm.h uses of TFLite Micro, for -fsyntax-only alone.
#pragma once
#include <cstdint>

namespace tflite {
struct Model;
class MicroAllocator;
class MicroResourceVariables;
struct TfLiteTensor {
  struct {
    int8_t *int8;
  } data;
};
class MicroInterpreter {
 public:
  TfLiteTensor *input(unsigned index);
};
template<unsigned count> class MicroMutableOpResolver {};
class MicroProfilerInterface {
 public:
  virtual ~MicroProfilerInterface() = default;
  virtual uint32_t BeginEvent(const char *tag) = 0;
  virtual void EndEvent(uint32_t event_handle) = 0;
};
}  // namespace tflite
