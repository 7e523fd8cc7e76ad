// The GPU's way through triplet_mining.h: a team per anchor sorts the anchor's row of distances where its rule needs that,
// and each thread answers for its own neighbours, by binary search. mining_rules.h is the CPU's way, with std::sort; both
// choose the same triplets.
//
// Nothing is scattered. What a negative takes part in is not added to by the positives, it is counted from the sorted
// positives: the hinge p - n + m is monotone in both, in rounded arithmetic too, so those that are open lie side by side.
#pragma once
#include "losses/distance/mining_rules.h"
#include "losses/distance/pair.h"

namespace gradus::mining {

// ---- a row: one anchor's neighbours, in groups

enum Group : Index { positive, negative, itself };
constexpr Index group_bit = Index(1) << 40;

struct Ranked {
  double d;
  Index code;  // group * group_bit + row
  HD Index row() const { return code & (group_bit - 1); }
  HD bool in(Group g) const { return code / group_bit == g; }
};
// By group, then by distance, then by row; what a sorted row is ordered by.
HD inline bool before(const Ranked& a, const Ranked& b) {
  const Index ga = a.code / group_bit, gb = b.code / group_bit;
  return ga != gb ? ga < gb : a.d != b.d ? a.d < b.d : a.code < b.code;
}

// Bitonic sort for any n: every exchange puts the smaller one to the left, so that one may think of infinities behind
// the end and leave out the exchanges with them.
template <class Team> HD void sort_row(Team team, Ranked* x, Index n) {
  for (int stage = 0; (Index(1) << stage) < n; ++stage) {
    for (int bit = stage; bit >= 0; --bit) {
      const Index half = Index(1) << bit, blocks = (n + 2 * half - 1) >> (bit + 1);
      const bool mirrored = bit == stage;  // two sorted halves, the second read backwards
      team.sync();
      team.each(blocks * half, [=](Index t) {
        const Index begin = (t >> bit) * 2 * half, k = t & (half - 1);
        const Index i = begin + k, j = mirrored ? begin + 2 * half - 1 - k : i + half;
        if (j >= n || !before(x[j], x[i])) return;
        const Ranked low = x[j];
        x[j] = x[i];
        x[i] = low;
      });
    }
  }
  team.sync();
}

// How many entries at the front pass a test that holds up to some place and not beyond.
template <class F> HD Index count_leading(const Ranked* x, Index n, F test) {
  Index low = 0, high = n;
  while (low < high) {
    const Index middle = (low + high) / 2;
    if (test(x[middle])) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

// The two sorted stretches of a row, and the hinges between them.
struct Sides {
  const Ranked *p, *n;
  Index P, Q;
  double margin;
  HD double hinge(Index i, Index k) const { return p[i].d - n[k].d + margin; }
  HD Index closed_below(Index k) const {  // positives whose hinge with negative k is closed: the near ones
    const double far = n[k].d, m = margin;
    return count_leading(p, P, [=](const Ranked& x) { return !(x.d - far + m > 0); });
  }
  HD Index open_above(Index i) const {  // negatives whose hinge with positive i is open: the near ones
    const double near = p[i].d, m = margin;
    return count_leading(n, Q, [=](const Ranked& x) { return near - x.d + m > 0; });
  }
  HD Index positives_below(double d) const {
    return count_leading(p, P, [=](const Ranked& x) { return x.d < d; });
  }
  HD Index negatives_up_to(double d) const {
    return count_leading(n, Q, [=](const Ranked& x) { return !(d < x.d); });
  }
};

// ---- the rules. tally() adds up an anchor; slope_of_positive/negative: dL/dd of entry i of the sorted stretch

template <class Rule> struct Choice;

template <> struct Choice<BatchAll> {
  Sides s;
  HD double slope_of_positive(Index i) const { return double(s.open_above(i)); }
  HD double slope_of_negative(Index k) const { return -double(s.P - s.closed_below(k)); }
  // sum over open hinges of (d_p + m) - d_n, each side counted for itself
  template <class Team> HD Tally tally(Team team) const {
    const Choice f = *this;
    const Index open = team.template sum<Index>(s.P, [=](Index i) { return f.s.open_above(i); });
    const double near =
        team.template sum<double>(s.P, [=](Index i) { return f.slope_of_positive(i) * (f.s.p[i].d + f.s.margin); });
    const double far = team.template sum<double>(s.Q, [=](Index k) {
      const double slope = f.slope_of_negative(k);
      return slope == 0 ? 0. : slope * f.s.n[k].d;
    });
    return {.loss = near + far, .valid = s.P * s.Q, .active = open};
  }
};

template <> struct Choice<SemiHard> {
  Sides s;
  // The negative that positive i takes: the first beyond it, or else the first of the farthest.
  HD Index taken(Index i) const {
    const Index k = s.negatives_up_to(s.p[i].d);
    return k < s.Q ? k : first_farthest();
  }
  HD Index first_farthest() const {
    const double far = s.n[s.Q - 1].d;
    return count_leading(s.n, s.Q, [=](const Ranked& x) { return x.d < far; });
  }
  HD double slope_of_positive(Index i) const { return double(s.hinge(i, taken(i)) > 0); }
  // Negative k is taken by the positives in d_{k-1} <= d < d_k; the first of the farthest also by all beyond it.
  HD double slope_of_negative(Index k) const {
    const Index closed = s.closed_below(k), start = k == 0 ? 0 : s.positives_below(s.n[k - 1].d);
    const Index all_below = s.positives_below(s.n[k].d);
    Index open = above(all_below, start > closed ? start : closed);
    if (k == first_farthest()) open += above(s.P, all_below > closed ? all_below : closed);
    return -double(open);
  }
  template <class Team> HD Tally tally(Team team) const {
    const Choice f = *this;
    const auto open = [=](Index i) {
      const double h = f.s.hinge(i, f.taken(i));
      return h > 0 ? h : 0.;
    };
    const double loss = team.template sum<double>(s.P, open);
    const Index active = team.template sum<Index>(s.P, [=](Index i) { return Index(open(i) > 0); });
    return {.loss = loss, .valid = s.P, .active = active};
  }

 private:
  HD static Index above(Index end, Index begin) { return end > begin ? end - begin : 0; }
};

// ---- one anchor: its tally, or its row of pulls

// s_aj = dL/dd(a,j) / d(a,j), with the upstream gradient and the mean in it
template <class T> struct Pull {
  T* s;  // [N], or null: not wanted
  double factor;
  HD void operator()(const Ranked& x, double slope) const { s[x.row()] = x.d == 0 ? T(0) : T(factor * slope / x.d); }
};

template <class Rule> struct Judge {
  template <class T, class Team>
  HD static Tally of(Team team, Ranked* x, Index N, Index P, Index Q, double margin, const Pull<T>& to) {
    sort_row(team, x, N);
    const Choice<Rule> sorted{{x, x + P, P, Q, margin}};
    if (!to.s) return sorted.tally(team);
    team.each(N, [=](Index i) {
      to(x[i], i < P ? sorted.slope_of_positive(i) : i < P + Q ? sorted.slope_of_negative(i - P) : 0.);
    });
    return {};
  }
};

template <> struct Judge<BatchHard> {
  template <class T, class Team>
  HD static Tally of(Team team, Ranked* x, Index N, Index, Index, double margin, const Pull<T>& to) {
    const Index p = extreme(team, x, N, positive, 1), n = extreme(team, x, N, negative, -1);
    const double h = x[p].d - x[n].d + margin;
    const bool open = h > 0;
    if (!to.s) return {.loss = open ? h : 0, .valid = 1, .active = Index(open)};
    team.each(N, [=](Index i) { to(x[i], !open ? 0. : i == p ? 1. : i == n ? -1. : 0.); });
    return {};
  }
  // The first of the group at which side * d is greatest; infinities of the group count for more than other groups.
  template <class Team> HD static Index extreme(Team team, const Ranked* x, Index N, Group g, double side) {
    const Index k =
        team.template argmax<double>(N, [=](Index j) { return x[j].in(g) ? side * x[j].d : -vmath::infinity<double>; });
    if (x[k].in(g)) return k;
    return team.template argmax<double>(N, [=](Index j) { return double(x[j].in(g)); });
  }
};

// Anchors first, first + 1, ... of N. Forwards: `loss` and `counted` of each; backwards: the rows s [N,N].
template <class T, class Rule> struct MineRow {
  Index first = 0, N = 0;
  double margin = 0;
  bool over_active = false;
  Ranked* ranked = nullptr;                    // a row of N for each of these anchors
  double *loss = nullptr, *counted = nullptr;  // [N] each
  const T* dy = nullptr;                       // [N]
  const double* scale = nullptr;               // [1]
  T* s = nullptr;                              // [N,N]
  template <class Team> HD void operator()(Index r, Team team) const {
    const Index a = first + r, n = N;
    Ranked* x = ranked + r * n;
    const Index P = team.template sum<Index>(n, [=](Index j) { return Index(x[j].in(positive)); });
    const Index Q = team.template sum<Index>(n, [=](Index j) { return Index(x[j].in(negative)); });
    const Index unordered = team.template sum<Index>(n, [=](Index j) { return Index(x[j].d != x[j].d); });
    const Pull<T> to{s ? s + a * n : nullptr, s ? double(dy[a]) * scale[0] : 0};
    const bool nothing = P == 0 || Q == 0 || (s && dy[a] == 0);
    Tally t;
    if (nothing || unordered > 0) {
      const double v = nothing ? 0. : vmath::nan<double>;
      if (!nothing) t = {.loss = v, .valid = 1, .active = 1};
      if (s) team.each(n, [=](Index i) { to(x[i], v); });
    } else {
      t = Judge<Rule>::template of<T>(team, x, n, P, Q, margin, to);
    }
    if (!loss || !team.leads()) return;
    loss[a] = t.loss;
    counted[a] = double(over_active ? t.active : t.valid);
  }
};

// ---- distances, and the gradient of the embeddings

// y_kj = x_jk
template <class T> struct Across {
  Index N, D;
  const T* x;
  T* y;
  HD void operator()(Index k, Index j) const { y[k * N + j] = x[j * D + k]; }
};

// d(a,j) of four anchors a, so that row j is read once for four. Threads with neighbouring j read neighbouring memory.
template <class T> struct Distances {
  static constexpr int four = 4;
  Index first, anchors, N, D;
  const T* across;  // [D,N]
  const Index* labels;
  Ranked* ranked;  // [anchors,N]
  HD void operator()(Index group, Index j) const {
    Index a[four];
    T total[four];
    for (int q = 0; q < four; ++q) {
      const Index r = group * four + q;
      a[q] = first + (r < anchors ? r : anchors - 1);
      total[q] = 0;
    }
    constexpr Index block = 32;  // the rounding is that of short sums
    for (Index begin = 0; begin < D; begin += block) {
      const Index end = begin + block < D ? begin + block : D;
      T s[four] = {0, 0, 0, 0};
      for (Index k = begin; k < end; ++k) {
        const T* row = across + k * N;
        const T v = row[j];
        for (int q = 0; q < four; ++q) s[q] += (row[a[q]] - v) * (row[a[q]] - v);
      }
      for (int q = 0; q < four; ++q) total[q] += s[q];
    }
    for (int q = 0; q < four && group * four + q < anchors; ++q) {
      const Group g = labels[j] != labels[a[q]] ? negative : j == a[q] ? itself : positive;
      ranked[(group * four + q) * N + j] = {double(root(total[q], a[q], j)), g * group_bit + j};
    }
  }
  HD T root(T square, Index a, Index j) const {
    if (square > least_safe_square<T> && square < vmath::infinity<T>) return std::sqrt(square);
    const T* y = across;
    const Index n = N;
    return length_of<T>(CpuTeam{}, D, [=](Index k) { return y[k * n + a] - y[k * n + j]; });
  }
};

// de_i = sum_j (s_ij + s_ji) (e_i - e_j)
template <class T> struct PullGradient {
  Index N, D;
  const T *s, *x;
  T* de;
  HD void operator()(Index i, Index k) const {
    const T own = x[i * D + k];
    T total = 0;
    for (Index j = 0; j < N; ++j) {
      const T c = s[i * N + j] + s[j * N + i];
      if (c != 0) total += c * (own - x[j * D + k]);
    }
    de[i * D + k] += total;
  }
};

}  // namespace gradus::mining
