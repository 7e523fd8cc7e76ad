// Where data sets lie: outside the repository, one folder each, filled by `./dev data NAME` (tutorials/tools/data.sh,
// which looks in the same place).
#pragma once
#include <string>
#include <string_view>

namespace gradus {

// $GRADUS_DATA/name, or else $XDG_CACHE_HOME/gradus/name, or else ~/.cache/gradus/name. It need not exist yet.
std::string data_dir(std::string_view name);

// Whether `./dev data name` has been run to its end.
bool data_present(std::string_view name);

}  // namespace gradus
