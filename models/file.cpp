#include "models/file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "engine/error.h"

namespace gradus {
namespace {

struct Descriptor {
  int fd;
  explicit Descriptor(int f) : fd(f) {}
  ~Descriptor() { close(); }
  Descriptor(const Descriptor&) = delete;
  bool close() {
    const int open = std::exchange(fd, -1);
    return open < 0 || ::close(open) == 0;
  }
};

bool write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    bytes.remove_prefix(std::size_t(n));
  }
  return true;
}

// Some file systems cannot sync a directory; the rename has happened all the same.
void sync_directory_of(const std::filesystem::path& path) {
  const std::filesystem::path directory = path.has_parent_path() ? path.parent_path() : ".";
  const Descriptor opened(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (opened.fd >= 0) ::fsync(opened.fd);
}

}  // namespace

void write_file(std::string_view op, const std::string& path, std::span<const std::string_view> pieces) {
  const std::string temporary = path + ".tmp." + std::to_string(::getpid());
  Descriptor file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  bool good = file.fd >= 0;
  for (const std::string_view piece : pieces) good = good && write_all(file.fd, piece);
  good = good && ::fsync(file.fd) == 0 && file.close() && ::rename(temporary.c_str(), path.c_str()) == 0;
  if (!good) {
    const std::string reason = std::strerror(errno);
    ::unlink(temporary.c_str());
    fail(op, "cannot write " + path + ": " + reason);
  }
  sync_directory_of(path);
}

std::string read_file(std::string_view op, const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.fd < 0) fail(op, "cannot read " + path + ": " + std::strerror(errno));
  std::string bytes, block(1 << 16, '\0');
  for (;;) {
    const ssize_t n = ::read(file.fd, block.data(), block.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(op, "cannot read " + path + ": " + std::strerror(errno));
    if (n == 0) return bytes;
    bytes.append(block, 0, std::size_t(n));
  }
}

}  // namespace gradus
