// How the emulated device behaves: the environment variable GRADUS_EMULATION, a list such as
//   order=forward|reverse|random  in which order threads and blocks run; in random, one warp also lags far behind
//   seed=N                        of the random order
//   streams=immediate|lazy        lazy: queued work runs only when someone waits for it, which shows missing waits
//   memory=MIB                    of the device; 65536 by default
//   devices=0|1                   how many there are
// with commas between. A bad value ends the program with a message. Tests may also set them while a program runs.
#pragma once
#include <cstddef>
#include <cstdint>

namespace gradus::emulation {

enum class Order { forward, reverse, random };

struct Settings {
  Order order = Order::forward;
  uint64_t seed = 1;
  bool lazy_streams = false;
  size_t memory = size_t(64) << 30;  // bytes
  int devices = 1;
};
extern Settings settings;

}  // namespace gradus::emulation
