// `gradus bench --device cuda`: steps of losses, layers and optimizers on a GPU, beside what the card could do at best and
// beside PyTorch on the same card.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "engine/device.h"
#include "engine/random.h"
#include "tutorials/cli/commands.h"

namespace gradus::cli {

int bench_gpu(const BenchRequest& request);
std::string output_of(const std::string& command);  // its standard output

// The sizes of a case by name: shown to the reader and sent to the peer, so that both measure the same.
struct Sizes {
  std::vector<std::pair<std::string, Index>> list;
  Index operator[](const std::string& name) const;
  std::string text() const;  // "N=8192 V=32768"
  Sizes hundredth() const;   // for a run that is to show only that everything works
};

// What is timed, and the least work it stands for: bytes that have to pass between the GPU and its memory, and operations in
// matrix products. No step can take less time than either.
struct Trial {
  std::function<void()> step;
  double bytes = 0, operations = 0;
};

struct GpuCase {
  const char* name;  // also what tests/bench/torch_gpu.py calls it; the sizes tell cases of one name apart
  Sizes sizes;
  std::function<Trial(const Sizes&, Rng&)> make;
  MatmulPrecision precision = MatmulPrecision::exact;
};
const std::vector<GpuCase>& gpu_cases();

}  // namespace gradus::cli
