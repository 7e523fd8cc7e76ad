// The digits in the source are the published ones, and their split is a fair one.
#include "tutorials/datasets/digits.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>

using namespace gradus;

namespace {

// Every pixel and label as one number each, in the order of the CSV, hashed (FNV-1a, 64 bits).
std::uint64_t hash_of(const ImageSet& set) {
  std::uint64_t hash = 0xcbf29ce484222325;
  auto add = [&](std::uint64_t value) { hash = (hash ^ value) * 0x100000001b3; };
  std::span<const float> pixels = set.images.span<float>();
  std::span<const Index> labels = set.labels.span<Index>();
  for (std::size_t i = 0; i < labels.size(); ++i) {
    for (float pixel : pixels.subspan(i * 64, 64)) add(std::uint64_t(pixel * 16));
    add(std::uint64_t(labels[i]));
  }
  return hash;
}

std::multiset<std::string> pictures_of(const ImageSet& set) {
  std::multiset<std::string> pictures;
  for (Index i = 0; i < set.size(); ++i) {
    std::string bytes(64 * sizeof(float), '\0');
    std::memcpy(bytes.data(), set.images.data<float>() + i * 64, bytes.size());
    pictures.insert(bytes);
  }
  return pictures;
}

}  // namespace

TEST_SUITE("datasets/digits") {
  TEST_CASE("there are 1797 pictures of 8x8 pixels in ten classes") {
    ImageSet set = digits();
    CHECK(set.images.shape() == Shape{1797, 64});
    CHECK(set.labels.shape() == Shape{1797});
    CHECK(set.size() == 1797);
    CHECK(set.classes == 10);
    CHECK(set.height * set.width == 64);
  }

  TEST_CASE("the classes have the published sizes") {
    ImageSet set = digits();
    std::vector<Index> counts(10);
    for (Index label : set.labels.span<Index>()) ++counts.at(std::size_t(label));
    CHECK(counts == std::vector<Index>{178, 182, 177, 183, 181, 182, 181, 179, 174, 180});
  }

  TEST_CASE("pixels lie in 0..1, both ends occur, and their sum is the published one") {
    ImageSet set = digits();
    std::span<const float> pixels = set.images.span<float>();
    CHECK(*std::min_element(pixels.begin(), pixels.end()) == 0);
    CHECK(*std::max_element(pixels.begin(), pixels.end()) == 1);
    double sum = 0;
    for (float pixel : pixels) sum += pixel;
    CHECK(sum * 16 == 561718);
  }

  TEST_CASE("every pixel and label is that of the CSV") { CHECK(hash_of(digits()) == 0x776869cce3795967); }

  TEST_CASE("the split keeps every picture, each in one part") {
    Split split = digits_split();
    CHECK(split.train.size() == 1437);
    CHECK(split.test.size() == 360);
    CHECK(split.test.classes == 10);
    std::multiset<std::string> parts = pictures_of(split.train);
    parts.merge(pictures_of(split.test));
    CHECK(parts == pictures_of(digits()));
  }

  TEST_CASE("every class is in the test part about as often as in the whole") {
    Split split = digits_split();
    std::vector<Index> counts(10);
    for (Index label : split.test.labels.span<Index>()) ++counts.at(std::size_t(label));
    CHECK(*std::min_element(counts.begin(), counts.end()) >= 24);
    CHECK(*std::max_element(counts.begin(), counts.end()) <= 48);
  }

  TEST_CASE("the same seed gives the same split, another seed another") {
    CHECK(hash_of(digits_split(0.2, 5).test) == hash_of(digits_split(0.2, 5).test));
    CHECK(hash_of(digits_split(0.2, 5).test) != hash_of(digits_split(0.2, 6).test));
  }

  TEST_CASE("take picks rows in the given order, also twice") {
    ImageSet set = digits();
    std::vector<Index> rows = {7, 3, 7};
    ImageSet part = take(set, rows);
    CHECK(part.labels.to_vector() == std::vector<double>{7, 3, 7});  // the first ten pictures are 0 to 9
    CHECK(part.images.at({1, 10}) == set.images.at({3, 10}));
    CHECK(part.images[0].to_vector() == part.images[2].to_vector());
  }

  TEST_CASE("a row that does not exist and a share that leaves nothing are refused") {
    ImageSet set = digits();
    std::vector<Index> rows = {1797};
    CHECK_THROWS_WITH_AS(take(set, rows), "[take] row 1797 of a set of 1797 pictures", Error);
    for (double share : {-0.1, 0.0, 1.0, 0.99999, double(NAN)}) {
      CHECK_THROWS_WITH_AS(digits_split(share), doctest::Contains("between 0 and 1"), Error);
    }
  }
}
