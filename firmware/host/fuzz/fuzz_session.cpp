// A host that says anything, in whole frames and in noise: the session stays within its memory, never infers a frame
// twice, and leaves whole models in the partition.
//
// The input is a script of steps: a byte that says what, a byte that says how much, then that many bytes.
#include <algorithm>
#include <cstdlib>

#include "fake_board.h"

using namespace esphome::mww_harness;

namespace {

class Script {
 public:
  Script(const uint8_t *data, size_t size) : next_(data), left_(size) {}

  bool done() const { return this->left_ < 2; }
  uint8_t byte() {
    this->left_--;
    return *this->next_++;
  }
  ByteView bytes(size_t size) {
    size = std::min(size, this->left_);
    const ByteView taken{this->next_, size};
    this->next_ += size;
    this->left_ -= size;
    return taken;
  }

 protected:
  const uint8_t *next_;
  size_t left_;
};

void send_frame(FakeBoard &board, uint8_t type, uint16_t sequence, const ByteView &payload) {
  uint8_t frame[wire_size(1024)];
  FrameWriter writer(frame, sizeof(frame));
  writer.begin(type, sequence);
  writer.bytes(payload.data, payload.size);
  board.feed(frame, writer.end());
}

/// A partition with a model in its first slot.
std::vector<uint8_t> flashed() {
  FakeBoard board;
  const uint8_t model[] = {2, 'm', 'o', 'd', 'e', 'l'};
  const Digest digest = sha256(model, sizeof(model));
  wire::UploadBegin begin;
  begin.size = sizeof(model);
  std::copy(digest.begin(), digest.end(), begin.sha256);
  wire::UploadPiece piece;
  piece.data = {model, sizeof(model)};
  uint8_t slot;
  if (!board.store().begin(begin).ok() || !board.store().write(piece).ok() ||
      !board.store().commit(digest, &slot).ok()) {
    std::abort();
  }
  return board.partition.bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const std::vector<uint8_t> FLASH = flashed();
  FakeBoard board(FLASH);
  wire::Hello hello;
  hello.protocol_min = hello.protocol_max = wire::PROTOCOL_VERSION;
  board.send(0, hello);
  uint16_t sequence = 1;
  bool numbered = true;
  Script script(data, size);
  while (!script.done()) {
    const uint8_t what = script.byte();
    const ByteView payload = script.bytes(script.byte() * (what < 0x80 ? 1u : 2u));
    if (what == 0) {
      numbered = false;
      board.feed(payload.data, payload.size);
    } else if (what == 1) {
      board.now += 50;
      board.feed(nullptr, 0);
    } else {
      // The two high bits ask for a sequence number that was answered before, which must not be carried out again.
      const uint8_t type = what & 0x3F;
      const bool again = what >= 0xC0;
      const size_t before = board.engines[0].inferences;
      send_frame(board, type, again ? static_cast<uint16_t>(sequence - 1 - what % 8) : sequence++, payload);
      numbered = numbered && type != wire::Hello::TYPE;  // another session may count otherwise
      if (again && numbered && board.engines[0].inferences != before) {
        std::abort();
      }
    }
    board.sent.clear();
  }
  ModelStore store(&board.partition);
  if (store.entry(0).length == 0 || !store.verify(0)) {
    std::abort();
  }
  return 0;
}
