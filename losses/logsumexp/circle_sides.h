// The two sides of circle loss as bodies for any device: exponents, their log-sum-exps by rows, and the pull on one
// similarity. A side is a list of similarities, or those pairs i < j of a matrix whose labels are equal or differ.
#pragma once
#include "losses/logsumexp/max_sum.h"

namespace gradus {

struct CircleMargins {
  double gamma, delta_p, delta_n, m;
  bool weighted;
};

// The exponents g a_j (n_j - Dn), or -g b_i (p_i - Dp) with sign -1, and their slopes g a_j or -g b_i. In double: with
// g = 256 a float keeps too few digits of them.
template <class T> struct CircleSide {
  const T* s;
  double gamma, delta, m, sign;
  bool weighted;
  HD double slope(Index i) const {
    const double distance = sign > 0 ? double(s[i]) + m : 1 + m - double(s[i]);
    return sign * gamma * (weighted ? distance < 0 ? 0 : distance : 1);
  }
  HD double exponent(Index i) const { return slope(i) * (double(s[i]) - delta); }
};

template <class T> struct SideExponent {
  CircleSide<T> side;
  HD double operator()(Index i) const { return side.exponent(i); }
};

// The pairs i < j of a matrix [N,N], those of one side: in row i what stands right of the diagonal.
template <class T> struct PairExponents {
  CircleSide<T> side;
  const Index* label;
  Index N;
  bool equal;
  HD Index length(Index i) const { return N - 1 - i; }
  HD double term(Index i, Index k) const {
    const Index j = i + 1 + k;
    const double e = side.exponent(i * N + j);
    return (label[i] == label[j]) == equal ? e : -vmath::infinity<double>;
  }
};

// L = log(1 + e^{A + B}) of the rows of both sides
template <class T> struct CircleLoss {
  const double *positive, *negative;
  Index P, Q;    // rows
  double* sums;  // B, A, B: each side finds its own first and the other after it
  T* loss;
  template <class Team> HD void operator()(Index, Team team) const {
    const double B = join_rows(team, P, positive).log(), A = join_rows(team, Q, negative).log(), v = A + B;
    if (team.leads()) {
      sums[0] = sums[2] = B;
      sums[1] = A;
      *loss = T(v > 0 ? v + vmath::log1p(vmath::exp(-v)) : vmath::log1p(vmath::exp(v)));
    }
  }
};

// dL/ds_i = slope_i e^{exponent_i - own} (1 - e^{-L}) from the log sums of its side and of the other
template <class T> HD double circle_pull(const CircleSide<T>& side, Index i, double own, double other) {
  const double v = own + other;
  const double log_pull = v < 0 ? v - vmath::log1p(vmath::exp(v)) : -vmath::log1p(vmath::exp(-v));  // log(1 - e^{-L})
  return side.slope(i) * vmath::exp(at_most_0(side.exponent(i) - own) + log_pull);
}

template <class T> struct CircleGradient {
  CircleSide<T> side;
  const T* dy;
  const double* sums;  // of this side and of the other
  T* ds;
  HD void operator()(Index i) const { ds[i] += T(double(dy[0]) * circle_pull(side, i, sums[0], sums[1])); }
};

template <class T> struct PairGradient {
  CircleSide<T> positive, negative;
  const Index* label;
  Index N;
  const T* dy;
  const double* sums;
  T* ds;
  HD void operator()(Index i, Index j) const {
    if (j <= i) return;
    const Index at = i * N + j;
    const bool equal = label[i] == label[j];
    ds[at] += T(double(dy[0]) *
                (equal ? circle_pull(positive, at, sums[0], sums[1]) : circle_pull(negative, at, sums[1], sums[2])));
  }
};

template <class T>
CircleSide<T> circle_side(const Tensor& s, const CircleMargins& k, int i) {  // 0: positive, 1: negative
  return {s.data<T>(), k.gamma, i ? k.delta_n : k.delta_p, k.m, i ? 1. : -1., k.weighted};
}

template <class T> void finish_circle(const Tensor& positive, const Tensor& negative, Tensor& sums, Tensor& y) {
  launch_rows(y.device(), 1, positive.size(1) + negative.size(1),
              CircleLoss<T>{positive.data<double>(), negative.data<double>(), positive.size(1), negative.size(1),
                            sums.data_mut<double>(), y.data_mut<T>()});
}

}  // namespace gradus
