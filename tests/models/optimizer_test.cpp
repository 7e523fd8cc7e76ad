// Optimizers against PyTorch's documented rules, written out again here for one number at a time.
#include "models/optimizer.h"

#include <cmath>
#include <limits>

#include "engine/parallel.h"
#include "engine/random.h"
#include "tests/models/model_tools.h"
#include "tests/support/leak_guard.h"

using namespace gradus;
using doctest::Approx;
using doctest::Contains;

namespace {

// The gradient at step t = 1, 2, ..., with both signs and different sizes.
double gradient(int t) { return std::sin(1.7 * t) + 0.3 * t; }

// p after each of `steps` steps of an optimizer whose one parameter starts at `start`.
std::vector<double> path(Tensor p, Optimizer& optimizer, int steps) {
  std::vector<double> values;
  for (int t = 1; t <= steps; ++t) {
    p.set_grad(full(p.shape(), gradient(t), p.dtype()));
    optimizer.step();
    values.push_back(value_at(p, p.numel() - 1));
  }
  return values;
}

// Algorithm of torch.optim.SGD.
std::vector<double> sgd(double p, int steps, SgdOptions o) {
  std::vector<double> values;
  double buffer = 0;
  for (int t = 1; t <= steps; ++t) {
    double g = gradient(t);
    if (o.weight_decay != 0) g = g + o.weight_decay * p;
    if (o.momentum != 0) {
      buffer = t > 1 ? o.momentum * buffer + (1 - o.dampening) * g : g;
      g = o.nesterov ? g + o.momentum * buffer : buffer;
    }
    values.push_back(p = p - o.lr * g);
  }
  return values;
}

// Algorithms of torch.optim.Adam and torch.optim.AdamW.
std::vector<double> adam(double p, int steps, AdamOptions o, bool decoupled) {
  std::vector<double> values;
  double m = 0, v = 0;
  for (int t = 1; t <= steps; ++t) {
    double g = gradient(t);
    if (decoupled) p = p - o.lr * o.weight_decay * p;
    if (!decoupled) g = g + o.weight_decay * p;
    m = o.betas[0] * m + (1 - o.betas[0]) * g;
    v = o.betas[1] * v + (1 - o.betas[1]) * g * g;
    const double m_hat = m / (1 - std::pow(o.betas[0], t)), v_hat = v / (1 - std::pow(o.betas[1], t));
    values.push_back(p = p - o.lr * m_hat / (std::sqrt(v_hat) + o.eps));
  }
  return values;
}

void check_close(const std::vector<double>& a, const std::vector<double>& b, double tolerance) {
  REQUIRE(a.size() == b.size());
  for (std::size_t k = 0; k < a.size(); ++k) CHECK(a[k] == Approx(b[k]).epsilon(tolerance));
}

Tensor parameter(double value, DType dtype = DType::f64) { return full({2, 3}, value, dtype).requires_grad_(); }
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

}  // namespace

TEST_SUITE("models/optimizer") {
  TEST_CASE("Sgd follows PyTorch's rule with every option, in f64 and f32") {
    const std::vector<SgdOptions> all = {{},
                                         {.lr = 0.1},
                                         {.lr = 0.1, .momentum = 0.9},
                                         {.lr = 0.1, .momentum = 0.9, .dampening = 0.3},
                                         {.lr = 0.1, .weight_decay = 0.05},
                                         {.lr = 0.1, .momentum = 0.9, .weight_decay = 0.05, .nesterov = true}};
    for (const SgdOptions& options : all) {
      for (const DType dtype : {DType::f64, DType::f32}) {
        Tensor p = parameter(0.8, dtype);
        Sgd optimizer({p}, options);
        check_close(path(p, optimizer, 5), sgd(0.8, 5, options), dtype == DType::f64 ? 1e-14 : 1e-5);
      }
    }
  }

  TEST_CASE("Adam and AdamW follow PyTorch's rules with every option, in f64 and f32") {
    const std::vector<AdamOptions> all = {
        {}, {.lr = 0.1, .betas = {0.8, 0.95}}, {.lr = 0.1, .eps = 0.01}, {.lr = 0.1, .weight_decay = 0.2}};
    for (const AdamOptions& o : all) {
      for (const DType dtype : {DType::f64, DType::f32}) {
        const double tolerance = dtype == DType::f64 ? 1e-13 : 1e-5;
        Tensor p = parameter(0.8, dtype), q = parameter(0.8, dtype);
        Adam coupled({p}, o);
        check_close(path(p, coupled, 5), adam(0.8, 5, o, false), tolerance);
        AdamW decoupled({q}, {o.lr, o.betas, o.eps, o.weight_decay});
        check_close(path(q, decoupled, 5), adam(0.8, 5, o, true), tolerance);
      }
    }
  }

  TEST_CASE("betas next to 1 keep their digits in f32: the first step is lr") {
    Tensor p = full({2, 3}, 0, DType::f32).requires_grad_();
    Adam adam({p}, {.lr = 1, .betas = {0.999999, 0.999999}, .eps = 0});
    p.set_grad(ones(p.shape()));
    adam.step();
    CHECK(value_at(p, 0) == Approx(-1).epsilon(1e-6));
  }

  TEST_CASE("defaults are PyTorch's") {
    CHECK(SgdOptions{}.lr == 1e-3);
    CHECK(AdamOptions{}.lr == 1e-3);
    CHECK(AdamOptions{}.betas == std::array{0.9, 0.999});
    CHECK(AdamOptions{}.eps == 1e-8);
    CHECK(AdamOptions{}.weight_decay == 0);
    CHECK(AdamWOptions{}.weight_decay == 1e-2);
  }

  TEST_CASE("numbers worked out by hand") {
    // Sgd: p = 1, g = 0.5, lr = 0.1, momentum 0.9.  v = 0.5, 0.95, 1.355;  p = 0.95, 0.855, 0.7195
    Tensor p = parameter(1);
    Sgd momentum({p}, {.lr = 0.1, .momentum = 0.9});
    for (const double expected : {0.95, 0.855, 0.7195}) {
      p.set_grad(full(p.shape(), 0.5, DType::f64));
      momentum.step();
      CHECK(value_at(p, 0) == Approx(expected).epsilon(1e-14));
    }
    // Adam's first step is lr g / (|g| + eps), whatever the betas; with equal gradients so are the next.
    Tensor q = parameter(1);
    Adam adam({q}, {.lr = 0.1, .eps = 0});
    for (const double expected : {0.9, 0.8, 0.7}) {
      q.set_grad(full(q.shape(), 2, DType::f64));
      adam.step();
      CHECK(value_at(q, 0) == Approx(expected).epsilon(1e-13));
    }
    // AdamW: p (1 - lr wd) - lr = 1 (1 - 0.1 0.5) - 0.1 = 0.85
    Tensor r = parameter(1);
    AdamW adamw({r}, {.lr = 0.1, .eps = 0, .weight_decay = 0.5});
    r.set_grad(full(r.shape(), 3, DType::f64));
    adamw.step();
    CHECK(value_at(r, 0) == Approx(0.85).epsilon(1e-14));
  }

  TEST_CASE("a parameter without a gradient is skipped: value, averages and step count stay") {
    Tensor p = parameter(1), q = parameter(1);
    Adam optimizer({p, q}, {.lr = 0.1});
    p.set_grad(full(p.shape(), 2, DType::f64));
    optimizer.step();
    CHECK(value_at(q, 0) == 1);
    CHECK(optimizer.state()[0].to_vector() == std::vector<double>{1, 0});
    optimizer.zero_grad();
    CHECK(!p.grad());
    optimizer.step();
    CHECK(optimizer.state()[0].to_vector() == std::vector<double>{1, 0});
  }

  TEST_CASE("the state is named, and a copy of it continues with the same bits") {
    Tensor p = parameter(0.8), q = parameter(0.8);
    Adam a({p}), b({q});
    path(p, a, 3);
    CHECK(names_of(a.state()) == std::vector<std::string>{"step", "exp_avg.0", "exp_avg_sq.0"});
    CHECK(names_of(Sgd({p}).state()) == std::vector<std::string>{"step"});
    CHECK(names_of(Sgd({p}, {.momentum = 0.9}).state()) == std::vector<std::string>{"step", "momentum_buffer.0"});
    std::vector<Tensor> target = b.state();
    for (std::size_t k = 0; k < target.size(); ++k) target[k].copy_from(a.state()[k]);
    q.copy_from(p);
    CHECK(path(p, a, 3) == path(q, b, 3));
  }

  TEST_CASE("set_lr counts from the next step") {
    Tensor p = parameter(1);
    Sgd optimizer({p}, {.lr = 1});
    optimizer.set_lr(0.25);
    p.set_grad(full(p.shape(), 1, DType::f64));
    optimizer.step();
    CHECK(value_at(p, 0) == 0.75);
    CHECK(optimizer.lr() == 0.25);
  }

  TEST_CASE("bad options and bad parameters are errors") {
    const Tensor p = parameter(1);
    CHECK_THROWS_WITH_AS(Adam({}), Contains("[Adam] got no parameters; pass model.parameters()"), Error);
    CHECK_THROWS_WITH_AS(Adam({p}, {.lr = -1}), Contains("[Adam] lr must be 0 or greater"), Error);
    CHECK_THROWS_WITH_AS(AdamW({p}, {.lr = not_a_number}), Contains("[AdamW] lr"), Error);
    CHECK_THROWS_WITH_AS(Adam({p}, {.betas = {0.9, 1}}), Contains("betas[1]"), Error);
    CHECK_THROWS_WITH_AS(Adam({p}, {.betas = {not_a_number, 0.9}}), Contains("betas[0]"), Error);
    CHECK_THROWS_WITH_AS(Adam({p}, {.eps = not_a_number}), Contains("eps"), Error);
    CHECK_THROWS_WITH_AS(Sgd({p}, {.momentum = not_a_number}), Contains("momentum"), Error);
    CHECK_THROWS_WITH_AS(Sgd({p}, {.weight_decay = -0.1}), Contains("weight_decay"), Error);
    CHECK_THROWS_WITH_AS(Sgd({p}, {.nesterov = true}), Contains("nesterov needs momentum"), Error);
    CHECK_THROWS_WITH_AS(Sgd({p, p}), Contains("is given twice"), Error);
    CHECK_THROWS_WITH_AS(Sgd({Tensor()}), Contains("undefined"), Error);
    CHECK_THROWS_WITH_AS(Sgd({labels({1, 2})}), Contains("not of a floating type"), Error);
    Sgd optimizer({p});
    CHECK_THROWS_WITH_AS(optimizer.set_lr(not_a_number), Contains("[Sgd] lr"), Error);
  }

  TEST_CASE("one thread and two give the same bits, and nothing is left over") {
    const LeakGuard guard;
    std::vector<std::vector<double>> results;
    const int threads = thread_count();
    for (const int n : {1, 2}) {
      set_thread_count(n);
      Rng rng(1);
      Tensor p = randn({50000}, rng).requires_grad_();
      AdamW optimizer({p});
      for (int step = 0; step < 3; ++step) {
        p.set_grad(randn({50000}, rng));
        optimizer.step();
      }
      results.push_back(p.to_vector());
    }
    set_thread_count(threads);
    CHECK(results[0] == results[1]);
  }
}
