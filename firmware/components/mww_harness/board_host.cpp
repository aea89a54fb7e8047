#ifdef USE_HOST

#include "board.h"

#include "esphome/core/helpers.h"
#include "esphome/core/version.h"

namespace esphome::mww_harness {

void read_identity(wire::Welcome *welcome) {
  welcome->flags = wire::FLAG_VIRTUAL;
  welcome->boot_id = random_uint32();
  get_mac_address_raw(welcome->mac);
  welcome->chip = "host";
  welcome->engine = "socket";
  welcome->esphome = ESPHOME_VERSION;
  welcome->reset_reason = "power on";
}

void read_memory(wire::Stats * /*stats*/) {}

}  // namespace esphome::mww_harness

#endif  // USE_HOST
