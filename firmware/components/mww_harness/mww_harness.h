#pragma once

#include <optional>

#include "esphome/components/uart/uart.h"
#include "esphome/core/component.h"
#include "esphome/core/defines.h"
#include "esphome/core/helpers.h"

#include "board_engines.h"
#include "microphone_input.h"
#include "model_partition.h"
#include "model_store.h"
#include "session.h"

namespace esphome::mww_harness {

/// Serves the link on a UART: bytes to the session, frames to the host, and one piece of work in each loop.
class MwwHarness final : public Component, public uart::UARTDevice, public Platform {
 public:
  void setup() override;
  void loop() override;
  void dump_config() override;
  float get_setup_priority() const override { return setup_priority::LATE; }

  void set_board(const char *board) { this->board_ = board; }
  void set_model_partition(const char *name, uint32_t size) {
    this->partition_name_ = name;
    this->partition_size_ = size;
  }
#if defined(USE_ESP32) || defined(MWW_HARNESS_TFLM)
  void set_arena(ArenaSource source, ArenaMemory memory) { this->engines_.set_arena(source, memory); }
#endif

#ifdef USE_MWW_HARNESS_MICROPHONE
  void set_microphone(microphone::MicrophoneSource *source) { this->microphone_.set_source(source); }
#endif

  void transmit(const uint8_t *data, size_t size) override { this->write_array(data, size); }
  void read_memory(wire::Stats *stats) override;

 protected:
  wire::Welcome identity_();
  void receive_();
#ifdef USE_LOG_LISTENERS
  void forward_log_(uint8_t level, std::string_view line);
#endif

  const char *board_{""};
  const char *partition_name_{""};
  uint32_t partition_size_{0};
  const char *partition_error_{nullptr};

  MappedPartition partition_;
  BoardEngines engines_;
  StaticLinkBuffers<MWW_HARNESS_MAX_PAYLOAD, MWW_HARNESS_MAX_FRAMES, MWW_HARNESS_WINDOW> buffers_;
#ifdef USE_MWW_HARNESS_MICROPHONE
  MicrophoneInput microphone_;
#endif
  InferenceResult result_;
  std::optional<ModelStore> store_;
  std::optional<Session> session_;
  HighFrequencyLoopRequester high_frequency_;

  // Bytes of the UART that the session has not taken yet
  uint8_t received_[64];
  size_t received_begin_{0};
  size_t received_end_{0};
};

}  // namespace esphome::mww_harness
