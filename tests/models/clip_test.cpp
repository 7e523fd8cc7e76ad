// Gradient clipping and learning-rate schedules.
#include "models/clip.h"

#include <cmath>
#include <limits>

#include "models/schedule.h"
#include "tests/models/model_tools.h"

using namespace gradus;
using doctest::Approx;
using doctest::Contains;

namespace {

// Gradients (3, 0) and (0, 4): together of length 5. A third parameter has none.
std::vector<Tensor> three_four_five() {
  std::vector<Tensor> parameters;
  for (const auto& g : {std::vector<double>{3, 0}, {0, 4}, {}}) {
    parameters.push_back(zeros({2}).requires_grad_().named("p" + std::to_string(parameters.size())));
    if (!g.empty()) parameters.back().set_grad(tensor(g));
  }
  return parameters;
}

}  // namespace

TEST_SUITE("models/clip") {
  TEST_CASE("gradients that are too long are scaled together, and the norm before is returned") {
    const auto p = three_four_five();
    CHECK(grad_norm(p) == Approx(5));
    CHECK(clip_grad_norm(p, 1) == Approx(5));
    CHECK(p[0].grad().at({0}) == Approx(0.6).epsilon(1e-5));
    CHECK(p[1].grad().at({1}) == Approx(0.8).epsilon(1e-5));
    CHECK(grad_norm(p) == Approx(1).epsilon(1e-5));
    CHECK(!p[2].grad());
  }

  TEST_CASE("gradients that are short enough keep their bits") {
    const auto p = three_four_five();
    CHECK(clip_grad_norm(p, 5.1) == Approx(5));
    CHECK(p[0].grad().at({0}) == 3);
  }

  TEST_CASE("squares that would overflow f32 do not") {
    Tensor p = zeros({2}).requires_grad_();
    p.set_grad(tensor({3e30, 4e30}));
    CHECK(clip_grad_norm({p}, 1) == Approx(5e30));
    CHECK(grad_norm({p}) == Approx(1).epsilon(1e-5));
  }

  TEST_CASE("a norm that is not finite is an error that names the parameter, and changes nothing") {
    const auto p = three_four_five();
    p[1].grad().copy_from(tensor({1, std::numeric_limits<double>::quiet_NaN()}));
    CHECK_THROWS_WITH_AS(clip_grad_norm(p, 1), Contains("the gradient of 'p1' f32 [2] has nan at element 1"), Error);
    CHECK(p[0].grad().at({0}) == 3);
    CHECK(std::isnan(grad_norm(p)));
  }

  TEST_CASE("no gradients at all have norm 0") {
    CHECK(grad_norm({}) == 0);
    CHECK(clip_grad_norm({zeros({3}).requires_grad_()}, 1) == 0);
  }

  TEST_CASE("clip_grad_value limits each element") {
    Tensor p = zeros({4}).requires_grad_();
    p.set_grad(tensor({-3, -0.5, 0.5, 3}));
    clip_grad_value({p}, 1);
    CHECK(p.grad().to_vector() == std::vector<double>{-1, -0.5, 0.5, 1});
  }

  TEST_CASE("limits must be greater than 0") {
    CHECK_THROWS_WITH_AS(clip_grad_norm({}, 0), Contains("max_norm must be greater than 0"), Error);
    CHECK_THROWS_WITH_AS(clip_grad_value({}, std::nan("")), Contains("clip_value must be greater than 0"), Error);
  }
}

TEST_SUITE("models/schedule") {
  TEST_CASE("warm-up rises linearly to 1, and its first step already moves") {
    CHECK(linear_warmup(0, 4) == 0.25);
    CHECK(linear_warmup(2, 4) == 0.75);
    CHECK(linear_warmup(3, 4) == 1);
    CHECK(linear_warmup(100, 4) == 1);
    CHECK(linear_warmup(0, 0) == 1);
  }

  TEST_CASE("cosine falls from 1 to the last factor, and stays there") {
    CHECK(cosine_decay(0, 10) == 1);
    CHECK(cosine_decay(5, 10) == Approx(0.5));
    CHECK(cosine_decay(10, 10) == Approx(0));
    CHECK(cosine_decay(99, 10) == Approx(0));
    CHECK(cosine_decay(5, 10, 0.1) == Approx(0.55));
    CHECK(cosine_decay(10, 10, 0.1) == Approx(0.1));
    CHECK(cosine_decay(0, 0, 0.1) == Approx(0.1));
  }

  TEST_CASE("warm-up and cosine meet at 1") {
    CHECK(warmup_cosine(0, 5, 15) == Approx(0.2));
    CHECK(warmup_cosine(4, 5, 15) == 1);
    CHECK(warmup_cosine(5, 5, 15) == 1);
    CHECK(warmup_cosine(10, 5, 15) == Approx(0.5));
    CHECK(warmup_cosine(15, 5, 15) == Approx(0));
    CHECK(constant_rate(7) == 1);
  }
}
