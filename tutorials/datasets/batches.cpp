#include "tutorials/datasets/batches.h"

#include "engine/random.h"

namespace gradus {

Batches::Batches(ImageSet set, Index batch_size, std::uint64_t seed)
    : set_(std::move(set)), size_(batch_size), seed_(seed) {
  if (size_ < 1 || size_ > set_.size()) {
    fail("batches", "the batch size must lie in 1.." + std::to_string(set_.size()) + ", got " + std::to_string(size_));
  }
}

Batch Batches::operator()(Index step) {
  const Index epoch = step / per_epoch();
  if (epoch != epoch_) {
    Rng rng(seed_);
    rng.seek(std::uint64_t(epoch) << 32);  // each epoch has its own stretch of the generator
    order_ = rng.permutation(set_.size());
    epoch_ = epoch;
  }
  const auto first = std::size_t(step % per_epoch() * size_);
  const ImageSet part = take(set_, std::span(order_).subspan(first, std::size_t(size_)));
  return {part.images, part.labels};
}

Batches batches(const ImageSet& set, Index batch_size, std::uint64_t seed) { return {set, batch_size, seed}; }

}  // namespace gradus
