#include "ops/distance.h"

#include "ops/math.h"
#include "ops/matmul.h"
#include "ops/normalize.h"
#include "ops/reduce.h"
#include "ops/rows.h"
#include "ops/shape_ops.h"

namespace gradus {
namespace {

// d2_ij = sum_k (u_ik - v_jk)^2      du_ik = 2 sum_j dy_ij (u_ik - v_jk)      dv_jk = -2 sum_i dy_ij (u_ik - v_jk)
// By differences, not as |u|^2 + |v|^2 - 2 <u,v>: that form loses all digits of a small distance between long vectors.
template <class T> struct PairDistance {
  const T *u, *v;
  Index m, d;
  T* y;
  template <class Team> HD void operator()(Index pair, Team team) const {
    const T *a = u + pair / m * d, *b = v + pair % m * d;
    const T s = team.template sum<T>(d, [=](Index k) { return (a[k] - b[k]) * (a[k] - b[k]); });
    if (team.leads()) y[pair] = s;
  }
};
// The gradient of row i of one side: sign-free, since (u - v) is written from that side's point of view.
template <class T> struct PairDistanceSide {
  const T *dy, *own, *other;
  Index others, own_step, other_step, d;  // dy of (own i, other j) is dy[i * own_step + j * other_step]
  T* dx;
  template <class Team> HD void operator()(Index i, Team team) const {
    const T* a = own + i * d;
    T* to = dx + i * d;
    if constexpr (!Team::alone) {  // a thread keeps its column's sum in a register
      const PairDistanceSide f = *this;
      team.each(d, [=](Index k) {
        T s = 0;
        for (Index j = 0; j < f.others; ++j) {
          s += f.dy[i * f.own_step + j * f.other_step] * (a[k] - f.other[j * f.d + k]);
        }
        to[k] += 2 * s;
      });
    } else {
      for (Index j = 0; j < others; ++j) {
        const T g = 2 * dy[i * own_step + j * other_step], *b = other + j * d;
        team.each(d, [=](Index k) { to[k] += g * (a[k] - b[k]); });
      }
    }
  }
};

struct SquaredDistanceMatrix final : Op {
  const char* name() const override { return "squared_distance_matrix"; }
  Tensor forward(In in) override {
    const Index n = in[0].shape()[0], m = in[1].shape()[0], d = in[0].shape()[1];
    Tensor y = empty({n, m}, in[0].dtype(), in[0].device());
    dispatch_float(name(), y.dtype(), [&]<class T>() {
      launch_rows(y.device(), n * m, d, PairDistance<T>{in[0].data<T>(), in[1].data<T>(), m, d, y.data_mut<T>()});
    });
    return y;
  }
  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    const Index n = in[0].shape()[0], m = in[1].shape()[0], d = in[0].shape()[1];
    dispatch_float(name(), dy.dtype(), [&]<class T>() {
      const T *g = dy.data<T>(), *u = in[0].data<T>(), *v = in[1].data<T>();
      if (dx.wants(0)) {
        launch_rows(dy.device(), n, m * d, PairDistanceSide<T>{g, u, v, m, m, 1, d, dx.into(0).data_mut<T>()});
      }
      if (dx.wants(1)) {
        launch_rows(dy.device(), m, n * d, PairDistanceSide<T>{g, v, u, n, 1, m, d, dx.into(1).data_mut<T>()});
      }
    });
  }
};

void check_rows(std::string_view op, const Tensor& u, const Tensor& v) {
  check_same_kind(op, u, v);
  if (u.rank() == 0 || u.shape() != v.shape()) {
    fail(op, "needs two tensors [..,D] of one shape, got " + u.describe() + " and " + v.describe());
  }
}
void check_matrices(std::string_view op, const Tensor& u, const Tensor& v) {
  check_same_kind(op, u, v);
  if (u.rank() != 2 || v.rank() != 2 || u.shape()[1] != v.shape()[1]) {
    fail(op, "needs [N,D] and [M,D], got " + u.describe() + " and " + v.describe());
  }
}

}  // namespace

Tensor dot(At u, const Tensor& v) {
  check_rows("dot", u, v);
  const Tensor product = u * At(v, u.line);
  return sum(At(product, u.line), {-1});
}

Tensor cosine_similarity(At u, const Tensor& v) {
  check_rows("cosine_similarity", u, v);
  const Tensor a = l2_normalize(u), b = l2_normalize(At(v, u.line));
  return dot(At(a, u.line), b);
}

Tensor squared_distance(At u, const Tensor& v) {
  check_rows("squared_distance", u, v);
  const Tensor gap = u - At(v, u.line);
  return dot(At(gap, u.line), gap);
}

Tensor euclidean_distance(At u, const Tensor& v) {
  check_rows("euclidean_distance", u, v);
  const Tensor gap = u - At(v, u.line);
  return norm(At(gap, u.line));
}

Tensor cosine_matrix(At u, const Tensor& v) {
  check_matrices("cosine_matrix", u, v);
  const Tensor a = l2_normalize(u), b = l2_normalize(At(v, u.line));
  return matmul(At(a, u.line), b, {.transpose_b = true});
}

Tensor squared_distance_matrix(At u, const Tensor& v) {
  check_matrices("squared_distance_matrix", u, v);
  return apply(SquaredDistanceMatrix{}, u, v);
}

}  // namespace gradus
