// What `gradus bench` measures: losses of the table, called by name on f32 inputs of a given size.
#pragma once
#include <functional>

#include "losses/loss.h"

namespace gradus::cli {

struct BenchCase {
  const char* name;   // also what tests/bench/torch_losses.py calls it
  const char* shape;  // for the reader
  double wanted = 0;  // how many times faster than PyTorch it should be at least; 0: no promise
  const char* loss = nullptr;
  std::function<Inputs(Rng&)> inputs = {};
  Options options = {};
};
const std::vector<BenchCase>& bench_cases();

// The same loss at growing sizes n: its time should grow like n^exponent, a logarithm aside.
struct ScalingCase {
  const char* name;
  const char* size;  // what n counts
  double exponent;
  const char* loss;
  std::vector<Index> sizes;
  std::function<Inputs(Index n, Rng&)> inputs;
  Options options = {};
};
const std::vector<ScalingCase>& scaling_cases();

}  // namespace gradus::cli
