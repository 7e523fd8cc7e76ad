// Mini-batches of a set in random order, as a function of the step alone: nothing about the order has to be saved, and a
// resumed run sees the same pictures.
//
//   for (auto [x, y] : batches(train, 64)) ...            one epoch: every picture once, the last rest left out
//   Batches batch = batches(train, 64);  auto [x, y] = batch(step);        step 0, 1, ...; a new order every epoch
#pragma once
#include "tutorials/datasets/image_set.h"

namespace gradus {

struct Batch {
  Tensor x, y;  // [B,D], [B]
};

class Batches {
 public:
  Batches(ImageSet set, Index batch_size, std::uint64_t seed);
  Index per_epoch() const { return set_.size() / size_; }
  Batch operator()(Index step);

  struct Iterator {
    Batches* batches;
    Index step;
    Batch operator*() const { return (*batches)(step); }
    Iterator& operator++() { return ++step, *this; }
    bool operator!=(const Iterator& other) const { return step != other.step; }
  };
  Iterator begin() { return {this, 0}; }
  Iterator end() { return {this, per_epoch()}; }

 private:
  ImageSet set_;
  Index size_;
  std::uint64_t seed_;
  Index epoch_ = -1;  // whose order is in order_
  std::vector<Index> order_;
};

Batches batches(const ImageSet& set, Index batch_size, std::uint64_t seed = 0);

}  // namespace gradus
