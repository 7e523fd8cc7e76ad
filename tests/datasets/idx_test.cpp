// The IDX reader: what it reads, and what it says about every kind of broken file.
#include "tutorials/datasets/idx.h"

#include <doctest/doctest.h>
#include <zlib.h>

#include <algorithm>

#include "tests/datasets/temp_folder.h"

using namespace gradus;
using doctest::Contains;

namespace {

std::string header(std::initializer_list<std::uint32_t> numbers) {
  std::string bytes;
  for (std::uint32_t number : numbers) {
    for (int shift : {24, 16, 8, 0}) bytes += char(number >> shift & 0xFF);
  }
  return bytes;
}

// Two pictures of 2x3 pixels with the labels 1 and 4.
const std::string good_images =
    header({2051, 2, 2, 3}) + std::string("\x00\x33\x66\x99\xCC\xFF\x01\x02\x03\x04\x05\x06", 12);
const std::string good_labels = header({2049, 2}) + "\x01\x04";

std::string gzipped(const TempFolder& folder, const std::string& name, const std::string& content) {
  std::string path = folder.path + "/" + name;
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, content.data(), unsigned(content.size()));
  gzclose(file);
  return path;
}

}  // namespace

TEST_SUITE("datasets/idx") {
  TEST_CASE("pictures come as f32 in 0..1, labels as i64") {
    TempFolder folder;
    ImageSet set = read_idx(folder.write("images", good_images), folder.write("labels", good_labels));
    CHECK(set.images.shape() == Shape{2, 6});
    CHECK(set.height == 2);
    CHECK(set.width == 3);
    CHECK(set.classes == 5);
    CHECK(set.labels.to_vector() == std::vector<double>{1, 4});
    CHECK(set.images.at({0, 0}) == 0);
    CHECK(set.images.at({0, 1}) == doctest::Approx(0.2));
    CHECK(set.images.at({0, 5}) == 1);
    CHECK(set.images.at({1, 0}) == doctest::Approx(1 / 255.0));
  }

  TEST_CASE("a gzipped file reads like a plain one") {
    TempFolder folder;
    ImageSet plain = read_idx(folder.write("images", good_images), folder.write("labels", good_labels));
    ImageSet zipped = read_idx(gzipped(folder, "images.gz", good_images), gzipped(folder, "labels.gz", good_labels));
    CHECK(zipped.images.to_vector() == plain.images.to_vector());
    CHECK(zipped.labels.to_vector() == plain.labels.to_vector());
  }

  TEST_CASE("a file that is not there, or is a folder, is named") {
    TempFolder folder;
    CHECK_THROWS_WITH_AS(read_idx(folder.path + "/none", folder.path + "/none"), Contains("/none"), Error);
    CHECK_THROWS_WITH_AS(read_idx(folder.path, folder.path), Contains("cannot open"), Error);
  }

  TEST_CASE("the wrong kind of file is told by its first number") {
    TempFolder folder;
    std::string images = folder.write("images", good_images), labels = folder.write("labels", good_labels + "12345678");
    CHECK_THROWS_WITH_AS(read_idx(labels, images),
                         Contains("expected the number 2051 at offset 0 (pictures), found 2049"), Error);
    std::string text = folder.write("text", "a text of some length, certainly no pictures");
    CHECK_THROWS_WITH_AS(read_idx(text, labels), Contains("found 1629516901"), Error);
  }

  TEST_CASE("an empty file and one shorter than its header are told") {
    TempFolder folder;
    std::string labels = folder.write("labels", good_labels);
    CHECK_THROWS_WITH_AS(read_idx(folder.write("a", ""), labels), Contains("found a file of 0;"), Error);
    CHECK_THROWS_WITH_AS(read_idx(folder.write("b", good_images.substr(0, 15)), labels),
                         Contains("a header of 16 bytes, found a file of 15"), Error);
  }

  TEST_CASE("a file shorter or longer than its header says is told, with both sizes") {
    TempFolder folder;
    std::string labels = folder.write("labels", good_labels);
    CHECK_THROWS_WITH_AS(read_idx(folder.write("a", good_images.substr(0, 27)), labels),
                         Contains("says 2 x 2 x 3 bytes, found 11"), Error);
    CHECK_THROWS_WITH_AS(read_idx(folder.write("b", good_images + "x"), labels),
                         Contains("says 2 x 2 x 3 bytes, found 13"), Error);
  }

  TEST_CASE("a header that claims the impossible allocates nothing") {
    TempFolder folder;
    std::string labels = folder.write("labels", good_labels);
    // 4294967295 cubed is 2^96, which wraps to a small number in 64 bits.
    std::string huge = folder.write("huge", header({2051, 4294967295, 4294967295, 4294967295}) + "123456789012");
    CHECK_THROWS_WITH_AS(read_idx(huge, labels), Contains("found 12 from offset 16"), Error);
    std::string wraps = folder.write("wraps", header({2051, 2147483648, 2147483648, 4}) + "");
    CHECK_THROWS_WITH_AS(read_idx(wraps, labels), Contains("found 0 from offset 16"), Error);
    std::string none = folder.write("none", header({2051, 0, 28, 28}));
    CHECK_THROWS_WITH_AS(read_idx(none, labels), Contains("says 0 x 28 x 28"), Error);
  }

  TEST_CASE("a gzipped file that breaks off is told") {
    TempFolder folder;
    std::string noise;
    for (std::uint32_t i = 0; i < 5000; ++i) noise += char(i * i * 2654435761u >> 24);
    std::string whole = gzipped(folder, "whole.gz", header({2051, 5, 10, 100}) + noise);
    std::filesystem::resize_file(whole, std::filesystem::file_size(whole) / 2);
    CHECK_THROWS_WITH_AS(read_idx(whole, folder.write("labels", good_labels)), Contains("whole.gz: damaged after"),
                         Error);
  }

  TEST_CASE("pictures and labels of different numbers are told") {
    TempFolder folder;
    std::string images = folder.write("images", good_images);
    std::string labels = folder.write("labels", header({2049, 3}) + "\x01\x02\x03");
    CHECK_THROWS_WITH_AS(read_idx(images, labels), Contains("has 3 labels"), Error);
  }

  TEST_CASE("fashion_mnist finds its four files, plain or gzipped, and says how to get them") {
    TempFolder folder;
    CHECK_THROWS_WITH_AS(fashion_mnist(folder.path), Contains("run: ./dev data fashion-mnist"), Error);
    for (std::string part : {"train", "t10k"}) {
      gzipped(folder, part + "-images-idx3-ubyte.gz", good_images);
      folder.write(part + "-labels-idx1-ubyte", good_labels);
    }
    CHECK(fashion_mnist(folder.path).test.size() == 2);
  }

  TEST_CASE("the real Fashion-MNIST has ten classes of equal size") {
    if (!data_present("fashion-mnist")) {
      MESSAGE("skipped: run ./dev data fashion-mnist");
      return;
    }
    Split split = fashion_mnist();
    CHECK(split.train.images.shape() == Shape{60000, 784});
    CHECK(split.test.images.shape() == Shape{10000, 784});
    CHECK(split.train.classes == 10);
    for (const ImageSet* part : {&split.train, &split.test}) {
      std::span<const Index> labels = part->labels.span<Index>();
      for (Index c = 0; c < 10; ++c) CHECK(std::count(labels.begin(), labels.end(), c) == part->size() / 10);
    }
    double sum = 0;
    for (float pixel : split.train.images.span<float>()) sum += pixel;
    CHECK(sum / double(split.train.images.numel()) == doctest::Approx(0.2860).epsilon(0.001));  // the published mean
  }
}
