#include "tests/support/loss_case.h"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/backward.h"
#include "engine/parallel.h"
#include "losses/check.h"
#include "tests/support/leak_guard.h"

namespace gradus {
namespace {

void check_threads(const LossInfo& info, const LossSample& sample) {
  const int threads = thread_count();
  set_thread_count(1);
  const Evaluated one = evaluate(info, sample, Form::closed);
  set_thread_count(2);
  const Evaluated two = evaluate(info, sample, Form::closed);
  set_thread_count(threads);
  const auto same = [](const Values& a, const Values& b) {
    return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](double x, double y) {
             return x == y || (std::isnan(x) && std::isnan(y));
           });
  };
  CHECK(same(one.value, two.value));
  for (const auto& dx : one.gradients) CHECK_MESSAGE(same(dx.second, two.gradients.at(dx.first)), dx.first);
}

}  // namespace

void check_losses(const Losses& losses) {
  const LeakGuard guard;
  CHECK(!losses.empty());
  for (const LossInfo& info : losses) {
    CAPTURE(info.name);
    for (const LossCheck& check : check_loss(info)) {
      CHECK_MESSAGE(check.passed, info.name, ", ", check.what, ": ", check.message);
    }
    Rng rng(1);
    int ordinary = 0;
    for (const LossSample& sample : info.samples(rng)) {
      CAPTURE(sample.what);
      ordinary += !sample.extreme;
      check_threads(info, sample);
      CHECK_THROWS_WITH_AS(arguments_for(info, sample.inputs, {{"nonsense", 1.0}}, Form::closed),
                           doctest::Contains("no option 'nonsense'"), Error);
      CHECK_THROWS_WITH_AS(arguments_for(info, {}, sample.options, Form::closed), doctest::Contains("is missing"),
                           Error);
    }
    CHECK(ordinary >= 3);
  }
}

void check_near(const Values& got, const Values& wanted, double tolerance) {
  REQUIRE(got.size() == wanted.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    CHECK_MESSAGE(std::abs(got[i] - wanted[i]) <= tolerance * std::max(1.0, std::abs(wanted[i])), got[i], " at ", i,
                  " should be ", wanted[i]);
  }
}

Values minimise(const std::function<Tensor(const Tensor&)>& f, const Tensor& start, int steps, double step) {
  Tensor x = start.to(DType::f64).clone();
  double best = f(x).item();
  for (int k = 0; k < steps && step > 1e-14; ++k) {
    const Values dx = slopes(x, f);
    Tensor next = x.clone();
    for (Index i = 0; i < x.numel(); ++i) set_value(next, i, value_at(x, i) - step * dx[std::size_t(i)]);
    const double value = f(next).item();
    if (value <= best) {
      x = next, best = value, step *= 1.1;
    } else {
      step *= 0.5;
    }
  }
  return x.to_vector();
}

}  // namespace gradus
