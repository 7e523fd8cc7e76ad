#include "engine/error.h"

namespace gradus {

void fail(std::string_view op, const std::string& text) { throw Error("[" + std::string(op) + "] " + text); }

std::string UserLine::text() const {
  if (line == 0) return "";
  const std::string_view path = file;
  return std::string(path.substr(path.rfind('/') + 1)) + ":" + std::to_string(line);
}

}  // namespace gradus
