// A loss called by names. What `gradus check`, `gradus eval` and the golden values know of a loss is the list of its inputs
// and options; arguments_for() holds a call against that list and says in one line what is wrong with it.
#pragma once
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "engine/tensor.h"
#include "losses/reduction.h"
#include "ops/form.h"

namespace gradus {

// real: floating point, differentiated.  constant: floating point, without a gradient.  integer: labels, indices, counts.
enum class Kind { real, constant, integer };

struct InputSpec {
  const char* name;
  const char* shape;  // "[N,C]": a letter is one size in all inputs, "2D" is twice D, "?" any size, "[...]" any shape
  Kind kind = Kind::real;
  bool optional = false;
};

// A number, an integer, a flag or a word. int and double stay apart: an option whose default is 15 takes no 2.5.
struct OptionValue {
  std::variant<double, Index, bool, std::string> value;
  OptionValue(double v) : value(v) {}
  OptionValue(int v) : value(Index(v)) {}
  OptionValue(Index v) : value(v) {}
  OptionValue(bool v) : value(v) {}
  OptionValue(const char* v) : value(std::string(v)) {}
  OptionValue(std::string v) : value(std::move(v)) {}
};

struct OptionSpec {
  const char* name;
  OptionValue fallback;                   // its default; fixes the type
  std::vector<std::string> choices = {};  // of a word
};

// {"reduction", "mean"}, with its three choices
OptionSpec reduction_option(const char* fallback = "mean");

using Inputs = std::map<std::string, Tensor>;
using Options = std::map<std::string, OptionValue>;

// A call that fits the list: every option is there, with its default when it was not given.
struct Arguments {
  Form form = Form::closed;
  Inputs inputs;
  Options options;

  const Tensor& operator[](const std::string& input) const;  // undefined when an optional input was left out
  double number(const std::string& option) const;
  Index integer(const std::string& option) const;
  bool flag(const std::string& option) const;
  const std::string& text(const std::string& option) const;
  Reduction reduction() const;  // of the option "reduction"
};

struct LossInfo;
// Errors name the loss and the field: unknown or missing input, wrong shape, unknown option, wrong type, NaN.
Arguments arguments_for(const LossInfo& info, const Inputs& inputs, const Options& options, Form form);

}  // namespace gradus
