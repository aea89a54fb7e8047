#include "detector.h"

#include <algorithm>
#include <cstring>

#include "contract.h"

namespace esphome::mww_harness {

void Detector::arm(uint8_t cutoff, uint8_t window) {
  this->cutoff_ = cutoff;
  this->window_ = window;
  this->reset();
}

void Detector::reset() {
  this->newest_ = 0;
  this->unprocessed_ = false;
  this->reset_probabilities_();
}

Detection Detector::frame(uint8_t stride, uint8_t output) {
  Detection detection;
  if (this->window_ == 0) {
    return detection;
  }
  for (uint8_t slice = 1; slice <= stride; slice++) {
    if (slice == stride) {
      this->push_(output);
    }
    this->count_();
    if (this->check_(&detection)) {
      detection.slice = slice;
    }
  }
  return detection;
}

void Detector::push_(uint8_t output) {
  this->newest_++;
  if (this->newest_ == this->window_) {
    this->newest_ = 0;
  }
  this->recent_[this->newest_] = output;
  this->unprocessed_ = true;
}

void Detector::count_() {
  // The cooldown: only slices whose newest output is below the cutoff count.
  if (this->recent_[this->newest_] < this->cutoff_ && this->ignore_windows_ < 0) {
    this->ignore_windows_++;
  }
}

bool Detector::check_(Detection *detection) {
  if (!this->unprocessed_ || this->ignore_windows_ < 0) {
    return false;
  }
  this->unprocessed_ = false;
  uint32_t sum = 0;
  uint8_t maximum = 0;
  for (uint8_t i = 0; i < this->window_; i++) {
    sum += this->recent_[i];
    maximum = std::max(maximum, this->recent_[i]);
  }
  if (sum <= static_cast<uint32_t>(this->cutoff_) * this->window_) {
    return false;
  }
  detection->average = static_cast<uint8_t>(sum / this->window_);
  detection->maximum = maximum;
  this->reset_probabilities_();
  return true;
}

void Detector::reset_probabilities_() {
  std::memset(this->recent_, 0, sizeof(this->recent_));
  this->ignore_windows_ = -contract::MIN_SLICES_BEFORE_DETECTION;
}

}  // namespace esphome::mww_harness
