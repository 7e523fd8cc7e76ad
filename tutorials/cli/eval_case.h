// One case of `gradus eval`: JSON in, JSON out. A case names a loss, its inputs and options; the result holds the value and
// the gradients. What is wrong with a case is an Error of one line that names the field.
#pragma once
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "losses/loss.h"

namespace gradus::cli {

using Json = nlohmann::ordered_json;

// Known, but this form, dtype or device is not there: exit code 77.
struct Unsupported : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// {"loss": .., "inputs": {..}, "options": {..}, "want_grads": [..]} -> {"value": .., "grads": {..}}
// Gradients of a value that is a tensor are those of sum(value * cotangent), where the case carries a cotangent.
Json evaluate_case(const Json& test_case, Form form, DType dtype);

// An array of cases; one that fails becomes {"error": "..", "code": 2 or 77}.
Json evaluate_batch(const Json& cases, Form form, DType dtype);

// Every loss with its inputs, options and defaults.
Json describe_losses();

// Text as JSON, or an Error of one line.
Json parse_json(const std::string& text);

}  // namespace gradus::cli
