#include "losses/distance/proximal.h"

#include "losses/distance/checks.h"
#include "ops/math.h"
#include "ops/reduce.h"

namespace gradus {
namespace {

// y = lambda (a - b)^2, b repeated over the tasks where it has one axis less
// dy/da = 2 lambda (a - b) = -dy/db
struct Proximal {
  static constexpr auto name = "proximal";
  static constexpr Keep keep = Keep::inputs;
  double lambda;
  template <class T> HD T forward(T a, T b) const { return T(lambda) * (a - b) * (a - b); }
  template <class T> HD T backward_a(T a, T b, T) const { return 2 * T(lambda) * (a - b); }
  template <class T> HD T backward_b(T a, T b, T) const { return 2 * T(lambda) * (b - a); }
};

Tensor penalty(At theta, const Tensor& theta0, const ProximalOptions& o) {
  if (o.form == Form::definition) return o.lambda * sum(square(theta - theta0));
  const Tensor elements = apply_binary(Proximal{o.lambda}, theta, theta0);
  return sum(At(elements, theta.line));
}

// y = lambda/2 F d^2, d = theta - theta*
template <class T> struct EwcForward {
  T lambda;
  const T *theta, *star, *fisher;
  T* y;
  HD void operator()(Index i) const {
    const T d = theta[i] - star[i];
    y[i] = fisher[i] == 0 ? T(0) : lambda / 2 * fisher[i] * d * d;
  }
};

// dy/dtheta = lambda F d
template <class T> struct EwcBackward {
  T lambda;
  const T *dy, *theta, *star, *fisher;
  T* dtheta;
  HD void operator()(Index i) const { dtheta[i] += dy[i] * lambda * fisher[i] * (theta[i] - star[i]); }
};

// in: theta, theta_star, fisher, all of one shape.  y: one value per element.
struct Ewc final : Op {
  double lambda;
  explicit Ewc(double l) : lambda(l) {}
  const char* name() const override { return "ewc"; }
  Tensor forward(In in) override {
    Tensor y = empty(in[0].shape(), in[0].dtype(), in[0].device());
    dispatch_float(name(), y.dtype(), [&]<class T>() {
      launch(y.device(), y.numel(),
             EwcForward<T>{T(lambda), in[0].data<T>(), in[1].data<T>(), in[2].data<T>(), y.data_mut<T>()});
    });
    return y;
  }
  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    if (!dx.wants(0)) return;
    dispatch_float(name(), dy.dtype(), [&]<class T>() {
      launch(dy.device(), dy.numel(),
             EwcBackward<T>{T(lambda), dy.data<T>(), in[0].data<T>(), in[1].data<T>(), in[2].data<T>(),
                            dx.into(0).data_mut<T>()});
    });
  }
};

}  // namespace

Tensor proximal(At theta, const Tensor& theta0, ProximalOptions o) {
  check_same_shape("proximal", theta, theta0);
  check_at_least("proximal", "lambda", o.lambda, 0);
  return penalty(theta, theta0, o);
}

Tensor proximal_meta(At theta, const Tensor& theta0, ProximalOptions o) {
  constexpr auto op = "proximal_meta";
  if (!theta.tensor || !theta0) fail(op, "an input is undefined: it was declared but never assigned");
  check_same_kind(op, theta, theta0);
  if (theta->rank() == 0 || theta->shape().without(0) != theta0.shape()) {
    fail(op,
         "needs theta [K,..], one per task, and theta0 [..]; got " + theta->describe() + " and " + theta0.describe());
  }
  check_at_least(op, "lambda", o.lambda, 0);
  return penalty(theta, theta0, o);
}

Tensor ewc(At theta, const Tensor& theta_star, const Tensor& fisher, ProximalOptions o) {
  constexpr auto op = "ewc";
  check_same_shape(op, theta, theta_star);
  check_same_shape(op, theta, fisher);
  check_at_least(op, "lambda", o.lambda, 0);
  const Tensor star = theta_star.detach(), F = fisher.detach();
  if (o.form == Form::definition) return o.lambda / 2 * sum(F * square(theta - star));
  const Tensor elements = apply(Ewc(o.lambda), theta, star, F);
  return sum(At(elements, theta.line));
}

Tensor fisher_diagonal(const Tensor& per_sample_gradients) {
  constexpr auto op = "fisher_diagonal";
  if (!per_sample_gradients) fail(op, "the gradients are undefined: they were declared but never assigned");
  if (per_sample_gradients.rank() == 0) {
    fail(op, "needs gradients [N,..], one per sample, got " + per_sample_gradients.describe());
  }
  const Tensor g = per_sample_gradients.detach();
  const Index N = g.size(0);
  return sum(square(g), {0}) * (N ? 1 / double(N) : 0.0);
}

// ---- for the table of losses

namespace {

std::vector<LossSample> proximal_samples(Rng& rng) {
  const auto pair = [&](const Shape& shape) -> Inputs {
    return {{"theta", randn(shape, rng, DType::f64)}, {"theta0", randn(shape, rng, DType::f64)}};
  };
  return {
      {"vector", pair({5})},
      {"matrix, lambda 0.3", pair({3, 4}), {{"lambda", 0.3}}},
      {"lambda 0", pair({2, 3}), {{"lambda", 0.0}}},
      {"no elements", pair({0})},
      {.what = "1e18 and 1e-10",
       .inputs = {{"theta", tensor({1e18, 1e-10}, DType::f64)}, {"theta0", tensor({0, 0}, DType::f64)}},
       .extreme = true},
  };
}

std::vector<LossSample> meta_samples(Rng& rng) {
  const auto tasks = [&](Index K, Index P) -> Inputs {
    return {{"theta", randn({K, P}, rng, DType::f64)}, {"theta0", randn({P}, rng, DType::f64)}};
  };
  return {
      {"three tasks", tasks(3, 4)},
      {"one task, lambda 0.3", tasks(1, 5), {{"lambda", 0.3}}},
      {"seven tasks, lambda 2", tasks(7, 2), {{"lambda", 2.0}}},
      {"no tasks", tasks(0, 3)},
  };
}

std::vector<LossSample> ewc_samples(Rng& rng) {
  const auto all = [&](Index P) -> Inputs {
    return {{"theta", randn({P}, rng, DType::f64)},
            {"theta_star", randn({P}, rng, DType::f64)},
            {"fisher", rand({P}, rng, DType::f64)}};
  };
  Inputs free = all(4);
  set_value(free["fisher"], 1, 0);
  return {
      {"five parameters", all(5)},
      {"a free parameter, lambda 10", free, {{"lambda", 10.0}}},
      {"lambda 0", all(3), {{"lambda", 0.0}}},
      {"no parameters", all(0)},
      {.what = "moved by 1e15 at F = 1e-20, by 1e30 at F = 0",
       .inputs = {{"theta", tensor({1e15, 1e30}, DType::f64)},
                  {"theta_star", tensor({0, 0}, DType::f64)},
                  {"fisher", tensor({1e-20, 0}, DType::f64)}},
       .extreme = true},
  };
}

ProximalOptions options_of(const Arguments& a) { return {.lambda = a.number("lambda"), .form = a.form}; }

}  // namespace

Losses proximal_losses() {
  return {{.name = "proximal",
           .family = Family::distance,
           .formula = "lambda |theta - theta0|^2",
           .seeds = "A143",
           .task = "fine-tuning near a start, federated learning",
           .inputs = {{"theta", "[...]"}, {"theta0", "[...]"}},
           .options = {{"lambda", 1.0}},
           .run = [](const Arguments& a) { return proximal(a["theta"], a["theta0"], options_of(a)); },
           .samples = proximal_samples},
          {.name = "proximal_meta",
           .family = Family::distance,
           .formula = "sum_i lambda |theta_i - theta0|^2",
           .seeds = "A143 A144",
           .task = "meta-learning: one start for many tasks",
           .inputs = {{"theta", "[K,P]"}, {"theta0", "[P]"}},
           .options = {{"lambda", 1.0}},
           .run = [](const Arguments& a) { return proximal_meta(a["theta"], a["theta0"], options_of(a)); },
           .samples = meta_samples},
          {.name = "ewc",
           .family = Family::distance,
           .formula = "lambda/2 sum_k F_k (theta_k - theta*_k)^2",
           .seeds = "A149",
           .task = "continual learning",
           .inputs = {{"theta", "[...]"}, {"theta_star", "[...]", Kind::constant}, {"fisher", "[...]", Kind::constant}},
           .options = {{"lambda", 1.0}},
           .run = [](const Arguments& a) { return ewc(a["theta"], a["theta_star"], a["fisher"], options_of(a)); },
           .samples = ewc_samples}};
}

}  // namespace gradus
