#include "losses/transport/wasserstein.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "losses/transport/emd.h"
#include "losses/transport/problem.h"
#include "losses/transport/wasserstein_device.h"
#include "ops/elementwise.h"
#include "ops/math.h"
#include "ops/reduce.h"

namespace gradus {
namespace {

using Numbers = std::vector<double>;

// Weights in f64 with total 1; equal ones where none are given.
Tensor unit_weights(const Tensor& w, const Tensor& points) {
  const Index n = points.numel();
  if (!w) return full({n}, 1 / double(n), DType::f64, points.device());
  return w.detach().to(DType::f64) / row_totals(w, n);
}

// ---- points, as the definition says: the best plan, then its price on the tape

Tensor definition(const Tensor& x, const Tensor& y, const Tensor& wx, const Tensor& wy, Index p, bool power) {
  const Tensor gap = x.reshape({x.numel(), 1}) - y;  // [n,m]
  const Tensor price = p == 1 ? abs(gap) : square(gap);
  const Tensor plan = emd_plan(wx, wy, price.detach().to(DType::f64), {.form = Form::definition});
  const Tensor total = sum(plan.to(price.dtype()) * price);
  if (power || p == 1) return total;
  return total.item() == 0 ? 0.0 * total : sqrt(total);
}

// ---- points, as the derivation ends: a walk along both sorted clouds

struct Pair {
  std::size_t i, j;
  double mass;
};

std::vector<std::size_t> ascending(const Numbers& x) {
  std::vector<std::size_t> order(x.size());
  std::iota(order.begin(), order.end(), std::size_t(0));
  std::stable_sort(order.begin(), order.end(), [&](std::size_t i, std::size_t j) { return x[i] < x[j]; });
  return order;
}

std::vector<Pair> walk(const Numbers& x, const Numbers& y, Numbers wx, Numbers wy) {
  const auto xs = ascending(x), ys = ascending(y);
  std::vector<Pair> pairs;
  for (std::size_t k = 0, l = 0; k < xs.size() && l < ys.size();) {
    double &left = wx[xs[k]], &right = wy[ys[l]];
    const double mass = std::min(left, right);
    if (mass > 0) pairs.push_back({xs[k], ys[l], mass});
    left -= mass;
    right -= mass;
    if (left <= 0) ++k;
    if (right <= 0) ++l;
  }
  return pairs;
}

// y = (sum over pairs of mass |x_i - y_j|^p)^(1/p)
// dy/dx_i = sum over its pairs of mass |x_i - y_j|^(p-1) sign(x_i - y_j) / y^(p-1), 0 at y = 0;  dy/dy_j = minus the same
struct Wasserstein1d final : Op {
  Index p;
  bool power;
  std::vector<Pair> pairs;
  double value = 0;  // before it is rounded to f32
  Clouds clouds;     // instead, on a GPU
  Wasserstein1d(Index order, bool keep_power) : p(order), power(keep_power) {}
  const char* name() const override { return "wasserstein_1d"; }

  Tensor forward(In in) override {
    if (!in[0].device().is_cpu()) {
      clouds = Clouds(in[0], in[1], in[2], in[3], p, power);
      return clouds.value.to(in[0].dtype()).untaped_view({});
    }
    const Numbers x = in[0].to_vector(), y = in[1].to_vector();
    pairs = walk(x, y, in[2].to_vector(), in[3].to_vector());
    value = 0;
    for (const Pair& k : pairs) {
      const double d = std::abs(x[k.i] - y[k.j]);
      value += k.mass * (p == 1 ? d : d * d);
    }
    if (p == 2 && !power) value = std::sqrt(value);
    return scalar(value, in[0].dtype(), in[0].device());
  }
  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    if (!in[0].device().is_cpu()) {
      for (const int side : {0, 1}) {
        if (dx.wants(side)) clouds.gradient(side, dy, dx.into(side));
      }
      return;
    }
    const Numbers x = in[0].to_vector(), y = in[1].to_vector();
    Numbers gx(x.size(), 0.0), gy(y.size(), 0.0);
    const double scale = dy.item() * (p == 1 ? 1.0 : power ? 2.0 : value > 0 ? 1 / value : 0.0);
    for (const Pair& k : pairs) {
      const double d = x[k.i] - y[k.j], g = scale * k.mass * (p == 1 ? double(d > 0) - double(d < 0) : d);
      gx[k.i] += g;
      gy[k.j] -= g;
    }
    if (dx.wants(0)) dx.add(0, tensor(gx, dx.shape(0), dx.dtype(0), dy.device()));
    if (dx.wants(1)) dx.add(1, tensor(gy, dx.shape(1), dx.dtype(1), dy.device()));
  }
};

void check_weights(const char* what, const Tensor& w, const Tensor& points) {
  constexpr auto op = "wasserstein_1d";
  const Index n = points.numel();
  if (!w) return;
  check_same_device(op, points, w);
  if (!is_floating(w.dtype()) || w.shape() != Shape{n}) {
    fail(op,
         std::string(what) + " must hold a weight for each point, [" + std::to_string(n) + "], got " + w.describe());
  }
  const Tensor total = row_totals(w, n);
  check_masses(op, what, w, n, total);
  if (is_zero(total)) fail(op, std::string(what) + " " + w.describe() + " is 0 everywhere");
}

}  // namespace

Tensor wasserstein_1d(At x, const Tensor& y, Wasserstein1dOptions o) {
  constexpr auto op = "wasserstein_1d";
  if (!x.tensor || !y) fail(op, "needs points x and y; one of them is undefined");
  check_same_kind(op, x, y);
  if (x->rank() != 1 || y.rank() != 1 || x->numel() == 0 || y.numel() == 0) {
    fail(op, "needs points x [n] and y [m] with n, m >= 1, got " + x->describe() + " and " + y.describe());
  }
  if (!is_floating(x->dtype())) fail(op, std::string("needs f32 or f64, got ") + name_of(x->dtype()));
  if (o.p != 1 && o.p != 2) fail(op, "p must be 1 or 2, got " + std::to_string(o.p));
  check_weights("wx", o.wx, x);
  check_weights("wy", o.wy, y);
  const Tensor wx = unit_weights(o.wx, x), wy = unit_weights(o.wy, y);
  if (o.form == Form::definition) return definition(x, y, wx, wy, o.p, o.power);
  return apply(Wasserstein1d(o.p, o.power), x, y, wx, wy);
}

// ---- for the table of losses

namespace {

std::vector<LossSample> point_samples(Rng& rng) {
  // No two of them are nearer than 0.1: ties are corners for p = 1.
  const auto apart = [&](Index n, double offset) {
    return arange(n, DType::f64) * 0.7 + offset + 0.2 * rand({n}, rng, DType::f64);
  };
  const auto shuffled = [&](Index n, double offset) {
    Tensor x = apart(n, offset);
    for (Index i = 0; i + 2 < n; i += 2) {
      const double first = value_at(x, i);
      set_value(x, i, value_at(x, i + 2));
      set_value(x, i + 2, first);
    }
    return x;
  };
  const auto weights = [&](Index n) { return rand({n}, rng, DType::f64) + 0.2; };
  const Tensor with_zero = tensor({0.5, 0, 2, 1}, DType::f64);
  return {
      {"equal sizes", {{"x", shuffled(5, -1)}, {"y", shuffled(5, 0.31)}}},
      {"equal sizes, p = 2", {{"x", shuffled(4, 0)}, {"y", shuffled(4, -0.4)}}, {{"p", 2}}},
      {"4 and 6, p = 2, power", {{"x", shuffled(4, 0)}, {"y", shuffled(6, 0.33)}}, {{"p", 2}, {"power", true}}},
      {"3 and 5", {{"x", shuffled(3, 0)}, {"y", shuffled(5, 0.32)}}},
      {"weights", {{"x", shuffled(5, 0)}, {"y", shuffled(3, 0.3)}, {"wx", weights(5)}, {"wy", weights(3)}}},
      {"a weight of 0, p = 2", {{"x", shuffled(4, 0)}, {"y", shuffled(3, 2)}, {"wx", with_zero}}, {{"p", 2}}},
      {"one point each", {{"x", shuffled(1, 0)}, {"y", shuffled(1, 1)}}, {{"p", 2}}},
      {.what = "points of 1e30, whose squares f32 does not hold",
       .inputs = {{"x", tensor({1e30, -2e30, 3}, DType::f64)}, {"y", tensor({5, -1e30}, DType::f64)}},
       .options = {{"p", 2}},
       .extreme = true},
  };
}

}  // namespace

Losses wasserstein_losses() {
  return {
      {.name = "wasserstein_1d",
       .family = Family::transport,
       .formula = "(integral |F^-1 - G^-1|^p dt)^(1/p)",
       .seeds = "A042",
       .task = "distance of two samples of a number",
       .inputs = {{"x", "[n]"}, {"y", "[m]"}, {"wx", "[n]", Kind::constant, true}, {"wy", "[m]", Kind::constant, true}},
       .options = {{"p", 1}, {"power", false}},
       .run =
           [](const Arguments& a) {
             return wasserstein_1d(
                 a["x"], a["y"],
                 {.p = a.integer("p"), .power = a.flag("power"), .wx = a["wx"], .wy = a["wy"], .form = a.form});
           },
       .samples = point_samples}};
}

}  // namespace gradus
