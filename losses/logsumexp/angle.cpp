#include "losses/logsumexp/angle.h"

#include "ops/elementwise.h"
#include "ops/math.h"
#include "ops/normalize.h"
#include "ops/reduce.h"
#include "ops/shape_ops.h"

namespace gradus {
namespace {

// ---- as the derivation starts: complex division, part by part, on the tape

Tensor definition(const Tensor& u, const Tensor& v) {
  const Index half = u.size(1) / 2;
  const Tensor z = l2_normalize(u), w = l2_normalize(v);                   // [N,D]
  const Tensor a = slice(z, 1, 0, half), b = slice(z, 1, half, 2 * half);  // [N,D/2]
  const Tensor c = slice(w, 1, 0, half), d = slice(w, 1, half, 2 * half);  // [N,D/2]
  const Tensor real = sum(a * c + b * d, {1}), imaginary = sum(b * c - a * d, {1});
  return abs(real + imaginary);  // [N]
}

// ---- as the derivation ends: one node

// |x|^2 overflows where |x| does not: lengths are taken of x / max |x|.
template <class T, class Team> HD T length(Team team, Index n, const T* x) {
  const T top = team.template max<T>(n, [=](Index j) { return x[j] < 0 ? -x[j] : x[j]; });
  if (!(top > 0)) return top;
  return top * std::sqrt(team.template sum<T>(n, [=](Index j) { return (x[j] / top) * (x[j] / top); }));
}

// s = |<u, t>| / (|u| |v|),  t = v + Jv.  `cosine` keeps the sign.
template <class T> struct AngleForward {
  const T *u, *v;
  Index D;
  T *s, *cosine, *u_length, *v_length;
  template <class Team> HD void operator()(Index r, Team team) const {
    const T *a = u + r * D, *c = v + r * D;
    const Index h = D / 2;
    const T lu = length(team, D, a), lv = length(team, D, c);
    const bool zero = lu == 0 || lv == 0;
    const T dot = team.template sum<T>(h, [=](Index j) {
      return (a[j] / lu) * ((c[j] - c[j + h]) / lv) + (a[j + h] / lu) * ((c[j + h] + c[j]) / lv);
    });
    if (team.leads()) {
      cosine[r] = zero ? T(0) : dot;
      s[r] = zero ? T(0) : dot < 0 ? -dot : dot;
      u_length[r] = lu;
      v_length[r] = lv;
    }
  }
};

// ds/dx = sigma (t' - <u', t'> x') / |x| for one side: t = y + Jy when x is u, and y - Jy when x is v.
template <class T> struct AngleBackward {
  const T *ds, *x, *y, *cosine, *x_length, *y_length;
  Index D;
  T turn;  // 1 for u, -1 for v
  T* dx;
  HD void operator()(Index r, Index j) const {
    const Index h = D / 2;
    const T c = cosine[r], sigma = c > 0 ? T(1) : c < 0 ? T(-1) : c;
    if (sigma == 0) return;
    const T *row = y + r * D, lx = x_length[r];
    const T turned = row[j] + (j < h ? -turn * row[j + h] : turn * row[j - h]);
    dx[r * D + j] += ds[r] * sigma * (turned / y_length[r] - c * (x[r * D + j] / lx)) / lx;
  }
};

// y = |<u, t>| / (|u| |v|)
// dy/du = sigma (t / |v| - c u / |u|) / |u|,  dy/dv = sigma (r / |u| - c v / |v|) / |v|,  c the value with its sign
struct AngleScores final : Op {
  Tensor cosine, u_length, v_length;  // [N]
  const char* name() const override { return "angle_scores"; }

  Tensor forward(In in) override {
    const Tensor& u = in[0];
    const Index N = u.size(0), D = u.size(1);
    Tensor s = empty({N}, u.dtype(), u.device());
    cosine = empty({N}, u.dtype(), u.device());
    u_length = empty({N}, u.dtype(), u.device());
    v_length = empty({N}, u.dtype(), u.device());
    dispatch_float(name(), u.dtype(), [&]<class T>() {
      launch_rows(u.device(), N, D,
                  AngleForward<T>{u.data<T>(), in[1].data<T>(), D, s.data_mut<T>(), cosine.data_mut<T>(),
                                  u_length.data_mut<T>(), v_length.data_mut<T>()});
    });
    return s;
  }

  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    const Index N = in[0].size(0), D = in[0].size(1);
    const Tensor* lengths[] = {&u_length, &v_length};
    for (const int side : {0, 1}) {
      if (!dx.wants(side)) continue;
      dispatch_float(name(), dy.dtype(), [&]<class T>() {
        launch_grid(dy.device(), N, D,
                    AngleBackward<T>{dy.data<T>(), in[std::size_t(side)].data<T>(), in[std::size_t(1 - side)].data<T>(),
                                     cosine.data<T>(), lengths[side]->data<T>(), lengths[1 - side]->data<T>(), D,
                                     side == 0 ? T(1) : T(-1), dx.into(side).template data_mut<T>()});
      });
    }
  }
};

}  // namespace

Tensor angle_scores(At u, const Tensor& v, Form form) {
  if (!u.tensor || !v) fail("angle", "needs u and v; one of them is undefined");
  check_same_kind("angle", u, v);
  if (u->rank() != 2 || u->shape() != v.shape()) {
    fail("angle", "needs two tensors [N,D] of one shape, got " + u->describe() + " and " + v.describe());
  }
  if (u->size(1) % 2)
    fail("angle", "the halves of a row are real and imaginary part: D must be even, got " + u->describe());
  return form == Form::closed ? apply(AngleScores{}, u, v) : definition(u, v);
}

Tensor angle(At u, const Tensor& v, const Tensor& labels, AngleOptions o) {
  const Tensor scores = angle_scores(u, v, o.form);
  return cosent(At(scores, u.line), labels, {.scale = o.scale, .form = o.form});
}

// ---- for the table of losses

namespace {

std::vector<LossSample> angle_samples(Rng& rng) {
  const auto vectors = [&](Index N, Index D, double size = 1) {
    return Inputs{{"u", size * randn({N, D}, rng, DType::f64)},
                  {"v", size * randn({N, D}, rng, DType::f64)},
                  {"labels", randint(4, {N}, rng).to(DType::f64) / 3}};
  };
  Inputs with_zero = vectors(5, 4);
  for (const Index i : {4, 5, 6, 7}) set_value(with_zero["v"], i, 0);
  Inputs equal = vectors(3, 6);
  equal["labels"] = ones({3}, DType::f64);
  return {
      {"4 pairs, scale 2", vectors(4, 2), {{"scale", 2.0}}},
      {"7 pairs", vectors(7, 6)},
      {"5 pairs of long vectors", vectors(5, 10, 30), {{"scale", 5.0}}},
      {"all labels equal", equal},
      {.what = "a zero vector", .inputs = with_zero, .extreme = true},
      {.what = "lengths of 1e15", .inputs = vectors(4, 4, 1e15), .options = {{"scale", 1.0}}, .extreme = true},
      {.what = "lengths of 1e-15", .inputs = vectors(4, 4, 1e-15), .options = {{"scale", 1.0}}, .extreme = true},
  };
}

}  // namespace

Losses angle_losses() {
  return {{.name = "angle",
           .family = Family::logsumexp,
           .formula = "cosent with s_r = |sum Re + sum Im of z_r conj(w_r)| / (|z_r| |w_r|)",
           .seeds = "A061",
           .task = "sentence similarity",
           .inputs = {{"u", "[N,2D]"}, {"v", "[N,2D]"}, {"labels", "[N]", Kind::constant}},
           .options = {{"scale", 20.0}},
           .run =
               [](const Arguments& a) {
                 return angle(a["u"], a["v"], a["labels"], {.scale = a.number("scale"), .form = a.form});
               },
           .samples = angle_samples}};
}

}  // namespace gradus
