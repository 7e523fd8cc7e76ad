#include "losses/combine/gram_weights.h"

#include <algorithm>
#include <cmath>

#include "engine/random.h"

namespace gradus {
namespace {

// A symmetric matrix as plain numbers.
struct Gram {
  std::size_t K;
  std::vector<double> values;
  double operator()(std::size_t i, std::size_t j) const { return values[i * K + j]; }
};

Gram checked(const char* op, const Tensor& gram) {
  if (!gram || gram.rank() != 2 || gram.size(0) != gram.size(1)) {
    fail(op, "needs the inner products of K gradients, [K,K], got " + (gram ? gram.describe() : "nothing"));
  }
  return {std::size_t(gram.size(0)), gram.to_vector()};
}

// ---- MGDA: Wolfe's method for the shortest point d = sum_k w_k g_k of a convex hull

// Weights v over the support, summing to 1 and of any sign, with the shortest v^T g. With b the shortest of the
// support, v = e_b + sum_k y_k (e_k - e_b) and y solves <g_k - g_b, g_l - g_b> y_l = -<g_k - g_b, g_b>.
bool shortest_in_plane(const Gram& G, std::vector<std::size_t> support, std::vector<double>& v) {
  std::iter_swap(support.begin(), std::min_element(support.begin(), support.end(),
                                                   [&](std::size_t i, std::size_t j) { return G(i, i) < G(j, j); }));
  const std::size_t b = support[0], n = support.size() - 1;
  std::vector<double> A(n * n), y(n);
  for (std::size_t r = 0; r < n; ++r) {
    const std::size_t k = support[r + 1];
    y[r] = G(b, b) - G(k, b);
    for (std::size_t c = 0; c < n; ++c) {
      const std::size_t l = support[c + 1];
      A[r * n + c] = (G(k, l) - G(k, b)) + (G(b, b) - G(b, l));
    }
  }
  if (!solve(std::move(A), y)) return false;
  v.assign(G.K, 0);
  v[b] = 1;
  for (std::size_t r = 0; r < n; ++r) v[support[r + 1]] = y[r], v[b] -= y[r];
  return true;
}

// The task k whose gradient is farthest behind d, <d, g_k> < |d|^2 by more than rounding; K when there is none.
std::size_t farthest_behind(const Gram& G, const std::vector<double>& w) {
  std::vector<double> along(G.K, 0), rounding(G.K, 0);  // <d, g_k>
  double length = 0, noise = 0;
  for (std::size_t k = 0; k < G.K; ++k) {
    for (std::size_t j = 0; j < G.K; ++j) {
      along[k] += w[j] * G(k, j);
      rounding[k] += w[j] * std::abs(G(k, j));
    }
    length += w[k] * along[k];
    noise += w[k] * rounding[k];
  }
  const std::size_t k = std::size_t(std::min_element(along.begin(), along.end()) - along.begin());
  return along[k] < length - 1e-14 * (rounding[k] + noise) ? k : G.K;
}

// Moves w to the shortest point over its support and `entering`; tasks that would turn negative leave on the way.
bool descend(const Gram& G, std::size_t entering, std::vector<double>& w) {
  std::vector<std::size_t> support;
  for (std::size_t k = 0; k < G.K; ++k) {
    if (w[k] > 0 || k == entering) support.push_back(k);
  }
  for (std::vector<double> v; !support.empty();) {
    if (!shortest_in_plane(G, support, v)) return false;
    double step = 1;
    std::size_t first = G.K;  // whose weight is the first to reach 0
    for (const std::size_t k : support) {
      if (v[k] < 0 && w[k] / (w[k] - v[k]) <= step) step = w[k] / (w[k] - v[k]), first = k;
    }
    for (const std::size_t k : support) w[k] += step * (v[k] - w[k]);
    if (first == G.K) break;
    w[first] = 0;
    support.erase(std::find(support.begin(), support.end(), first));
  }
  return true;
}

}  // namespace

bool solve(std::vector<double> A, std::vector<double>& b) {
  const std::size_t n = b.size();
  double greatest = 0;
  for (const double a : A) greatest = std::max(greatest, std::abs(a));
  for (std::size_t c = 0; c < n; ++c) {
    std::size_t pivot = c;
    for (std::size_t r = c + 1; r < n; ++r) {
      if (std::abs(A[r * n + c]) > std::abs(A[pivot * n + c])) pivot = r;
    }
    if (!(std::abs(A[pivot * n + c]) > 1e-15 * greatest)) return false;
    for (std::size_t j = 0; j < n; ++j) std::swap(A[c * n + j], A[pivot * n + j]);
    std::swap(b[c], b[pivot]);
    for (std::size_t r = c + 1; r < n; ++r) {
      const double f = A[r * n + c] / A[c * n + c];
      for (std::size_t j = c; j < n; ++j) A[r * n + j] -= f * A[c * n + j];
      b[r] -= f * b[c];
    }
  }
  for (std::size_t c = n; c-- > 0;) {
    for (std::size_t j = c + 1; j < n; ++j) b[c] -= A[c * n + j] * b[j];
    b[c] /= A[c * n + c];
  }
  return true;
}

std::vector<std::vector<Index>> pcgrad_orders(Index K, const PcGradOptions& o) {
  Rng rng(o.seed);
  std::vector<std::vector<Index>> orders(static_cast<std::size_t>(K));
  for (Index k = 0; k < K; ++k) {
    std::vector<Index>& order = orders[std::size_t(k)];
    if (o.shuffle) {
      order = rng.permutation(K);
    } else {
      for (Index j = 0; j < K; ++j) order.push_back(j);
    }
    order.erase(std::find(order.begin(), order.end(), k));
  }
  return orders;
}

Tensor pcgrad_weights(const Tensor& gram, const PcGradOptions& o) {
  const Gram G = checked("pcgrad", gram);
  const auto orders = pcgrad_orders(Index(G.K), o);
  std::vector<double> w(G.K, 0), c(G.K);
  for (std::size_t k = 0; k < G.K; ++k) {
    std::fill(c.begin(), c.end(), 0);
    c[k] = 1;  // g_k' = sum_i c_i g_i
    for (const Index other : orders[k]) {
      const std::size_t j = std::size_t(other);
      double along = 0;  // <g_k', g_j>
      for (std::size_t i = 0; i < G.K; ++i) along += c[i] * G(i, j);
      if (along < 0 && G(j, j) > 0) c[j] -= along / G(j, j);
    }
    for (std::size_t i = 0; i < G.K; ++i) w[i] += c[i];
  }
  return tensor(w, DType::f64, gram.device());
}

Tensor mgda_weights(const Tensor& gram) {
  const Gram G = checked("mgda", gram);
  std::vector<double> w(G.K, 0);
  if (G.K == 0) return tensor(w, DType::f64, gram.device());
  std::size_t shortest = 0;
  for (std::size_t k = 0; k < G.K; ++k) {
    if (!std::isfinite(G(k, k))) return full({Index(G.K)}, std::nan(""), DType::f64, gram.device());
    if (G(k, k) < G(shortest, shortest)) shortest = k;
  }
  w[shortest] = 1;
  // Each support is met once, for |d| falls from one to the next; rounding alone could make it go round.
  for (std::size_t round = 0; round < 100 + 20 * G.K; ++round) {
    const std::size_t k = farthest_behind(G, w);
    if (k == G.K || w[k] > 0 || !descend(G, k, w)) break;
  }
  return tensor(w, DType::f64, gram.device());
}

}  // namespace gradus
