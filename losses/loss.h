// What all losses share: reductions, the rule for batches with nothing to count, and the table that lists every loss.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "engine/random.h"
#include "ops/form.h"

namespace gradus {

enum class Reduction { mean, sum, none };

// rows [N] -> [] or [N].  mean divides by `divisor`, or is 0 with gradient 0 when the divisor is 0: a batch with nothing to
// count has loss 0, never NaN. (PyTorch gives NaN.)
Tensor reduce_rows(At rows, Reduction reduction, double divisor);

// ---- the table

enum class Family { softmax, logsumexp, distance, transport, combine, scheme, metric };
const char* name_of(Family family);

// One instance to check: tensors that are differentiated, and the loss as a function of them.
struct LossSample {
  std::string what;            // "label smoothing 0.1, 7 rows"
  std::vector<Tensor> inputs;  // f64
  std::function<Tensor(const std::vector<Tensor>& inputs, Form form)> loss;
};

struct LossInfo {
  const char* name;
  Family family;
  const char* formula;  // one line
  const char* seeds;    // ids of the inventory
  const char* task;     // what it is trained for
  std::vector<LossSample> (*samples)(Rng& rng);
};

// Every loss, in the order of losses/registry.cpp.
const std::vector<LossInfo>& all_losses();
// The loss of that name, or an error that lists near names.
const LossInfo& find_loss(const std::string& name);

}  // namespace gradus
