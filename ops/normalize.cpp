// Layer norm. With d = x - mean, r = 1 / sqrt(mean(d^2) + eps) and h = d r (the normalized row), y = h weight + bias.
//
//   dweight = sum over rows of dy h        dbias = sum over rows of dy
//
// For dx let g = dy weight. h depends on x through d and through r:
//   dL/dd_j = g_j r + (dL/dr) dr/dd_j,   dL/dr = sum_k g_k d_k,   dr/dd_j = -r^3 d_j / D
//           = r (g_j - h_j mean(g h))                             since r^2 sum_k g_k d_k d_j / D = h_j mean(g h)
// and d = x - mean subtracts the mean of that; as mean(h) = 0,
//   dx_j = r (g_j - mean(g) - h_j mean(g h)).
// Kept: x, weight, and per row mean and r, so h is recomputed instead of stored.
//
// norm. y = |x|:  dx = dy x / |x|.   l2_normalize. y = x / |x|:  dx = (dy - y <dy, y>) / |x|, the part of dy along y removed.
#include "ops/normalize.h"

#include "ops/broadcast.h"
#include "ops/rows.h"

namespace gradus {
namespace {

template <class T> struct LayerNormForward {
  Index n;
  T eps;
  const T *x, *weight, *bias;  // weight and bias may be null
  T *y, *mean, *scale;
  std::size_t staging_bytes() const { return std::size_t(n) * sizeof(T); }
  template <class Team> HD void operator()(Index r, Team team) const {
    const T *row = team.stage(n, x + r * n), *w = weight, *b = bias;
    T* out = y + r * n;
    const T m = team.template sum<T>(n, [=](Index j) { return row[j]; }) / T(n);
    const T v = team.template sum<T>(n, [=](Index j) { return (row[j] - m) * (row[j] - m); }) / T(n);
    const T s = 1 / std::sqrt(v + eps);
    team.each(n, [=](Index j) { out[j] = (row[j] - m) * s * (w ? w[j] : T(1)) + (b ? b[j] : T(0)); });
    if (team.leads()) {
      mean[r] = m;
      scale[r] = s;
    }
  }
};

template <class T> struct LayerNormBackward {
  Index n;
  const T *dy, *x, *weight, *mean, *scale;
  T* dx;
  template <class Team> HD void operator()(Index r, Team team) const {
    const T *g = dy + r * n, *row = x + r * n, *w = weight, m = mean[r], s = scale[r];
    T* to = dx + r * n;
    const T mean_g = team.template sum<T>(n, [=](Index j) { return g[j] * (w ? w[j] : T(1)); }) / T(n);
    const T mean_gh =
        team.template sum<T>(n, [=](Index j) { return g[j] * (w ? w[j] : T(1)) * (row[j] - m) * s; }) / T(n);
    team.each(n, [=](Index j) { to[j] += s * (g[j] * (w ? w[j] : T(1)) - mean_g - (row[j] - m) * s * mean_gh); });
  }
};

// dy h, at the shape of x: summed over the rows it is dweight.
template <class T> struct TimesNormalized {
  Index n;
  const T *dy, *x, *mean, *scale;
  T* out;
  HD void operator()(Index r, Index c) const {
    const Index i = r * n + c;
    out[i] = dy[i] * (x[i] - mean[r]) * scale[r];
  }
};

// On a GPU: dweight and dbias of every parts-th row, for each column; one pass over dy and x for both.
template <class T> struct ParameterParts {
  Index rows, n, parts;
  const T *dy, *x, *mean, *scale;
  T *dweight, *dbias;  // [parts,n]
  HD void operator()(Index part, Index c) const {
    T w = 0, b = 0;
    for (Index r = part; r < rows; r += parts) {
      const T g = dy[r * n + c];
      w += g * (x[r * n + c] - mean[r]) * scale[r];
      b += g;
    }
    dweight[part * n + c] = w;
    dbias[part * n + c] = b;
  }
};

struct LayerNorm final : Op {
  double eps;
  Tensor mean, scale;  // [rows]
  explicit LayerNorm(double e) : eps(e) {}
  const char* name() const override { return "layer_norm"; }
  Tensor forward(In in) override {
    const Tensor& x = in[0];
    const Index n = x.size(-1), rows = x.numel() / std::max<Index>(1, n);
    Tensor y = empty(x.shape(), x.dtype(), x.device());
    mean = empty({rows}, x.dtype(), x.device());
    scale = empty({rows}, x.dtype(), x.device());
    dispatch_float("layer_norm", x.dtype(), [&]<class T>() {
      launch_rows(x.device(), rows, n,
                  LayerNormForward<T>{n, T(eps), x.data<T>(), kept<T>(in[1]), kept<T>(in[2]), y.data_mut<T>(),
                                      mean.data_mut<T>(), scale.data_mut<T>()});
    });
    return y;
  }
  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    const Tensor& x = in[0];
    const Index n = x.size(-1), rows = mean.numel();
    dispatch_float("layer_norm", x.dtype(), [&]<class T>() {
      const T *m = mean.data<T>(), *s = scale.data<T>();
      if (dx.wants(0)) {
        launch_rows(x.device(), rows, n,
                    LayerNormBackward<T>{n, dy.data<T>(), x.data<T>(), kept<T>(in[1]), m, s, dx.into(0).data_mut<T>()});
      }
      if (!x.device().is_cpu()) {
        if (dx.wants(1) || dx.wants(2)) parameters_on_device<T>(dy, x, dx);
      } else if (dx.wants(1)) {
        Tensor product = empty(dy.shape(), dy.dtype(), dy.device());
        launch_grid(x.device(), rows, n, TimesNormalized<T>{n, dy.data<T>(), x.data<T>(), m, s, product.data_mut<T>()});
        dx.add(1, summed_to(product, dx.shape(1)));
      }
    });
    if (dx.wants(2) && x.device().is_cpu()) dx.add(2, summed_to(dy, dx.shape(2)));
  }

 private:
  template <class T> void parameters_on_device(const Tensor& dy, const Tensor& x, Out dx) const {
    const Index n = x.size(-1), rows = mean.numel();
    // Enough parts for all of the device, of at least 32 rows each.
    const Index parts = std::clamp<Index>((Index(1) << 17) / std::max<Index>(1, n), 1, (rows + 31) / 32 + 1);
    Tensor dweight = empty({parts, n}, x.dtype(), x.device()), dbias = empty({parts, n}, x.dtype(), x.device());
    launch_grid(x.device(), parts, n,
                ParameterParts<T>{rows, n, parts, dy.data<T>(), x.data<T>(), mean.data<T>(), scale.data<T>(),
                                  dweight.data_mut<T>(), dbias.data_mut<T>()});
    if (dx.wants(1)) dx.add(1, summed_to(dweight, dx.shape(1)));
    if (dx.wants(2)) dx.add(2, summed_to(dbias, dx.shape(2)));
  }
};

// |x| with the greatest element divided out, so that squares neither overflow nor vanish.
template <class T, class Team> HD T length_of(Team team, Index n, const T* x) {
  const T m = team.template max<T>(n, [=](Index j) { return x[j] < 0 ? -x[j] : x[j]; });
  if (m != m || m == vmath::infinity<T>) return m;
  if (!(m > 0)) return 0;
  return m * std::sqrt(team.template sum<T>(n, [=](Index j) { return (x[j] / m) * (x[j] / m); }));
}

template <class T> struct NormForward {
  Index n;
  const T* x;
  T* y;
  template <class Team> HD void operator()(Index r, Team team) const {
    const T length = length_of(team, n, x + r * n);
    if (team.leads()) y[r] = length;
  }
};
template <class T> struct NormBackward {
  Index n;
  const T *dy, *x, *y;
  T* dx;
  template <class Team> HD void operator()(Index r, Team team) const {
    const T *row = x + r * n, g = dy[r], length = y[r];
    T* to = dx + r * n;
    if (length == 0) return;
    team.each(n, [=](Index j) { to[j] += g * (row[j] / length); });
  }
};
struct Norm final : Op {
  const char* name() const override { return "norm"; }
  Keep keep() const override { return Keep::both; }
  Tensor forward(In in) override {
    const Tensor& x = in[0];
    const Index n = x.size(-1);
    Tensor y = empty(x.shape().without(x.rank() - 1), x.dtype(), x.device());
    dispatch_float("norm", x.dtype(), [&]<class T>() {
      launch_rows(x.device(), y.numel(), n, NormForward<T>{n, x.data<T>(), y.data_mut<T>()});
    });
    return y;
  }
  void backward(const Tensor& dy, In in, const Tensor& y, Out dx) override {
    const Tensor& x = in[0];
    const Index n = x.size(-1);
    dispatch_float("norm", x.dtype(), [&]<class T>() {
      launch_rows(x.device(), y.numel(), n,
                  NormBackward<T>{n, dy.data<T>(), x.data<T>(), y.data<T>(), dx.into(0).data_mut<T>()});
    });
  }
};

struct L2Normalize {
  static constexpr auto name = "l2_normalize";
  static constexpr Keep keep = Keep::both;
  template <class T, class Team> HD void forward(Team team, Index n, const T* x, T* y) const {
    const T length = length_of(team, n, x);
    team.each(n, [=](Index j) { y[j] = length == 0 ? T(0) : x[j] / length; });
  }
  template <class T, class Team>
  HD void backward(Team team, Index n, const T* dy, const T* x, const T* y, T* dx) const {
    const T length = length_of(team, n, x);
    if (length == 0) return;
    const T along = team.template sum<T>(n, [=](Index j) { return dy[j] * y[j]; });
    team.each(n, [=](Index j) { dx[j] += (dy[j] - y[j] * along) / length; });
  }
};

void check_affine(const Tensor& x, const Tensor& w, const char* what) {
  if (!w) return;
  check_same_kind("layer_norm", x, w);
  if (w.shape() == Shape{x.size(-1)}) return;
  fail("layer_norm", std::string(what) + " " + w.describe() + " does not fit the last axis of " + x.describe());
}

}  // namespace

Tensor layer_norm(At x, const Tensor& weight, const Tensor& bias, double eps) {
  if (!(eps >= 0)) fail("layer_norm", "eps must not be negative, got " + std::to_string(eps));
  check_affine(x, weight, "weight");
  check_affine(x, bias, "bias");
  return apply(LayerNorm(eps), x, weight, bias);
}

Tensor norm(At x) {
  checked_axis("norm", x->shape(), -1);
  return apply(Norm{}, x);
}

Tensor l2_normalize(At x) { return apply(RowOp{L2Normalize{}}, x); }

}  // namespace gradus
