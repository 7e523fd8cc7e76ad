// The corners of every loss of the table: empty batches, one row, all rows ignored, equal points, zero vectors, and
// numbers at which a careless form overflows. Value 0 or finite, gradient finite, never NaN.
#include <doctest/doctest.h>

#include <set>

#include "tests/support/called.h"

using namespace gradus;

namespace {

// f of both forms and types; nothing where the loss refuses the case with an error.
template <class F> void answered(const LossInfo& info, const Inputs& inputs, const Options& options, F f) {
  for (const Form form : {Form::closed, Form::definition}) {
    for (const DType dtype : {DType::f64, DType::f32}) {
      if (form == Form::definition && !info.has_definition) continue;
      Called c;
      try {
        c = called(info, inputs, options, {}, form, dtype);
      } catch (const Error&) { continue; }
      f(c, form, dtype);
    }
  }
}

// The sizes over which a loss is a sum or a mean.
std::set<std::string> batch_letters(const LossInfo& info) {
  std::set<std::string> letters;
  for (const InputSpec& spec : info.inputs) {
    const std::string shape = spec.shape;
    for (const char* letter : {"N", "B", "P", "Q", "E", "T"}) {
      if (shape.find(letter) != std::string::npos) letters.insert(letter);
    }
  }
  return letters;
}

// The index of the ignore_index option of a loss, and the input that holds the labels.
const char* labels_with_ignore_index(const LossInfo& info) {
  for (const OptionSpec& o : info.options) {
    if (o.name != std::string("ignore_index") || info.name == std::string("multilabel_ce_sparse")) continue;
    for (const InputSpec& spec : info.inputs) {
      if (spec.kind == Kind::integer) return spec.name;
    }
  }
  return nullptr;
}

Index ignored_label(const LossInfo& info, const LossSample& s) {
  return arguments_for(info, s.inputs, s.options, Form::closed).integer("ignore_index");
}

}  // namespace

TEST_SUITE("degenerate") {
  TEST_CASE("an empty batch costs 0 with gradient 0, both forms and types") {
    // perplexity is e^0; a temperature of nothing is 1; a prior of no labels leaves the other task.
    const std::set<std::string> not_0 = {"perplexity", "perplexity_of_nll", "optimal_temperature", "prior_norm"};
    on_every_sample([&](const LossInfo& info, const LossSample& s) {
      // The batch is what the first axis of the first input counts.
      const std::string shape = info.inputs[0].shape;
      const std::string letter = shape.substr(1, shape.find_first_of(",]") - 1);
      if (letter == "..." || letter.empty() || !std::isalpha(letter[0]) || letter == "d" || letter == "C") return;
      if (info.name == std::string("tree")) return;  // a batch of edges: without nodes there can be none
      const Inputs none = with_size(info, s.inputs, letter, 0);
      answered(info, none, s.options, [&](const Called& c, Form, DType) {
        CHECK(all_finite(c));
        if (!not_0.contains(info.name)) CHECK(costs_nothing(c));
        if (not_0.contains(info.name)) CHECK((c.value[0] == 1 || info.name == std::string("prior_norm")));
      });
      // A loss with a mean takes an empty batch.
      const bool mean = std::any_of(info.options.begin(), info.options.end(),
                                    [](const OptionSpec& o) { return o.name == std::string("reduction"); });
      if (mean) CHECK_NOTHROW(called(info, none, s.options));
    });
  }

  TEST_CASE("elementwise losses of no elements cost 0") {
    const Tensor nothing = zeros({0}, DType::f64), rows = zeros({3, 0}, DType::f64);
    for (const char* name : {"bce_with_logits", "bce_probs", "focal_sigmoid"}) {
      const bool logits = find_loss(name).inputs[0].name == std::string("logits");
      for (const Tensor& x : {nothing, rows}) {
        CHECK(costs_nothing(called(name, {{logits ? "logits" : "p", x}, {"targets", x}})));
      }
    }
    for (const char* name : {"mse", "mae", "huber", "smooth_l1", "log_cosh", "rmse"}) {
      for (const Tensor& x : {nothing, rows}) CHECK(costs_nothing(called(name, {{"pred", x}, {"target", x}})));
    }
    CHECK(costs_nothing(called("gp_focal", {{"scores", nothing}, {"labels", nothing}})));
    CHECK(costs_nothing(called("proximal", {{"theta", nothing}, {"theta0", nothing}})));
    CHECK(costs_nothing(called("self_paced", {{"losses", nothing}})));
  }

  TEST_CASE("a batch of one row, token or task is answered without NaN") {
    on_every_sample([](const LossInfo& info, const LossSample& s) {
      for (const std::string& letter : batch_letters(info)) {
        const Inputs one = with_size(info, s.inputs, letter, 1);
        answered(info, one, s.options, [&](const Called& c, Form form, DType) {
          // One row may be best at temperature infinity.
          if (form == Form::closed && info.name != std::string("optimal_temperature")) CHECK(all_finite(c));
        });
      }
    });
  }

  TEST_CASE("losses that compare rows of a batch cost 0 where there is one row") {
    const Tensor x = matrix({0.3, -1, 2}, 1), y = matrix({1, 0.5, -2}, 1);
    CHECK(costs_nothing(called("info_nce", {{"q", x}, {"k", y}})));
    CHECK(costs_nothing(called("nt_xent", {{"z1", x}, {"z2", y}})));
    CHECK(costs_nothing(called("supcon", {{"embeddings", x}, {"labels", labels({1})}})));
    CHECK(costs_nothing(called("circle_batch", {{"embeddings", x}, {"labels", labels({1})}})));
    for (const char* name : {"triplet_batch_all", "triplet_batch_hard", "triplet_semi_hard"}) {
      CHECK(costs_nothing(called(name, {{"embeddings", x}, {"labels", labels({1})}})));
    }
    for (const char* name : {"cosent", "cosent_hardest"}) {
      CHECK(costs_nothing(called(name, {{"scores", vec({0.3})}, {"labels", vec({1})}})));
    }
  }

  TEST_CASE("all labels equal: nothing to compare, value 0 and gradient 0") {
    Rng rng(4);
    const Tensor x = randn({5, 3}, rng, DType::f64), z = randn({5, 4}, rng, DType::f64), s = x.rows(0, 5).reshape({15});
    const Tensor same = full({5}, 2, DType::f64), one_class = labels({2, 2, 2, 2, 2});
    CHECK(costs_nothing(called("cosent", {{"scores", s}, {"labels", full({15}, 2, DType::f64)}})));
    CHECK(costs_nothing(called("cosent_hardest", {{"scores", s}, {"labels", full({15}, 2, DType::f64)}})));
    CHECK(costs_nothing(called("cosent_embeddings", {{"u", x}, {"v", x + 1.0}, {"labels", same}})));
    CHECK(costs_nothing(called("angle", {{"u", z}, {"v", z + 1.0}, {"labels", same}})));
    for (const char* name : {"triplet_batch_all", "triplet_batch_hard", "triplet_semi_hard"}) {
      CHECK(costs_nothing(called(name, {{"embeddings", x}, {"labels", one_class}})));
      CHECK(costs_nothing(called(name, {{"embeddings", x}, {"labels", labels({0, 1, 2, 3, 4})}})));
    }
    CHECK(costs_nothing(called("circle_batch", {{"embeddings", x}, {"labels", one_class}})));
    CHECK(costs_nothing(called("circle_batch", {{"embeddings", x}, {"labels", labels({0, 1, 2, 3, 4})}})));
    CHECK(costs_nothing(called("supcon", {{"embeddings", x}, {"labels", labels({0, 1, 2, 3, 4})}})));
    for (const char* name : {"circle", "circle_const"}) {
      CHECK(costs_nothing(called(name, {{"sp", vec({0.2, 0.4})}, {"sn", zeros({0}, DType::f64)}})));
      CHECK(costs_nothing(called(name, {{"sp", zeros({0}, DType::f64)}, {"sn", vec({0.2, 0.4})}})));
    }
  }

  TEST_CASE("a batch of ignored rows alone costs 0 with gradient 0, both forms and types") {
    on_every_sample([](const LossInfo& info, const LossSample& s) {
      const char* name = labels_with_ignore_index(info);
      if (!name) return;
      Inputs inputs = s.inputs;
      inputs[name] = full(inputs[name].shape(), double(ignored_label(info, s)), DType::i64);
      int answers = 0;
      answered(info, inputs, s.options, [&](const Called& c, Form, DType) {
        ++answers;
        if (info.name == std::string("perplexity")) CHECK(c.item() == 1);
        if (info.name != std::string("perplexity")) CHECK(costs_nothing(c));
      });
      CHECK(answers == (info.has_definition ? 4 : 2));
    });
  }

  TEST_CASE("an ignored row that holds NaN or infinities changes nothing, both forms") {
    int tried = 0;
    on_every_sample([&](const LossInfo& info, const LossSample& s) {
      const char* name = labels_with_ignore_index(info);
      if (!name || !s.inputs.at(name).numel()) return;
      if (info.name == std::string("linear_cross_entropy"))
        return;  // its linear layer's dW = 0 x NaN; said in its header
      Inputs clean = s.inputs;
      Tensor y = clean[name].clone();
      const Index row = y.numel() / 2;
      set_value(y, row, double(ignored_label(info, s)));
      clean[name] = y;
      const std::string x = info.inputs[0].name;
      const Index width = clean[x].numel() / y.numel();
      for (const double bad : {NaN, inf, -inf}) {
        Inputs dirty = clean;
        dirty[x] = clean[x].clone();
        for (Index c = 0; c < width; c += 2) set_value(dirty[x], row * width + c, bad);
        for (const Form form : {Form::closed, Form::definition}) {
          if (form == Form::definition && !info.has_definition) continue;
          const Called a = called(info, clean, s.options, {}, form), b = called(info, dirty, s.options, {}, form);
          CHECK(gap(b, a) <= 1e-14);
          ++tried;
        }
      }
    });
    CHECK(tried > 100);
  }

  TEST_CASE("zeros, equal rows and equal inputs are answered without NaN") {
    // The value is infinite, and truly so, where a probability of 0 has a label, and where no temperature is best.
    const std::set<std::string> infinite = {"bce_probs", "optimal_temperature"};
    const auto finite = [&](const LossInfo& info, const Inputs& inputs, const Options& options) {
      answered(info, inputs, options, [&](const Called& c, Form form, DType) {
        if (form == Form::closed && !infinite.contains(info.name)) CHECK(all_finite(c));
        for (const double v : c.value) CHECK(!std::isnan(v));
      });
    };
    on_every_sample([&](const LossInfo& info, const LossSample& s) {
      Inputs zero, equal_rows = s.inputs;
      for (const auto& [name, x] : s.inputs) zero[name] = zeros(x.shape(), x.dtype());
      finite(info, zero, s.options);
      for (const InputSpec& spec : info.inputs) {
        if (!s.inputs.contains(spec.name)) continue;
        Inputs one = s.inputs;
        for (const double v : {0.0, 1.0}) {
          one[spec.name] = full(s.inputs.at(spec.name).shape(), v, s.inputs.at(spec.name).dtype());
          finite(info, one, s.options);
        }
        Tensor& x = equal_rows[spec.name];
        if (spec.kind == Kind::real && x.rank() > 0 && x.numel())
          x = resized(resized(x, x.shape().with(0, 1)), x.shape());
      }
      finite(info, equal_rows, s.options);
    });
  }

  TEST_CASE("equal points: every distance loss is 0 or its margin, with gradient 0") {
    Rng rng(6);
    const Tensor x = randn({4, 3}, rng, DType::f64), zero = zeros({4, 3}, DType::f64);
    const auto still = [](const Called& c) {
      for (const auto& [name, dx] : c.gradients) CHECK(all_zero(dx));
      return c.item();
    };
    for (const Tensor& p : {x, zero}) {
      CHECK(still(called("triplet", {{"anchor", p}, {"positive", p}, {"negative", p}}, {{"margin", 0.5}})) == 0.5);
      CHECK(still(called("contrastive", {{"x1", p}, {"x2", p}, {"y", zeros({4}, DType::f64)}})) == 1);
      CHECK(still(called("contrastive", {{"x1", p}, {"x2", p}, {"y", ones({4}, DType::f64)}})) == 0);
      for (const char* name : {"mse", "mae", "huber", "smooth_l1", "log_cosh", "rmse"}) {
        CHECK(still(called(name, {{"pred", p}, {"target", p}})) == 0);
      }
      CHECK(still(called("proximal", {{"theta", p}, {"theta0", p}})) == 0);
    }
    CHECK(still(called("triplet_cosine", {{"anchor", zero}, {"positive", x}, {"negative", zero}})) == 1);
    CHECK(still(called("cosine_similarity", {{"u", zeros({3}, DType::f64)}, {"v", vec({1, 2, 3})}})) == 0);
    const Tensor two = labels({0, 0, 1, 1});
    for (const char* name : {"triplet_batch_all", "triplet_batch_hard", "triplet_semi_hard"}) {
      CHECK(still(called(name, {{"embeddings", zero}, {"labels", two}}, {{"margin", 0.25}})) == 0.25);
    }
  }

  TEST_CASE("scores of 1e3 and 1e4 in f32: finite, and within 2e-5 of f64") {
    // What is left out has no such promise: e^{CE} overflows, an angle of 1e4 radians is no score.
    const std::set<std::string> out = {"perplexity", "rope", "rope_score"};
    on_every_sample([&](const LossInfo& info, const LossSample& s) {
      if ((info.family != Family::softmax && info.family != Family::logsumexp) || out.contains(info.name)) return;
      for (const InputSpec& spec : info.inputs) {
        if (spec.kind != Kind::real || !s.inputs.contains(spec.name)) continue;
        for (const double k : {1e3, -1e3, 1e4, -1e4}) {
          Inputs inputs;
          for (const auto& [name, x] : s.inputs) {
            inputs[name] = is_floating(x.dtype()) ? (name == spec.name ? k * x : x).to(DType::f32).to(DType::f64) : x;
          }
          Called wide;
          try {
            wide = called(info, inputs, s.options);
          } catch (const Error&) {
            continue;  // targets and probabilities of 1e4 are errors
          }
          if (!all_finite(wide)) {
            CHECK_MESSAGE(spec.name != std::string("logits"), "logits must not overflow in f64");
            continue;
          }
          CAPTURE(std::string(spec.name));
          CAPTURE(k);
          CHECK(gap(called(info, inputs, s.options, {}, Form::closed, DType::f32), wide) <= 2e-5);
        }
      }
    });
  }

  TEST_CASE("scores and logits that have 1e4 in common, in f32: the same loss, within 2e-5 of f64") {
    on_every_sample([&](const LossInfo& info, const LossSample& s) {
      if (info.family != Family::softmax && info.family != Family::logsumexp) return;
      const std::string name = info.inputs[0].name;
      if (name != "logits" && name != "scores" && name != "s") return;
      for (const double k : {1e4, -1e4}) {
        Inputs inputs;
        for (const auto& [input, x] : s.inputs) {
          inputs[input] = is_floating(x.dtype()) ? (input == name ? x + k : x).to(DType::f32).to(DType::f64) : x;
        }
        const Called wide = called(info, inputs, s.options),
                     narrow = called(info, inputs, s.options, {}, Form::closed, DType::f32);
        CAPTURE(k);
        CHECK(all_finite(wide));
        CHECK(gap(narrow, wide) <= 2e-5);
      }
    });
  }
}
