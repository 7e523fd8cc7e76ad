// The table of losses: what each is, how it is called by name, and samples on which it is checked.
//
// A file of losses ends with one function that describes them, X_losses(); losses/registry.h lists these functions.
#pragma once
#include <functional>

#include "engine/random.h"
#include "losses/arguments.h"

namespace gradus {

enum class Family { softmax, logsumexp, distance, transport, combine, scheme, metric };
const char* name_of(Family family);

// One instance to check.
struct LossSample {
  std::string what;  // "label smoothing 0.1, 7 rows"
  Inputs inputs;     // f64 and i64
  Options options = {};
  // An extreme sample (logits of 1e4, p_t = 1e-40) is there for f32: its closed form must be finite and agree with f64. There
  // is no difference quotient at such a point, and the definition need not survive it.
  bool extreme = false;
};

struct LossInfo {
  const char* name;
  Family family;
  const char* formula;  // one line
  const char* seeds;    // ids of the inventory
  const char* task;     // what it is trained for
  std::vector<InputSpec> inputs;
  std::vector<OptionSpec> options;
  std::function<Tensor(const Arguments&)> run;
  std::vector<LossSample> (*samples)(Rng& rng);
  // For a loss that stops a gradient somewhere: the same loss with what is stopped computed from `still`. Its differences in
  // `moving` are then the gradient that the loss means to have.
  std::function<Tensor(const Arguments& moving, const Arguments& still)> frozen = {};
  bool has_definition = true;  // false: only one form is known (`gradus eval --form definition` answers 77)
};

using Losses = std::vector<LossInfo>;

// Every loss, in the order of losses/registry.h.
const Losses& all_losses();
// The loss of that name, or an error that lists near names.
const LossInfo& find_loss(const std::string& name);

}  // namespace gradus
