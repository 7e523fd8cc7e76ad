// Which triplets of one anchor count: the three rules of triplet_mining.h, on the anchor's row of distances.
#pragma once
#include <algorithm>
#include <vector>

#include "ops/vector_math.h"

namespace gradus {

// What one anchor adds up to.
struct Tally {
  double loss = 0;
  Index valid = 0, active = 0;  // triplets chosen; those with a hinge above 0
};

// One row j at distance d from the anchor.
struct Neighbour {
  double d;
  Index j;
  bool operator<(const Neighbour& other) const { return d < other.d || (d == other.d && j < other.j); }
};

// The workspace of one anchor, O(N). Sums are in double, so that differences of prefix sums keep their digits.
struct Anchor {
  std::vector<double> d, slope, prefix;  // [N] distances; [N] dloss/dd; sums of the sorted negatives
  std::vector<Neighbour> positives, negatives;
  std::vector<Index> ends;
  bool ordered = true;  // no distance is NaN

  explicit Anchor(Index N) : d(std::size_t(N)), slope(std::size_t(N)) {}

  void divide(Index a, const Index* labels) {
    positives.clear();
    negatives.clear();
    ordered = true;
    for (Index j = 0; j < Index(d.size()); ++j) {
      const double v = d[std::size_t(j)];
      ordered = ordered && v == v;
      if (labels[j] != labels[a]) {
        negatives.push_back({v, j});
      } else if (j != a) {
        positives.push_back({v, j});
      }
    }
  }

  // The tally; where `to` is given also dloss/dd(a,j) for all j.
  template <class Rule> Tally judge(double margin, double* to) {
    if (to) std::fill(to, to + d.size(), 0.0);
    if (positives.empty() || negatives.empty()) return {};
    if (!ordered) {
      if (to) std::fill(to, to + d.size(), vmath::nan<double>);
      return {.loss = vmath::nan<double>, .valid = 1, .active = 1};
    }
    return Rule::judge(*this, margin, to);
  }

  // One triplet: its hinge into the tally, its slope into `to`.
  static void add(Tally& t, const Neighbour& p, const Neighbour& n, double margin, double* to) {
    const double h = p.d - n.d + margin;
    ++t.valid;
    if (!(h > 0)) return;
    ++t.active;
    t.loss += h;
    if (!to) return;
    to[p.j] += 1;
    to[n.j] -= 1;
  }
};

// All triplets, by prefix sums over the sorted negatives.
struct BatchAll {
  static constexpr auto name = "triplet_batch_all";
  static Tally judge(Anchor& a, double margin, double* to) {
    std::sort(a.positives.begin(), a.positives.end());
    std::sort(a.negatives.begin(), a.negatives.end());
    const std::size_t Q = a.negatives.size();
    a.prefix.assign(Q + 1, 0);
    for (std::size_t i = 0; i < Q; ++i) a.prefix[i + 1] = a.prefix[i] + a.negatives[i].d;
    a.ends.assign(Q + 1, 0);  // how many positives have c = the index
    Tally t;
    std::size_t c = 0;
    for (const Neighbour& p : a.positives) {
      while (c < Q && p.d - a.negatives[c].d + margin > 0) ++c;
      t.loss += double(c) * (p.d + margin) - a.prefix[c];
      t.active += Index(c);
      ++a.ends[c];
      if (to) to[p.j] += double(c);
    }
    t.valid = Index(a.positives.size() * Q);
    if (!to) return t;
    Index open = 0;  // positives with c > i
    for (std::size_t i = Q; i-- > 0;) {
      open += a.ends[i + 1];
      to[a.negatives[i].j] -= double(open);
    }
    return t;
  }
};

// The farthest positive and the nearest negative.
struct BatchHard {
  static constexpr auto name = "triplet_batch_hard";
  static Tally judge(Anchor& a, double margin, double* to) {
    const auto nearer = [](const Neighbour& x, const Neighbour& y) { return x.d < y.d; };  // the first of equals
    Tally t;
    Anchor::add(t, *std::max_element(a.positives.begin(), a.positives.end(), nearer),
                *std::min_element(a.negatives.begin(), a.negatives.end(), nearer), margin, to);
    return t;
  }
};

// For each positive the nearest negative farther off, or else the farthest.
struct SemiHard {
  static constexpr auto name = "triplet_semi_hard";
  static Tally judge(Anchor& a, double margin, double* to) {
    std::sort(a.negatives.begin(), a.negatives.end());
    const auto first_beyond = [&](double d) {
      return std::upper_bound(a.negatives.begin(), a.negatives.end(), d,
                              [](double v, const Neighbour& n) { return v < n.d; });
    };
    const auto farthest = std::lower_bound(a.negatives.begin(), a.negatives.end(), a.negatives.back().d,
                                           [](const Neighbour& n, double v) { return n.d < v; });
    Tally t;
    for (const Neighbour& p : a.positives) {
      const auto n = first_beyond(p.d);
      Anchor::add(t, p, n == a.negatives.end() ? *farthest : *n, margin, to);
    }
    return t;
  }
};

}  // namespace gradus
