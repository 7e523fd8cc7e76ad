#include "tutorials/datasets/cache.h"

#include <cstdlib>
#include <filesystem>

#include "engine/error.h"

namespace gradus {
namespace {

// An empty variable counts as none, as in a shell's ${NAME:-...}.
std::string environment(const char* variable) {
  const char* value = std::getenv(variable);
  return value ? value : "";
}

}  // namespace

std::string data_dir(std::string_view name) {
  std::filesystem::path cache = environment("GRADUS_DATA");
  if (cache.empty()) {
    cache = environment("XDG_CACHE_HOME");
    if (cache.empty() && !environment("HOME").empty()) cache = environment("HOME") + "/.cache";
    if (cache.empty()) fail("data_dir", "neither HOME nor GRADUS_DATA is set; set GRADUS_DATA to a folder for data");
    cache /= "gradus";
  }
  return (cache / name).string();
}

bool data_present(std::string_view name) {
  std::error_code ignored;  // a folder we may not look into is as good as none
  return std::filesystem::exists(data_dir(name) + "/.source", ignored);
}

}  // namespace gradus
