// Files that are whole or absent: written beside their place, then renamed into it.
//
// A crash or a full disk at any moment leaves the old file or the new one, never a part: the bytes are on the disk (fsync)
// before the name is, and the directory is synced after. A reader sees one or the other.
#pragma once
#include <span>
#include <string>
#include <string_view>

namespace gradus {

// Error of `op` naming the path and the system's reason; the temporary file is then removed.
void write_file(std::string_view op, const std::string& path, std::span<const std::string_view> pieces);
std::string read_file(std::string_view op, const std::string& path);

}  // namespace gradus
