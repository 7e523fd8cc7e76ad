#include "losses/arguments.h"

#include <cmath>

#include "losses/loss.h"

namespace gradus {
namespace {

template <class Map> auto& at(const Map& map, const std::string& key) {
  const auto found = map.find(key);
  if (found == map.end()) fail("loss", "'" + key + "' is not in the list of inputs or options of this loss");
  return found->second;
}

// "[N,2D]" -> {"N", "2D"}
std::vector<std::string> sizes_of(const std::string& shape) {
  std::vector<std::string> sizes;
  for (std::size_t begin = 1, end; begin < shape.size() - 1; begin = end + 1) {
    end = std::min(shape.find(',', begin), shape.size() - 1);
    sizes.push_back(shape.substr(begin, end - begin));
  }
  return sizes;
}

struct Bound {
  Index size;
  std::string input;  // where the letter got its size
};

void check_shape(const LossInfo& info, const InputSpec& spec, const Shape& got, std::map<std::string, Bound>& bound) {
  const std::string wanted = spec.shape;
  if (wanted == "[...]") return;
  const std::vector<std::string> sizes = sizes_of(wanted);
  std::string why;
  for (std::size_t axis = 0; axis < sizes.size() && int(sizes.size()) == got.rank(); ++axis) {
    const std::size_t digits = std::min(sizes[axis].find_first_not_of("0123456789"), sizes[axis].size());
    const Index factor = digits ? std::stoll(sizes[axis].substr(0, digits)) : 1, size = got[int(axis)];
    const std::string letter = sizes[axis].substr(digits);
    if (letter == "?") continue;
    if (letter.empty()) {
      if (size != factor) why += "; axis " + std::to_string(axis) + " must have " + std::to_string(factor);
    } else if (size % factor) {
      why += "; axis " + std::to_string(axis) + " must be a multiple of " + std::to_string(factor);
    } else {
      const Bound& b = bound.try_emplace(letter, Bound{size / factor, spec.name}).first->second;
      if (b.size * factor != size) why += "; " + letter + " is " + std::to_string(b.size) + " in '" + b.input + "'";
    }
  }
  if (int(sizes.size()) != got.rank() || !why.empty()) {
    fail(info.name, "input '" + std::string(spec.name) + "' must be " + wanted + ", got " + got.text() + why);
  }
}

const char* type_name(const OptionValue& v) {
  constexpr const char* names[] = {"a number", "an integer", "true or false", "a word"};
  return names[v.value.index()];
}

OptionValue fitted(const LossInfo& info, const OptionSpec& spec, const OptionValue& given) {
  const std::string what = "option '" + std::string(spec.name) + "' ";
  OptionValue v = given;
  // Numbers and integers stand for each other where nothing is lost.
  if (const double* d = std::get_if<double>(&v.value); d && std::holds_alternative<Index>(spec.fallback.value)) {
    if (*d == std::floor(*d) && std::abs(*d) < 0x1p53) v = Index(*d);
  } else if (const Index* i = std::get_if<Index>(&v.value); i && std::holds_alternative<double>(spec.fallback.value)) {
    v = double(*i);
  }
  if (v.value.index() != spec.fallback.value.index()) {
    fail(info.name, what + "must be " + type_name(spec.fallback) + ", got " + type_name(given));
  }
  if (const double* d = std::get_if<double>(&v.value); d && std::isnan(*d)) fail(info.name, what + "is NaN");
  if (const auto* word = std::get_if<std::string>(&v.value); word && !spec.choices.empty()) {
    std::string choices;
    for (const std::string& c : spec.choices) {
      if (c == *word) return v;
      choices += (choices.empty() ? "" : ", ") + c;
    }
    fail(info.name, what + "must be one of " + choices + ", got '" + *word + "'");
  }
  return v;
}

template <class Specs> std::string names_in(const Specs& specs) {
  std::string names;
  for (const auto& spec : specs) names += (names.empty() ? "" : ", ") + std::string(spec.name);
  return names.empty() ? "none" : names;
}

template <class Specs> bool lists(const Specs& specs, const std::string& name) {
  for (const auto& spec : specs) {
    if (spec.name == name) return true;
  }
  return false;
}

}  // namespace

OptionSpec reduction_option(const char* fallback) { return {"reduction", fallback, {"mean", "sum", "none"}}; }

const Tensor& Arguments::operator[](const std::string& input) const { return at(inputs, input); }
double Arguments::number(const std::string& option) const { return std::get<double>(at(options, option).value); }
Index Arguments::integer(const std::string& option) const { return std::get<Index>(at(options, option).value); }
bool Arguments::flag(const std::string& option) const { return std::get<bool>(at(options, option).value); }
const std::string& Arguments::text(const std::string& option) const {
  return std::get<std::string>(at(options, option).value);
}
Reduction Arguments::reduction() const {
  const std::string& word = text("reduction");
  return word == "sum" ? Reduction::sum : word == "none" ? Reduction::none : Reduction::mean;
}

Arguments arguments_for(const LossInfo& info, const Inputs& inputs, const Options& options, Form form) {
  for (const auto& [name, tensor] : inputs) {
    if (!lists(info.inputs, name)) {
      fail(info.name, "there is no input '" + name + "'; inputs are " + names_in(info.inputs));
    }
  }
  for (const auto& [name, value] : options) {
    if (!lists(info.options, name)) {
      fail(info.name, "there is no option '" + name + "'; options are " + names_in(info.options));
    }
  }
  Arguments a{.form = form, .inputs = {}, .options = {}};
  std::map<std::string, Bound> bound;
  for (const InputSpec& spec : info.inputs) {
    const auto given = inputs.find(spec.name);
    const bool missing = given == inputs.end() || !given->second;
    if (missing && !spec.optional) {
      fail(info.name, "input '" + std::string(spec.name) + "' " + spec.shape + " is missing");
    }
    a.inputs[spec.name] = missing ? Tensor() : given->second;
    if (missing) continue;
    if (is_floating(given->second.dtype()) != (spec.kind != Kind::integer)) {
      fail(info.name, "input '" + std::string(spec.name) + "' must be " +
                          (spec.kind == Kind::integer ? "integer" : "floating point") + ", got " +
                          given->second.describe());
    }
    check_shape(info, spec, given->second.shape(), bound);
  }
  for (const OptionSpec& spec : info.options) {
    const auto given = options.find(spec.name);
    a.options.insert_or_assign(spec.name, given == options.end() ? spec.fallback : fitted(info, spec, given->second));
  }
  return a;
}

}  // namespace gradus
