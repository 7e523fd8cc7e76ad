// Reads GRADUS_EMULATION. See settings.h.
#include "cuda/emulation/settings.h"

#include <cstdio>
#include <cstdlib>
#include <string>

namespace gradus::emulation {

[[noreturn]] static void refuse(const std::string& item) {
  std::fprintf(stderr,
               "GRADUS_EMULATION: cannot read \"%s\"; it takes order=forward|reverse|random, seed=N, "
               "streams=immediate|lazy, memory=MIB, devices=0|1, with commas between\n",
               item.c_str());
  std::exit(2);
}

static uint64_t number(const std::string& item, const std::string& digits) {
  if (digits.empty() || digits.size() > 12 || digits.find_first_not_of("0123456789") != std::string::npos) refuse(item);
  return std::stoull(digits);
}

static void apply(Settings& s, const std::string& item) {
  const size_t equals = item.find('=');
  if (equals == std::string::npos) refuse(item);
  const std::string key = item.substr(0, equals), value = item.substr(equals + 1);
  if (item == "order=forward")
    s.order = Order::forward;
  else if (item == "order=reverse")
    s.order = Order::reverse;
  else if (item == "order=random")
    s.order = Order::random;
  else if (item == "streams=immediate")
    s.lazy_streams = false;
  else if (item == "streams=lazy")
    s.lazy_streams = true;
  else if (item == "devices=0")
    s.devices = 0;
  else if (item == "devices=1")
    s.devices = 1;
  else if (key == "seed")
    s.seed = number(item, value);
  else if (key == "memory")
    s.memory = size_t(number(item, value)) << 20;
  else
    refuse(item);
}

static Settings from_environment() {
  Settings s;
  const char* variable = std::getenv("GRADUS_EMULATION");
  std::string rest = variable ? variable : "";
  while (!rest.empty()) {
    const size_t comma = rest.find(',');
    apply(s, rest.substr(0, comma));
    rest = comma == std::string::npos ? "" : rest.substr(comma + 1);
  }
  return s;
}
Settings settings = from_environment();

}  // namespace gradus::emulation
