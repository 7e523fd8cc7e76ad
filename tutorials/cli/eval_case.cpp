#include "tutorials/cli/eval_case.h"

#include <cmath>

#include "engine/backward.h"

namespace gradus::cli {
namespace {

constexpr auto op = "eval";

// ---- reading

bool is_number(const Json& j) {
  return j.is_number() || (j.is_string() && (j == "inf" || j == "-inf" || j == "nan" || j == "+inf"));
}

double number(const Json& j) {
  if (j.is_number()) return j.get<double>();
  return j == "nan" ? NAN : j == "-inf" ? -INFINITY : INFINITY;
}

const Json& member(const Json& object, const char* key, const std::string& where) {
  const auto found = object.find(key);
  if (found == object.end()) fail(op, where + " has no '" + key + "'");
  return *found;
}

void check_members(const Json& object, std::initializer_list<const char*> known, const std::string& where) {
  if (!object.is_object()) fail(op, where + " must be an object");
  for (const auto& [key, value] : object.items()) {
    const auto same = [&, &name = key](const char* k) { return name == k; };
    if (std::none_of(known.begin(), known.end(), same)) fail(op, where + " has an unknown member '" + key + "'");
  }
}

Shape read_shape(const Json& j, Index numbers, const std::string& where) {
  if (!j.is_array()) fail(op, where + ".shape must be a list of sizes");
  std::vector<Index> sizes;
  Index left = numbers;
  bool fits = true;
  for (const Json& size : j) {
    if (!size.is_number_integer() || size.get<double>() < 0 || size.get<double>() > 1e15) {
      fail(op, where + ".shape must hold sizes, not " + size.dump());
    }
    sizes.push_back(size.get<Index>());
    fits = fits && (sizes.back() == 0 ? numbers == 0 : left % sizes.back() == 0);
    left = sizes.back() ? left / sizes.back() : left;
  }
  const bool empty = std::count(sizes.begin(), sizes.end(), 0) > 0;
  if (sizes.size() > 8) fail(op, where + ".shape has more than 8 axes");
  if (!fits || (empty ? numbers != 0 : left != 1)) {
    fail(op, where + ".data has " + std::to_string(numbers) + " numbers, which do not fill the shape " + j.dump());
  }
  return Shape(sizes);
}

// {"shape": [2,3], "data": [..], "dtype": "int64"}
Tensor read_tensor(const Json& j, const std::string& name, bool integer, DType dtype) {
  const std::string where = "inputs." + name;
  check_members(j, {"shape", "data", "dtype"}, where);
  const Json &shape = member(j, "shape", where), &data = member(j, "data", where);
  if (const auto given = j.find("dtype"); given != j.end()) {
    if (*given != "int64" && *given != "float64" && *given != "float32") {
      fail(op, where + ".dtype must be int64, float64 or float32, got " + given->dump());
    }
  }
  if (!data.is_array()) fail(op, where + ".data must be a flat list of numbers");
  Tensor x = empty(read_shape(shape, Index(data.size()), where), integer ? DType::i64 : dtype, Device::cpu());
  Index i = 0;
  for (const Json& entry : data) {
    if (!is_number(entry)) fail(op, where + ".data[" + std::to_string(i) + "] is no number: " + entry.dump());
    const double v = number(entry);
    if (integer && !(v == std::floor(v) && std::abs(v) < 0x1p53)) {
      fail(op, where + ".data[" + std::to_string(i) + "] must be an integer, got " + entry.dump());
    }
    set_value(x, i++, v);
  }
  return x.to(default_device());
}

Options read_options(const Json& j, const LossInfo& info) {
  Options options;
  if (!j.is_object()) fail(op, "options must be an object");
  for (const auto& [name, value] : j.items()) {
    const auto spec = std::find_if(info.options.begin(), info.options.end(),
                                   [&, &wanted = name](const OptionSpec& s) { return wanted == s.name; });
    const bool wants_word = spec != info.options.end() && std::holds_alternative<std::string>(spec->fallback.value);
    if (value.is_boolean()) {
      options.insert_or_assign(name, value.get<bool>());
    } else if (value.is_number_integer()) {
      options.insert_or_assign(name, value.get<Index>());
    } else if (is_number(value) && !wants_word) {
      options.insert_or_assign(name, number(value));
    } else if (value.is_string()) {
      options.insert_or_assign(name, value.get<std::string>());
    } else {
      fail(op, "option '" + name + "' must be a number, a flag or a word, got " + value.dump());
    }
  }
  return options;
}

// ---- writing

Json to_json(double v) {
  if (std::isnan(v)) return "nan";
  if (std::isinf(v)) return v > 0 ? "inf" : "-inf";
  return v;
}

Json to_json(const Tensor& x) {
  Json sizes = Json::array(), data = Json::array();
  for (int axis = 0; axis < x.rank(); ++axis) sizes.push_back(x.size(axis));
  for (const double v : x.to_vector()) data.push_back(to_json(v));
  return {{"shape", sizes}, {"data", data}};
}

Json to_json(const OptionValue& v) {
  return std::visit([](const auto& held) { return Json(held); }, v.value);
}

// ---- evaluating

struct Wanted {
  std::vector<std::string> names;
  bool asked = false;  // by the case; else every input that has a gradient
};

Wanted read_wanted(const Json& test_case, const LossInfo& info, const Inputs& inputs) {
  Wanted wanted;
  const auto has_gradient = [&](const std::string& name) {
    return std::any_of(info.inputs.begin(), info.inputs.end(),
                       [&](const InputSpec& s) { return s.name == name && s.kind == Kind::real; });
  };
  const auto listed = test_case.find("want_grads");
  wanted.asked = listed != test_case.end();
  if (!wanted.asked) {
    for (const auto& [name, x] : inputs) {
      if (has_gradient(name)) wanted.names.push_back(name);
    }
    return wanted;
  }
  if (!listed->is_array()) fail(op, "want_grads must be a list of input names");
  for (const Json& name : *listed) {
    if (!name.is_string() || !inputs.contains(name.get<std::string>()) || !has_gradient(name.get<std::string>())) {
      fail(op, "want_grads names " + name.dump() + ", which is no input of this case with a gradient");
    }
    wanted.names.push_back(name.get<std::string>());
  }
  return wanted;
}

// The gradients of sum(y * cotangent); without a cotangent y must be a number.
Json gradients(Tape& tape, const Tensor& y, const Inputs& inputs, const Wanted& wanted, const Tensor& cotangent) {
  if (cotangent && cotangent.shape() != y.shape()) {
    fail(op, "cotangent must have the shape of the value, " + y.shape().text() + ", got " + cotangent.shape().text());
  }
  if (!cotangent && y.rank() > 0) {
    if (wanted.asked && !wanted.names.empty()) {
      fail(op, "the value is a tensor " + y.shape().text() + ": gradients need an input 'cotangent' of that shape");
    }
    return Json::object();
  }
  if (Tape::holding(y) && !wanted.names.empty()) {
    BackwardPass pass(tape);
    pass.seed(y, cotangent ? cotangent : ones(y.shape(), y.dtype(), y.device()));
    pass.finish();
  }
  Json grads = Json::object();
  for (const std::string& name : wanted.names) {
    const Tensor& x = inputs.at(name);
    grads[name] = to_json(x.grad() ? x.grad() : zeros(x.shape(), x.dtype(), x.device()));
  }
  return grads;
}

const char* type_of(const OptionValue& v) {
  constexpr const char* names[] = {"number", "integer", "flag", "word"};
  return names[v.value.index()];
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

}  // namespace

Json evaluate_case(const Json& test_case, Form form, DType dtype) {
  check_members(test_case, {"loss", "inputs", "options", "want_grads", "id"}, "a case");
  const Json& name = member(test_case, "loss", "the case");
  if (!name.is_string()) fail(op, "'loss' must be a name");
  const LossInfo& info = find_loss(name.get<std::string>());
  if (form == Form::definition && !info.has_definition) {
    throw Unsupported("[" + std::string(info.name) + "] has one form only; use --form closed");
  }
  const Json& given = member(test_case, "inputs", "the case");
  if (!given.is_object()) fail(op, "inputs must be an object");
  Inputs inputs;
  Tensor cotangent;
  for (const auto& [key, value] : given.items()) {
    const auto spec = std::find_if(info.inputs.begin(), info.inputs.end(),
                                   [&, &wanted = key](const InputSpec& s) { return wanted == s.name; });
    const bool listed = spec != info.inputs.end();
    Tensor x = read_tensor(value, key, listed && spec->kind == Kind::integer, dtype);
    if (key == "cotangent") cotangent = x;
    if (key != "cotangent" || listed) inputs[key] = x;
  }
  const auto options = test_case.find("options");
  const Wanted wanted = read_wanted(test_case, info, inputs);
  for (const std::string& x : wanted.names) inputs[x].requires_grad_();

  Tape tape;
  const Tensor y = info.run(
      arguments_for(info, inputs, options == test_case.end() ? Options{} : read_options(*options, info), form));
  const Json value = y.rank() == 0 ? to_json(y.item()) : to_json(y);
  return {{"value", value}, {"grads", gradients(tape, y, inputs, wanted, cotangent)}};
}

Json evaluate_batch(const Json& cases, Form form, DType dtype) {
  if (!cases.is_array()) fail(op, "--batch needs a list of cases");
  Json results = Json::array();
  for (const Json& one : cases) {
    try {
      results.push_back(evaluate_case(one, form, dtype));
    } catch (const Unsupported& e) {
      results.push_back({{"error", first_line(e.what())}, {"code", 77}});
    } catch (const std::exception& e) { results.push_back({{"error", first_line(e.what())}, {"code", 2}}); }
  }
  return results;
}

Json describe_losses() {
  Json all = Json::array();
  for (const LossInfo& info : all_losses()) {
    Json inputs = Json::array(), options = Json::array();
    for (const InputSpec& spec : info.inputs) {
      constexpr const char* kinds[] = {"real", "constant", "integer"};
      inputs.push_back(Json{
          {"name", spec.name}, {"shape", spec.shape}, {"kind", kinds[int(spec.kind)]}, {"optional", spec.optional}});
    }
    for (const OptionSpec& spec : info.options) {
      Json option = {{"name", spec.name}, {"type", type_of(spec.fallback)}, {"default", to_json(spec.fallback)}};
      if (const double* d = std::get_if<double>(&spec.fallback.value)) option["default"] = to_json(*d);
      if (!spec.choices.empty()) option["choices"] = spec.choices;
      options.push_back(option);
    }
    Json forms = {"closed"};
    if (info.has_definition) forms.push_back("definition");
    all.push_back(Json{{"name", info.name},
                       {"family", name_of(info.family)},
                       {"formula", info.formula},
                       {"seeds", info.seeds},
                       {"inputs", inputs},
                       {"options", options},
                       {"forms", forms}});
  }
  return all;
}

Json parse_json(const std::string& text) {
  try {
    return Json::parse(text);
  } catch (const nlohmann::json::exception& e) { fail(op, "standard input is not JSON: " + first_line(e.what())); }
}

}  // namespace gradus::cli
