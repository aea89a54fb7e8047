// Declarations of what speech_features.h uses of esp-micro-speech-features, for -fsyntax-only alone.
#pragma once
#include <cstddef>
#include <cstdint>

extern "C" {
struct FrontendConfig {
  struct {
    size_t size_ms;
    size_t step_size_ms;
  } window;
  struct {
    int num_channels;
    float upper_band_limit;
    float lower_band_limit;
  } filterbank;
  struct {
    int smoothing_bits;
    float even_smoothing;
    float odd_smoothing;
    float min_signal_remaining;
  } noise_reduction;
  struct {
    int enable_pcan;
    float strength;
    float offset;
    int gain_bits;
  } pcan_gain_control;
  struct {
    int enable_log;
    int scale_shift;
  } log_scale;
};
struct FrontendState {
  void *contents;
};
struct FrontendOutput {
  const uint16_t *values;
  size_t size;
};
int FrontendPopulateState(const FrontendConfig *, FrontendState *, int);
void FrontendFreeStateContents(FrontendState *);
FrontendOutput FrontendProcessSamples(FrontendState *, const int16_t *, size_t, size_t *);
}
