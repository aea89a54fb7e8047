// Writes what the firmware's front-end makes of the samples on its standard
// input: `speech_features STEP_MS PIECE`, which gives it PIECE samples at a
// time, and starts it twice over the same sound.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "speech_features.h"

using namespace esphome::mww_harness;

int main(int count, char **words) {
  if (count != 3) {
    return 2;
  }
  const size_t piece = strtoul(words[2], nullptr, 10);
  std::vector<int16_t> sound(16000 * 60);
  sound.resize(fread(sound.data(), sizeof(int16_t), sound.size(), stdin));
  SpeechFeatures frontend;
  for (int round = 0; round < 2; round++) {
    if (!frontend.start(static_cast<uint8_t>(atoi(words[1]))).ok()) {
      return 1;
    }
    for (size_t at = 0; at < sound.size();) {
      uint16_t features[FEATURES];
      bool made = false;
      at +=
          frontend.process(sound.data() + at,
                           std::min(piece, sound.size() - at), features, &made);
      if (made) {
        fwrite(features, sizeof(uint16_t), FEATURES, stdout);
      }
    }
  }
  frontend.stop();
  return frontend.start(31).ok() ? 1 : 0;
}
