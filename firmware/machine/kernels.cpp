#include "machine_engines.h"

// Null unless the library's kernels call them: a weak reference takes nothing out of an archive.
extern "C" {
__attribute__((weak)) void esp_nn_conv_s8_opt();
__attribute__((weak)) void esp_nn_conv_s8_ansi();
__attribute__((weak)) void esp_nn_conv_s8_esp32s3();
}

namespace esphome::mww_harness {

const char *linked_kernels() {
  if (esp_nn_conv_s8_esp32s3 != nullptr) {
    return MWW_ESP_NN_VERSION " esp32s3";
  }
  if (esp_nn_conv_s8_opt != nullptr) {
    return MWW_ESP_NN_VERSION " generic_opt";
  }
  return esp_nn_conv_s8_ansi != nullptr ? MWW_ESP_NN_VERSION " ansi" : " reference";
}

}  // namespace esphome::mww_harness
