#include "losses/softmax/divergence.h"

#include <cmath>

#include "losses/softmax/bce_math.h"
#include "losses/softmax/divergence_rows.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/select.h"
#include "ops/softmax.h"

namespace gradus {
namespace {

// ---- as the derivations start

// sum_c t_c (log t_c - log q_c), 0 log 0 = 0
Tensor kl_of(const Tensor& t, const Tensor& log_q) {
  const Tensor zero = zeros({}, t.dtype(), t.device()), some = greater(t, zero);
  const Tensor log_t = log(where(some, t, ones({}, t.dtype(), t.device())));
  return sum(t * (log_t - where(some, log_q, zero)), {1});  // [N]
}

Tensor js_of(const Tensor& t, const Tensor& p) {
  const Tensor log_m = log((t + p) / 2);
  return 0.5 * kl_of(t, log_m) + 0.5 * kl_of(p, log_m);
}

Tensor tv_of(const Tensor& t, const Tensor& p) { return 0.5 * sum(abs(t - p), {1}); }

Tensor hellinger_of(const Tensor& t, const Tensor& p) { return 0.5 * sum(square(sqrt(t) - sqrt(p)), {1}); }

// ---- as the derivations end: one term each

// f = t (log t - log p)        p df/dp = -t        df/dt = log t - log p + 1
struct KlTerm {
  static constexpr auto name = "kl_div";
  template <class T> static HD T value(T t, T log_t, T, T log_p) { return t == 0 ? T(0) : t * (log_t - log_p); }
  template <class T> static HD T by_log_p(T t, T, T, T) { return -t; }
  template <class T> static HD T by_log_t(T t, T log_t, T p, T log_p) { return value(t, log_t, p, log_p); }
  template <class T> static HD T by_t(T t, T log_t, T, T log_p) { return t == 0 ? T(0) : (log_t - log_p) + 1; }
};

// log(t / m) and log(p / m), m = (t + p) / 2. With u = log(t / p), the greater of both is log(2 / (1 + e^-|u|)) =
// log(1 + tanh(|u| / 2)), the other |u| less.
template <class T> struct OverMiddle {
  T of_t, of_p;
  [[gnu::always_inline]] HD OverMiddle(T log_t, T log_p) {
    const T u = finite_log(log_t) - finite_log(log_p), greater = log_1_plus(vmath::tanh(std::abs(u) / 2));
    of_t = greater + (u < 0 ? u : T(0));
    of_p = greater - (u > 0 ? u : T(0));
  }
};

// f = 1/2 t log(t / m) + 1/2 p log(p / m)        p df/dp = 1/2 p log(p / m)        df/dt = 1/2 log(t / m)
struct JsTerm {
  static constexpr auto name = "js_div";
  template <class T> static HD T value(T t, T log_t, T p, T log_p) {
    const OverMiddle<T> log_of(log_t, log_p);
    return (t * log_of.of_t + p * log_of.of_p) / 2;
  }
  template <class T> static HD T by_log_p(T, T log_t, T p, T log_p) { return p * OverMiddle<T>(log_t, log_p).of_p / 2; }
  template <class T> static HD T by_log_t(T t, T log_t, T, T log_p) { return t * OverMiddle<T>(log_t, log_p).of_t / 2; }
  template <class T> static HD T by_t(T t, T log_t, T, T log_p) {
    return t == 0 ? T(0) : OverMiddle<T>(log_t, log_p).of_t / 2;
  }
};

// f = 1/2 |t - p|        p df/dp = -1/2 p sign(t - p)        df/dt = 1/2 sign(t - p)
struct TvTerm {
  static constexpr auto name = "tv";
  template <class T> static HD T gap(T t, T p, T log_p) {
    const T near_1 = T(t > T(0.5)), h = vmath::tanh(log_p / 2), p_minus_1 = 2 * h / (1 - h);  // expm1(log p)
    return near_1 * ((t - 1) - p_minus_1) + (1 - near_1) * (t - p);
  }
  template <class T> static HD T half_sign(T d) { return (T(d > 0) - T(d < 0)) / 2; }
  template <class T> static HD T value(T t, T, T p, T log_p) {
    const T d = gap(t, p, log_p);
    return d * half_sign(d);
  }
  template <class T> static HD T by_log_p(T t, T, T p, T log_p) { return -p * half_sign(gap(t, p, log_p)); }
  template <class T> static HD T by_log_t(T t, T, T p, T log_p) { return t * half_sign(gap(t, p, log_p)); }
  template <class T> static HD T by_t(T t, T, T p, T log_p) { return half_sign(gap(t, p, log_p)); }
};

// f = 1/2 d^2,  d = sqrt p - sqrt t        p df/dp = 1/2 sqrt(p) d        df/dt = -1/2 d / sqrt t
struct HellingerTerm {
  static constexpr auto name = "hellinger";
  template <class T> static HD T gap(T t, T log_p) { return vmath::exp(log_p / 2) - std::sqrt(t); }
  template <class T> static HD T value(T t, T, T, T log_p) { return gap(t, log_p) * gap(t, log_p) / 2; }
  template <class T> static HD T by_log_p(T t, T, T, T log_p) { return vmath::exp(log_p / 2) * gap(t, log_p) / 2; }
  template <class T> static HD T by_log_t(T t, T, T, T log_p) { return -std::sqrt(t) * gap(t, log_p) / 2; }
  template <class T> static HD T by_t(T t, T, T, T log_p) {
    return t == 0 ? T(0) : -gap(t, log_p) / (2 * std::sqrt(t));
  }
};

Tensor reduced(At logits, const Tensor& rows, Reduction reduction) {
  return reduce_rows(At(rows, logits.line), reduction, double(logits->size(0)));
}

}  // namespace

Tensor kl_div(At logits, const Tensor& target_probs, DivergenceOptions o) {
  check_rows("kl_div", logits, target_probs, "target_probs");
  return reduced(logits,
                 o.form == Form::definition ? kl_of(target_probs, log_softmax(logits))
                                            : apply(Divergence<KlTerm, false>(), logits, target_probs),
                 o.reduction);
}

Tensor js_div(At logits, const Tensor& target_probs, DivergenceOptions o) {
  check_rows("js_div", logits, target_probs, "target_probs");
  return reduced(logits,
                 o.form == Form::definition ? js_of(target_probs, softmax(logits))
                                            : apply(Divergence<JsTerm, false>(), logits, target_probs),
                 o.reduction);
}

Tensor tv(At logits, const Tensor& target_probs, DivergenceOptions o) {
  check_rows("tv", logits, target_probs, "target_probs");
  return reduced(logits,
                 o.form == Form::definition ? tv_of(target_probs, softmax(logits))
                                            : apply(Divergence<TvTerm, false>(), logits, target_probs),
                 o.reduction);
}

Tensor hellinger(At logits, const Tensor& target_probs, HellingerOptions o) {
  check_rows("hellinger", logits, target_probs, "target_probs");
  if (o.form == Form::closed) {
    return reduced(logits, apply(Divergence<HellingerTerm, false>(1, !o.squared), logits, target_probs), o.reduction);
  }
  const Tensor square = hellinger_of(target_probs, softmax(logits));
  return reduced(logits, o.squared ? square : sqrt(square), o.reduction);
}

Tensor kl_div_logits(At logits, const Tensor& target_logits, KlLogitsOptions o) {
  check_rows("kl_div_logits", logits, target_logits, "target_logits");
  if (!(o.temperature > 0) || std::isinf(o.temperature)) {
    fail("kl_div_logits", "temperature must be above 0, got " + std::to_string(o.temperature));
  }
  const double scale = 1 / o.temperature;
  return reduced(logits,
                 o.form == Form::definition
                     ? kl_of(softmax(scale * target_logits), log_softmax(At(logits.tensor * scale, logits.line)))
                     : apply(Divergence<KlTerm, true>(scale), logits, target_logits),
                 o.reduction);
}

Tensor js_div_logits(At logits_p, const Tensor& logits_q, DivergenceOptions o) {
  check_rows("js_div_logits", logits_p, logits_q, "logits_q");
  return reduced(logits_p,
                 o.form == Form::definition ? js_of(softmax(logits_q), softmax(logits_p))
                                            : apply(Divergence<JsTerm, true>(), logits_p, logits_q),
                 o.reduction);
}

// ---- for the table of losses

namespace {

Tensor random_logits(Rng& rng, Index N, Index C) { return 2 * randn({N, C}, rng, DType::f64); }
Tensor random_rows(Rng& rng, Index N, Index C) { return softmax(0.4 * randn({N, C}, rng, DType::f64)); }

// Logits and targets of which no t_c is near p_c, where tv has its kink.
Inputs apart(Rng& rng, Index N, Index C) {
  const Tensor z = 0.4 * randn({N, C}, rng, DType::f64);
  Tensor t = softmax(z);
  for (Index i = 0; i < t.numel(); ++i) set_value(t, i, value_at(t, i) + (i % C % 2 ? 0.08 : -0.08));
  return {{"logits", z}, {"target_probs", t}};
}

std::vector<LossSample> probability_samples(Rng& rng) {
  return {
      {"four classes", apart(rng, 5, 4)},
      {"two classes, none", apart(rng, 3, 2), {{"reduction", "none"}}},
      {"targets that do not sum to 1, sum", apart(rng, 2, 3), {{"reduction", "sum"}}},
      {"one class", {{"logits", random_logits(rng, 2, 1)}, {"target_probs", tensor({0.6, 0.7}, {2, 1}, DType::f64)}}},
      {"no rows", {{"logits", random_logits(rng, 0, 3)}, {"target_probs", random_rows(rng, 0, 3)}}},
      {.what = "logits of 1e4, zeros among the targets",
       .inputs = {{"logits", tensor({1e4, -1e4, 0, 3, 2e4, -1e4}, {2, 3}, DType::f64)},
                  {"target_probs", tensor({.25, .75, 0, 0, 1, 0}, {2, 3}, DType::f64)}},
       .options = {{"reduction", "none"}},
       .extreme = true},
      {.what = "p = 1 - 1e-26 where t = 1",
       .inputs = {{"logits", tensor({60, 0, -1}, {1, 3}, DType::f64)},
                  {"target_probs", tensor({1, 0, 0}, {1, 3}, DType::f64)}},
       .extreme = true},
  };
}

std::vector<LossSample> hellinger_samples(Rng& rng) {
  std::vector<LossSample> samples = probability_samples(rng);
  samples.push_back({"squared", apart(rng, 4, 3), {{"squared", true}}});
  samples.push_back({"squared, none", apart(rng, 2, 5), {{"squared", true}, {"reduction", "none"}}});
  return samples;
}

// Two rows of logits called a and b; some take a temperature.
std::vector<LossSample> pair_samples(Rng& rng, const char* a, const char* b, const Options& more) {
  const auto two = [&](Index N, Index C) {
    return Inputs{{a, random_logits(rng, N, C)}, {b, random_logits(rng, N, C)}};
  };
  Options sum = more;
  sum.insert_or_assign("reduction", "sum");
  return {
      {"four classes", two(5, 4)},
      {"two classes, none", two(3, 2), {{"reduction", "none"}}},
      {"three classes, sum", two(2, 3), sum},
      {"one class", two(2, 1)},
      {"no rows", two(0, 3)},
      {.what = "logits of 1e4",
       .inputs = {{a, tensor({1e4, -1e4, 0, 40, -1, 0}, {2, 3}, DType::f64)},
                  {b, tensor({-1e4, 1e4, 9e3, 0, 40, 0}, {2, 3}, DType::f64)}},
       .options = {{"reduction", "none"}},
       .extreme = true},
  };
}

std::vector<LossSample> kl_logits_samples(Rng& rng) {
  return pair_samples(rng, "logits", "target_logits", {{"temperature", 2.5}});
}
std::vector<LossSample> js_logits_samples(Rng& rng) { return pair_samples(rng, "logits_p", "logits_q", {}); }

using TwoRows = Tensor (*)(At, const Tensor&, DivergenceOptions);

LossInfo divergence_info(const char* name, const char* formula, const char* seeds, TwoRows f) {
  return {.name = name,
          .family = Family::softmax,
          .formula = formula,
          .seeds = seeds,
          .task = "soft targets, the distance between two predictions",
          .inputs = {{"logits", "[N,C]"}, {"target_probs", "[N,C]"}},
          .options = {reduction_option()},
          .run =
              [f](const Arguments& a) {
                return f(a["logits"], a["target_probs"], {.reduction = a.reduction(), .form = a.form});
              },
          .samples = probability_samples};
}

}  // namespace

Losses divergence_losses() {
  return {divergence_info("kl_div", "sum_c t_c log(t_c / p_c), p = softmax(z)", "A003-A006 A025", kl_div),
          {.name = "kl_div_logits",
           .family = Family::softmax,
           .formula = "KL(softmax(target / T) || softmax(z / T))",
           .seeds = "A003 A145",
           .task = "one model follows another",
           .inputs = {{"logits", "[N,C]"}, {"target_logits", "[N,C]"}},
           .options = {{"temperature", 1.0}, reduction_option()},
           .run =
               [](const Arguments& a) {
                 return kl_div_logits(
                     a["logits"], a["target_logits"],
                     {.temperature = a.number("temperature"), .reduction = a.reduction(), .form = a.form});
               },
           .samples = kl_logits_samples},
          divergence_info("js_div", "KL(t || m) / 2 + KL(p || m) / 2, m = (t + p) / 2", "A023", js_div),
          {.name = "js_div_logits",
           .family = Family::softmax,
           .formula = "JS(softmax(a), softmax(b))",
           .seeds = "A023",
           .task = "two predictions that should agree",
           .inputs = {{"logits_p", "[N,C]"}, {"logits_q", "[N,C]"}},
           .options = {reduction_option()},
           .run =
               [](const Arguments& a) {
                 return js_div_logits(a["logits_p"], a["logits_q"], {.reduction = a.reduction(), .form = a.form});
               },
           .samples = js_logits_samples},
          divergence_info("tv", "sum_c |t_c - p_c| / 2", "A023", tv),
          {.name = "hellinger",
           .family = Family::softmax,
           .formula = "sqrt(sum_c (sqrt t_c - sqrt p_c)^2 / 2)",
           .seeds = "A023",
           .task = "soft targets, a bounded distance",
           .inputs = {{"logits", "[N,C]"}, {"target_probs", "[N,C]"}},
           .options = {{"squared", false}, reduction_option()},
           .run =
               [](const Arguments& a) {
                 return hellinger(a["logits"], a["target_probs"],
                                  {.squared = a.flag("squared"), .reduction = a.reduction(), .form = a.form});
               },
           .samples = hellinger_samples}};
}

}  // namespace gradus
