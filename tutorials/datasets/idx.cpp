#include "tutorials/datasets/idx.h"

#include <zlib.h>

#include <algorithm>
#include <filesystem>
#include <memory>

namespace gradus {
namespace {

constexpr std::size_t most_bytes = std::size_t(256) << 20;  // unpacked; five times Fashion-MNIST

// The whole file, unpacked when it is gzipped. Memory grows with what is in the file, whatever its header claims.
std::string read_bytes(const std::string& path) {
  std::unique_ptr<gzFile_s, decltype(&gzclose)> file(gzopen(path.c_str(), "rb"), gzclose);
  if (!file || std::filesystem::is_directory(path)) {
    fail("read_idx", "cannot open " + path + "; is it there, is it a file, and may you read it?");
  }
  std::string bytes;
  int got = 0;
  do {
    std::size_t size = bytes.size(), chunk = 1 << 20;
    bytes.resize(size + chunk);
    got = gzread(file.get(), bytes.data() + size, unsigned(chunk));
    bytes.resize(size + std::size_t(std::max(got, 0)));
    if (bytes.size() > most_bytes) {
      fail("read_idx", path + " holds more than " + std::to_string(most_bytes >> 20) + " MiB; use a smaller set");
    }
  } while (got > 0);
  int status = Z_OK;
  const char* message = gzerror(file.get(), &status);  // also set when a gzip stream breaks off early
  if (status != Z_OK) {
    fail("read_idx", path + ": damaged after " + std::to_string(bytes.size()) + " unpacked bytes (" + message +
                         "); fetch the file again");
  }
  return bytes;
}

std::uint32_t big_endian(const std::string& bytes, std::size_t offset) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value = value << 8 | std::uint8_t(bytes[offset + i]);
  return value;
}

struct Idx {
  std::string bytes;  // of the whole file
  std::size_t start;  // of the elements
  std::vector<Index> sizes;

  const std::uint8_t* elements() const { return reinterpret_cast<const std::uint8_t*>(bytes.data()) + start; }
};

// Reads a file of bytes with this many axes, and checks that its size is what its header says.
Idx read_elements(const std::string& path, int axes, const char* what) {
  Idx idx{.bytes = read_bytes(path), .start = std::size_t(4 + 4 * axes), .sizes = {}};
  std::size_t size = idx.bytes.size();
  if (size < idx.start) {
    fail("read_idx", path + ": expected a header of " + std::to_string(idx.start) + " bytes, found a file of " +
                         std::to_string(size) + "; fetch the file again");
  }
  std::uint32_t magic = big_endian(idx.bytes, 0), expected_magic = 0x800 + std::uint32_t(axes);
  if (magic != expected_magic) {
    fail("read_idx", path + ": expected the number " + std::to_string(expected_magic) + " at offset 0 (" + what +
                         "), found " + std::to_string(magic) + "; give the path of an IDX file of " + what);
  }
  // Three 32-bit sizes can overflow 64 bits, so the product stops once it is larger than any file.
  std::size_t expected = 1;
  std::string text;
  for (int axis = 0; axis < axes; ++axis) {
    std::size_t length = big_endian(idx.bytes, std::size_t(4 + 4 * axis));
    idx.sizes.push_back(Index(length));
    expected = std::min(expected * length, most_bytes + 1);
    text += (axis ? " x " : "") + std::to_string(length);
  }
  if (expected == 0) fail("read_idx", path + ": the header says " + text + ", so nothing is in it; use another");
  if (expected != size - idx.start) {
    fail("read_idx", path + ": the header says " + text + " bytes, found " + std::to_string(size - idx.start) +
                         " from offset " + std::to_string(idx.start) + " on; fetch the file again");
  }
  return idx;
}

}  // namespace

ImageSet read_idx(const std::string& images_path, const std::string& labels_path) {
  Idx images = read_elements(images_path, 3, "pictures"), labels = read_elements(labels_path, 1, "labels");
  Index n = images.sizes[0], height = images.sizes[1], width = images.sizes[2];
  if (labels.sizes[0] != n) {
    fail("read_idx", images_path + " has " + std::to_string(n) + " pictures, " + labels_path + " has " +
                         std::to_string(labels.sizes[0]) + " labels; give two files that belong together");
  }
  ImageSet set{.images = empty({n, height * width}, DType::f32, Device::cpu()),
               .labels = empty({n}, DType::i64, Device::cpu()),
               .classes = 1 + *std::max_element(labels.elements(), labels.elements() + n),
               .height = height,
               .width = width};
  std::transform(images.elements(), images.elements() + set.images.numel(), set.images.data_mut<float>(),
                 [](std::uint8_t pixel) { return float(pixel) / 255; });
  std::copy_n(labels.elements(), n, set.labels.data_mut<Index>());
  return set;
}

Split fashion_mnist(const std::string& dir) {
  auto find = [&](const std::string& name) {
    for (const std::string& path : {dir + "/" + name + ".gz", dir + "/" + name}) {
      if (std::filesystem::is_regular_file(path)) return path;
    }
    fail("fashion_mnist", dir + " has no " + name + ".gz; run: ./dev data fashion-mnist");
  };
  return {.train = read_idx(find("train-images-idx3-ubyte"), find("train-labels-idx1-ubyte")),
          .test = read_idx(find("t10k-images-idx3-ubyte"), find("t10k-labels-idx1-ubyte"))};
}

}  // namespace gradus
