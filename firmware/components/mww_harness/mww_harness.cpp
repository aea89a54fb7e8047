#include "mww_harness.h"

#include <algorithm>
#include <cinttypes>

#include "board.h"
#include "esphome/core/hal.h"
#include "esphome/core/log.h"

#ifdef USE_LOG_LISTENERS
#include "esphome/components/logger/logger.h"
#endif

namespace esphome::mww_harness {

static const char *const TAG = "mww_harness";

static constexpr uint16_t HEARTBEAT_MS = 500;

void MwwHarness::setup() {
  this->partition_error_ = this->partition_.open(this->partition_name_, this->partition_size_);
  this->store_.emplace(this->partition_error_ == nullptr ? &this->partition_ : nullptr);
  this->engines_.setup();
  Engine *engines[wire::MAX_MODELS];
  for (size_t slot = 0; slot < wire::MAX_MODELS; slot++) {
    engines[slot] = this->engines_[slot];
  }
  BoardMicrophone *microphone = nullptr;
#ifdef USE_MWW_HARNESS_MICROPHONE
  this->microphone_.setup();
  microphone = &this->microphone_;
#endif
  this->session_.emplace(this->identity_(), this->buffers_.view(), engines, &*this->store_, this, &this->result_, 1,
                         this->engines_.frontend(), microphone);

#ifdef USE_LOG_LISTENERS
  // Called in the main task alone, and not for what is logged within it (esphome 2026.6.5 and 2026.10.0, logger.cpp).
  logger::global_logger->add_log_callback(
      this, [](void *self, uint8_t level, const char * /*tag*/, const char *message, size_t length) {
        static_cast<MwwHarness *>(self)->forward_log_(level, {message, length});
      });
#endif
}

wire::Welcome MwwHarness::identity_() {
  wire::Welcome welcome;
  read_identity(&welcome);
  welcome.models = wire::MAX_MODELS;
  welcome.heartbeat_ms = HEARTBEAT_MS;
  welcome.receive_buffer = this->parent_->get_rx_buffer_size();
  welcome.partition_size = this->store_->partition_size();
  welcome.board = this->board_;
  welcome.firmware = MWW_HARNESS_VERSION;
  return welcome;
}

void MwwHarness::loop() {
  this->receive_();
  this->session_->poll(millis());
  if (this->session_->active()) {
    this->high_frequency_.start();
  } else {
    this->high_frequency_.stop();
  }
}

void MwwHarness::receive_() {
  while (true) {
    if (this->received_begin_ == this->received_end_) {
      const size_t count = std::min(this->available(), sizeof(this->received_));
      if (count == 0 || !this->read_array(this->received_, count)) {
        return;
      }
      this->received_begin_ = 0;
      this->received_end_ = count;
    }
    const size_t taken =
        this->session_->feed(this->received_ + this->received_begin_, this->received_end_ - this->received_begin_);
    if (taken == 0) {
      return;  // a request is in progress
    }
    this->received_begin_ += taken;
  }
}

void MwwHarness::read_memory(wire::Stats *stats) { mww_harness::read_memory(stats); }

#ifdef USE_LOG_LISTENERS
void MwwHarness::forward_log_(uint8_t level, std::string_view line) {
  if (!this->session_.has_value() || !this->session_->active()) {
    return;
  }
  // The logger's colours are for terminals.
  if (line.substr(0, 1) == "\033") {
    line.remove_prefix(std::min(line.find('m') + 1, line.size()));
  }
  this->session_->log(level, line.substr(0, line.find('\033')));
}
#endif

void MwwHarness::dump_config() {
  ESP_LOGCONFIG(TAG,
                "Wake word harness " MWW_HARNESS_VERSION ":\n"
                "  Board: %s\n"
                "  Window: %u requests, %u frames a packet",
                this->board_, MWW_HARNESS_WINDOW, MWW_HARNESS_MAX_FRAMES);
  if (this->partition_error_ != nullptr) {
    ESP_LOGE(TAG, "  Model partition %s: %s", this->partition_name_, this->partition_error_);
    return;
  }
  ESP_LOGCONFIG(TAG, "  Model partition %s: %" PRIu32 " bytes", this->partition_name_, this->partition_.size());
  bool any = false;
  for (uint8_t slot = 0; slot < wire::MAX_MODELS; slot++) {
    const wire::TableEntry &entry = this->store_->entry(slot);
    if (entry.length > 0) {
      any = true;
      ESP_LOGCONFIG(TAG, "  Model %u: %" PRIu32 " bytes, sha256 %02x%02x%02x%02x%s", slot, entry.length,
                    entry.sha256[0], entry.sha256[1], entry.sha256[2], entry.sha256[3],
                    this->store_->verify(slot) ? "" : ", damaged");
    }
  }
  if (!any) {
    ESP_LOGCONFIG(TAG, "  No model yet; the host sends one");
  }
}

}  // namespace esphome::mww_harness
