// Digits: 1,797 real 8x8 pictures from the source itself, an MLP, cross entropy with label smoothing 0.1. Expected: at least
// 97 % on the test part; smoothing is worth about two points here.
#include "tutorials/datasets/digits.h"

#include "tutorials/experiments/images.h"

namespace gradus::experiments {
namespace {

Outcome run(const Request& request) {
  if (!request.data.empty()) fail("train", "digits come with the program; --data is not used here");
  return train_on_images(digits_split(), {.sizes = {64, 128, 10}}, digits(), request);
}

}  // namespace

Experiment digits() {
  return {
      "digits", "cross_entropy", "handwritten digits by an MLP", "built in: 1,797 pictures of 8x8 (UCI)", nullptr, 2000,
      run};
}

}  // namespace gradus::experiments
