// The conventions of `gradus eval`, loss by loss over the whole table: what is refused and how it is said, and that a case
// of JSON gives what the call gives.
#include <doctest/doctest.h>

#include <limits>
#include <set>

#include "tests/support/called.h"
#include "tutorials/cli/eval_case.h"

using namespace gradus;
using cli::Json;

namespace {

// The error of a call: "" when it is answered. Anything that is not an Error of one line that names the loss fails.
std::string refusal(const LossInfo& info, const Inputs& inputs, const Options& options, Form form = Form::closed) {
  try {
    called(info, inputs, options, {}, form);
    return "";
  } catch (const Error& error) {
    const std::string text = error.what();
    CHECK_MESSAGE(text.find('\n') == std::string::npos, text);
    CHECK_MESSAGE(text.front() == '[', text);
    return text;
  }
}

void check_names(const std::string& text, const std::string& field) {
  CHECK_MESSAGE(text.find(field) != std::string::npos, "'", text, "' should name ", field);
}

Json json_of(const Tensor& x) {
  Json data = Json::array(), shape = Json::array();
  for (Index i = 0; i < x.numel(); ++i) {
    if (is_floating(x.dtype())) {
      const double v = value_at(x, i);
      data.push_back(std::isnan(v) ? Json("nan") : std::isinf(v) ? Json(v < 0 ? "-inf" : "inf") : Json(v));
    } else {
      data.push_back(x.data<std::int64_t>()[i]);
    }
  }
  for (int axis = 0; axis < x.rank(); ++axis) shape.push_back(x.size(axis));
  Json out = {{"shape", shape}, {"data", data}};
  if (!is_floating(x.dtype())) out["dtype"] = "int64";
  return out;
}

Json json_of(const Options& options) {
  Json out = Json::object();
  for (const auto& [name, option] : options) {
    Json& value = out[name];
    std::visit([&value](const auto& v) { value = v; }, option.value);
    if (value.is_number_float() && std::isinf(value.get<double>())) value = value.get<double>() < 0 ? "-inf" : "inf";
  }
  return out;
}

Values flat(const Json& value) {
  const auto number = [](const Json& v) {
    return v.is_number() ? v.get<double>() : v == "inf" ? inf : v == "-inf" ? -inf : NaN;
  };
  if (!value.is_object()) return {number(value)};
  Values out;
  for (const Json& v : value["data"]) out.push_back(number(v));
  return out;
}

}  // namespace

TEST_SUITE("conventions") {
  TEST_CASE("what a call lacks or has too much is refused by name: inputs, options, words, types, NaN") {
    on_every_sample([](const LossInfo& info, const LossSample& s) {
      for (const InputSpec& spec : info.inputs) {
        if (!s.inputs.contains(spec.name) || spec.optional) continue;
        Inputs less = s.inputs;
        less.erase(spec.name);
        check_names(refusal(info, less, s.options),
                    "input '" + std::string(spec.name) + "' " + spec.shape + " is missing");
        Inputs other = s.inputs;
        const bool floating = is_floating(other[spec.name].dtype());
        other[spec.name] = zeros(other[spec.name].shape(), floating ? DType::i64 : DType::f64);
        check_names(refusal(info, other, s.options), "input '" + std::string(spec.name) + "' must be ");
      }
      Inputs more = s.inputs;
      more["nonsense"] = zeros({1}, DType::f64);
      check_names(refusal(info, more, s.options), "no input 'nonsense'");
      check_names(refusal(info, s.inputs, with(s.options, "nonsense", 1.0)), "no option 'nonsense'");
      for (const OptionSpec& o : info.options) {
        const std::string name = o.name;
        if (std::holds_alternative<double>(o.fallback.value)) {
          check_names(refusal(info, s.inputs, with(s.options, name, NaN)), "option '" + name + "' is NaN");
          check_names(refusal(info, s.inputs, with(s.options, name, "word")), "option '" + name + "' must be a number");
        } else if (std::holds_alternative<Index>(o.fallback.value)) {
          check_names(refusal(info, s.inputs, with(s.options, name, 0.5)), "option '" + name + "' must be an integer");
        } else if (std::holds_alternative<bool>(o.fallback.value)) {
          check_names(refusal(info, s.inputs, with(s.options, name, 1.0)),
                      "option '" + name + "' must be true or false");
        } else {
          check_names(refusal(info, s.inputs, with(s.options, name, "nonsense")),
                      "option '" + name + "' must be one of");
        }
      }
    });
  }

  TEST_CASE("an input of another rank, or a size that contradicts another input, is refused by name") {
    on_every_sample([](const LossInfo& info, const LossSample& s) {
      std::map<std::string, int> uses;  // of a letter, over all inputs
      const auto letters = [](const std::string& shape, auto f) {
        int axis = 0;
        for (std::size_t begin = 1, end; begin < shape.size() - 1; begin = end + 1, ++axis) {
          end = std::min(shape.find(',', begin), shape.size() - 1);
          f(axis, shape.substr(begin, end - begin));
        }
      };
      for (const InputSpec& spec : info.inputs) {
        if (s.inputs.contains(spec.name) && std::string(spec.shape) != "[...]") {
          letters(spec.shape, [&](int, const std::string& letter) { ++uses[letter]; });
        }
      }
      for (const InputSpec& spec : info.inputs) {
        if (!s.inputs.contains(spec.name) || std::string(spec.shape) == "[...]") continue;
        const Tensor x = s.inputs.at(spec.name);
        Inputs wrong = s.inputs;
        wrong[spec.name] = zeros(x.shape().inserted(0), x.dtype());
        check_names(refusal(info, wrong, s.options), "input '" + std::string(spec.name) + "' must be " + spec.shape);
        letters(spec.shape, [&](int axis, const std::string& letter) {
          if (uses[letter] < 2 || letter == "?") return;
          wrong[spec.name] = zeros(x.shape().with(axis, x.size(axis) + 1), x.dtype());
          check_names(refusal(info, wrong, s.options), "must be [");
        });
      }
    });
  }

  TEST_CASE("an option of infinity, below zero or huge is refused by name or answered without NaN") {
    on_every_sample([](const LossInfo& info, const LossSample& s) {
      for (const OptionSpec& o : info.options) {
        std::vector<OptionValue> values;
        if (std::holds_alternative<double>(o.fallback.value)) {
          values = {-inf, -1e30, -1.0, 0.0, 1.0, 50.0, inf};
        } else if (std::holds_alternative<Index>(o.fallback.value) && o.name != std::string("ignore_index")) {
          constexpr Index most = std::numeric_limits<Index>::max();
          values = {-most - 1, Index(-1), Index(0), Index(1), Index(1000)};
          if (o.name != std::string("iterations")) values.push_back(most);
        }
        for (const OptionValue& v : values) {
          const Options options = with(s.options, o.name, v);
          const double shown =
              std::holds_alternative<double>(v.value) ? std::get<double>(v.value) : double(std::get<Index>(v.value));
          CAPTURE(std::string(o.name));
          CAPTURE(shown);
          const std::string text = refusal(info, s.inputs, options);
          if (text.empty()) {
            CHECK(all_finite(called(info, s.inputs, options)));
          } else if (o.name != std::string("heads")) {  // which is refused as the shape of W
            check_names(text, o.name);
          }
        }
      }
    });
  }

  TEST_CASE("a class label out of range is refused, both forms, whatever the integer") {
    // Integers that are no classes: names of things, places, counts.
    const std::set<std::string> free = {"circle_batch labels",
                                        "info_nce ids",
                                        "rope positions",
                                        "supcon labels",
                                        "triplet_batch_all labels",
                                        "triplet_batch_hard labels",
                                        "triplet_semi_hard labels",
                                        "average_precision labels",
                                        "mean_average_precision labels",
                                        "recall_at_k labels"};
    constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
    on_every_sample([&](const LossInfo& info, const LossSample& s) {
      for (const InputSpec& spec : info.inputs) {
        if (spec.kind != Kind::integer || !s.inputs.contains(spec.name)) continue;
        if (!s.inputs.at(spec.name).numel()) continue;
        const bool any = free.contains(info.name + std::string(" ") + spec.name);
        const bool counts = spec.name == std::string("class_counts");
        for (const std::int64_t label : {std::int64_t(1000000), std::int64_t(-7), most, -most - 1}) {
          Inputs wrong = s.inputs;
          Tensor x = wrong[spec.name].clone();
          x.data_mut<std::int64_t>()[x.numel() - 1] = label;
          wrong[spec.name] = x;
          for (const Form form : {Form::closed, Form::definition}) {
            if (form == Form::definition && !info.has_definition) continue;
            CAPTURE(label);
            const std::string text = refusal(info, wrong, s.options, form);
            const bool masked = info.name == std::string("crf") && s.inputs.contains("mask");
            if (!masked) CHECK_MESSAGE(text.empty() == (any || (counts && label > 0)), spec.name, ": '", text, "'");
          }
        }
      }
    });
  }

  TEST_CASE("inputs of two floating types are refused where both are differentiated, and never change an answer") {
    on_every_sample([](const LossInfo& info, const LossSample& s) {
      int real = 0;
      for (const InputSpec& spec : info.inputs) real += spec.kind == Kind::real && s.inputs.contains(spec.name);
      for (const InputSpec& spec : info.inputs) {
        if (spec.kind == Kind::integer || !s.inputs.contains(spec.name)) continue;
        Inputs mixed = s.inputs, rounded = s.inputs;
        mixed[spec.name] = mixed[spec.name].to(DType::f32);
        rounded[spec.name] = mixed[spec.name].to(DType::f64);
        std::string text;
        Tensor value;
        try {
          value = info.run(arguments_for(info, mixed, s.options, Form::closed));
        } catch (const Error& error) { text = error.what(); }
        if (spec.kind == Kind::real && real > 1) {
          CHECK_MESSAGE(text.find("f32") != std::string::npos, spec.name, ": ", text);
        }
        if (text.empty() && value.numel()) {
          CHECK(gap(value.to_vector(), called(info, rounded, s.options).value) <= 2e-5);
        }
      }
    });
  }

  TEST_CASE("a case of JSON gives exactly what the call gives, with its cotangent where the value is a tensor") {
    on_every_sample([](const LossInfo& info, const LossSample& s) {
      Json test_case = {{"loss", info.name}, {"inputs", Json::object()}, {"options", json_of(s.options)}};
      for (const auto& [name, x] : s.inputs) test_case["inputs"][name] = json_of(x);
      const Called plain = called(info, s.inputs, s.options);
      Values cotangent;
      if (plain.shape.rank() > 0 && !s.inputs.contains("cotangent")) {
        cotangent = random_cotangent(plain.value.size());
        if (!plain.gradients.empty())
          test_case["inputs"]["cotangent"] = json_of(tensor(cotangent, plain.shape, DType::f64));
      } else if (s.inputs.contains("cotangent")) {
        cotangent = s.inputs.at("cotangent").to_vector();
      }
      const Called wanted = called(info, s.inputs, s.options, cotangent);
      const Json got = cli::evaluate_case(test_case, Form::closed, DType::f64);
      CHECK(gap(flat(got["value"]), wanted.value) == 0);
      for (const auto& [name, dx] : wanted.gradients) {
        REQUIRE(got["grads"].contains(name));
        CHECK(gap(flat(got["grads"][name]), dx) == 0);
      }
      CHECK(got["grads"].size() == wanted.gradients.size());
    });
  }
}
