// What the tests of CoSENT share: its value and gradient on plain numbers, and what it compares.
#pragma once
#include <algorithm>
#include <cmath>
#include <numeric>

#include "losses/logsumexp/cosent.h"
#include "tests/support/loss_case.h"

namespace cosent_tools {

using namespace gradus;

inline double value(const Values& s, const Values& y, double k) { return cosent(vec(s), vec(y), {.scale = k}).item(); }
inline Values gradient(const Values& s, const Values& y, double k, DType dtype = DType::f64) {
  return slopes(vec(s).to(dtype), [&](const Tensor& x) { return cosent(x, vec(y).to(dtype), {.scale = k}); });
}
inline double total(const Values& v) { return std::accumulate(v.begin(), v.end(), 0.0); }
inline double cosine(const Values& a, const Values& b) {
  const auto dot = [](const Values& x, const Values& y) {
    return std::inner_product(x.begin(), x.end(), y.begin(), 0.0);
  };
  return dot(a, b) / std::sqrt(dot(a, a) * dot(b, b));
}

// k (s_j - s_i) of every pair with y_i > y_j.
inline Values comparisons(const Values& s, const Values& y, double k) {
  Values out;
  for (std::size_t i = 0; i < s.size(); ++i) {
    for (std::size_t j = 0; j < s.size(); ++j) {
      if (y[i] > y[j]) out.push_back(k * (s[j] - s[i]));
    }
  }
  return out;
}
inline double worst(const Values& s, const Values& y) {
  const Values gaps = comparisons(s, y, 1);
  return std::max(0.0, gaps.empty() ? 0.0 : *std::max_element(gaps.begin(), gaps.end()));
}

// The gradient as the source text prints it: the upper role alone; `with_one` keeps the 1 in the denominator.
inline Values upper_role(const Values& s, const Values& y, double k, bool with_one) {
  Values out(s.size(), 0);
  double all = with_one ? 1 : 0;
  for (const double c : comparisons(s, y, k)) all += std::exp(c);
  for (std::size_t i = 0; i < s.size(); ++i) {
    for (std::size_t j = 0; j < s.size(); ++j) {
      if (y[i] > y[j]) out[i] -= k * std::exp(k * (s[j] - s[i])) / all;
    }
  }
  return out;
}

inline Values random(Index n, int seed, double low = -1, double high = 1) {
  return between(low, high, {n}, seed).to_vector();
}
// Labels from few values, so that some tie.
inline Values grades(Index n, int seed) {
  Values y = random(n, seed, 0, 4);
  for (double& v : y) v = std::round(v) / 4;
  return y;
}

inline const Values printed_scores{.2, .6, .4}, printed_labels{1, .5, 0};

}  // namespace cosent_tools
