// cosent_hardest once the pairs are chosen: sums and gradient as bodies for any device; and hard negatives on a GPU.
//
// A list H_g belongs to each group g of equal labels. It only changes where a harder score enters, so a score is in the
// lists of consecutive groups, enter_j to leave_j - 1, and its two roles are two gathers without conflicts:
//
//   low_g = log sum_{j in H_g} e^{k s_j},   up_g = log sum_{i in g} e^{-k s_i}
//   L = log(1 + sum_i e^{low_{g(i)} - k s_i})
//   dL/ds_i = k (sum_{enter_i <= g < leave_i} e^{k s_i + up_g - L} - e^{low_{g(i)} - k s_i - L})
#pragma once
#include "losses/logsumexp/max_sum.h"

namespace gradus::mining {

// The choice, as indices. Members of g: sample[starts[g]] .. sample[starts[g+1]]; H_g: hard[lists[g]] .. hard[lists[g+1]].
struct Lists {
  const Index *sample, *starts, *hard, *lists, *group, *enter, *leave;
};

// Exponents k s over lists of indices: index[starts[r]] .. index[starts[r+1]] is row r.
template <class T> struct ListTerms {
  const T* s;
  double k;
  const Index *index, *starts;
  HD Index length(Index r) const { return starts[r + 1] - starts[r]; }
  HD double term(Index r, Index j) const { return k * double(s[index[starts[r] + j]]); }
};

// Logarithms of the rows of row_max_sums, in the place of their maxima.
struct Logs {
  double* parts;
  Index rows;
  HD void operator()(Index r) const { parts[r] = MaxSum{parts[r], parts[rows + r]}.log(); }
};

template <class T> struct Wins {
  const T* s;
  double k;
  const Index* group;
  const double* low;
  HD double operator()(Index i) const { return low[group[i]] - k * double(s[i]); }
};

template <class T> struct Gradient {
  const T *s, *dy;
  double k;
  Lists of;
  const double *low, *up, *L;
  T* ds;
  template <class Team> HD void operator()(Index i, Team team) const {
    const Index begin = of.enter[i];
    const double x = k * double(s[i]), loss = *L, *of_group = up + begin;
    const double loses =
        team.template sum<double>(of.leave[i] - begin, [=](Index g) { return vmath::exp(x + of_group[g] - loss); });
    if (team.leads()) ds[i] += T(double(*dy) * k * (loses - vmath::exp(low[of.group[i]] - x - loss)));
  }
};

// hardest_negatives on a GPU: the hardest of the other labels that is easier than the last one found, top_k times.
template <class T> struct RowNegatives {
  const T* similarity;
  const Index* label;
  Index N, top_k;
  Index* out;
  template <class Team> HD void operator()(Index i, Team team) const {
    const T* s = similarity + i * N;
    const Index* y = label;
    const Index own = y[i];
    T last = vmath::infinity<T>;
    Index at = -1;
    bool some = true;
    for (Index r = 0; r < top_k; ++r) {
      if (some) {
        // NaN is the hardest, so that it is not lost.
        const auto left = [=](Index j) {
          const T h = s[j] == s[j] ? s[j] : vmath::infinity<T>;
          return (y[j] != own) & ((h < last) | ((h == last) & (j > at)));
        };
        Index next = team.template argmax<T>(N, [=](Index j) {
          const T h = s[j] == s[j] ? s[j] : vmath::infinity<T>;
          return left(j) ? h : -vmath::infinity<T>;
        });
        if (!left(next)) next = team.template argmax<T>(N, [=](Index j) { return T(left(j)); });  // -inf, or none
        some = left(next);
        at = next;
        last = s[next] == s[next] ? s[next] : vmath::infinity<T>;
      }
      if (team.leads()) out[i * top_k + r] = some ? at : -1;
    }
  }
};

}  // namespace gradus::mining
