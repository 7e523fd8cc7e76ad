// CoSENT on a GPU: a stable sort by label, two running sums over the sorted scores, and one kernel for the gradient.
//
//   lower_p  = log sum_{y_q < y_p} e^{x_q}     x = k s: the running sum up to the start of p's group of equal labels
//   higher_p = log sum_{y_q > y_p} e^{-x_q}    the same from the other end
//
// The sums run over MaxSum pairs (max_sum.h), and each carries the place where the current group starts: what stands
// before that place is the exclusive sum, so ties are exact. On the CPU ranked.h does the same with one pass and vector
// loops.
#pragma once
#include "losses/logsumexp/max_sum.h"
#include "ops/sort.h"

namespace gradus::cosent_device {

// What i should lose less what i should win.
[[gnu::always_inline]] HD inline double pull_of(double x, double lower, double higher, double L) {
  return vmath::exp(x + higher - L) - vmath::exp(lower - x - L);
}

// Scores and group starts in the order of the labels: order[p] says which score is p-th.
template <class T, class Y> struct Gather {
  const T* s;
  const Y* y;
  const Index* order;
  const double* k;
  double* x;
  std::uint8_t* begins;
  HD void operator()(Index p) const {
    x[p] = *k * double(s[order[p]]);
    begins[p] = p == 0 || y[order[p]] != y[order[p - 1]];
  }
};

struct Running {
  MaxSum terms;
  Index edge;  // the first place of the group, or the last when the sum runs from the end
};

// Sign 1: upwards over e^x.  Sign -1: downwards over e^-x.
template <int Sign> struct GroupScan {
  const double* x;
  const std::uint8_t* begins;
  Index n;
  double* total;
  Index* edge;
  using Value = Running;
  HD Value load(Index p) const {
    if (Sign > 0) return {{x[p], 1}, begins[p] ? p : 0};
    return {{-x[p], 1}, p + 1 == n || begins[p + 1] ? p : n - 1};
  }
  // Edges move ever further on, so the further one counts.
  HD static Value join(Value a, Value b) {
    const bool further = Sign > 0 ? b.edge > a.edge : b.edge < a.edge;
    return {joined(a.terms, b.terms), further ? b.edge : a.edge};
  }
  HD void store(Index p, Value v) const {
    total[p] = v.terms.log();
    edge[p] = v.edge;
  }
};

// By place: x, and the exclusive sums on both sides of it.
struct Places {
  const double *x, *up, *down;
  const Index *first, *last;
  Index n;
  HD double lower(Index p) const { return first[p] > 0 ? up[first[p] - 1] : -vmath::infinity<double>; }
  HD double higher(Index p) const { return last[p] + 1 < n ? down[last[p] + 1] : -vmath::infinity<double>; }
  HD double pull(Index p, double L) const { return pull_of(x[p], lower(p), higher(p), L); }
};

// log of all that p should win
struct Wins {
  Places places;
  HD double operator()(Index p) const { return places.lower(p) - places.x[p]; }
};

// ds_i += dy k pull_i.  The places are a permutation of the scores: each is written once.
template <class T> struct ScoreGradient {
  Places places;
  const Index* order;
  const double *k, *L;
  const T* dy;
  T* ds;
  HD void operator()(Index p) const { ds[order[p]] += T(double(*dy) * *k * places.pull(p, *L)); }
};

// k dL/dk = sum_p x_p pull_p, by chunks and then over them
struct ScaleSlopes {
  Places places;
  const double* L;
  double* part;
  template <class Team> HD void operator()(Index r, Team team) const {
    const Places at = places;
    const Index begin = r * max_sum_chunk, left = at.n - begin;
    const double loss = *L, sum = team.template sum<double>(left < max_sum_chunk ? left : max_sum_chunk, [=](Index j) {
      return at.x[begin + j] * at.pull(begin + j, loss);
    });
    if (team.leads()) part[r] = sum;
  }
};
template <class T, class K> struct ScaleGradient {
  const T* dy;
  const double *k, *part;
  Index R;
  K* dk;
  template <class Team> HD void operator()(Index, Team team) const {
    const double* from = part;
    const double sum = team.template sum<double>(R, [=](Index r) { return from[r]; });
    if (team.leads()) *dk = K(double(*dy) * sum / *k);
  }
};

// What the node keeps between its passes.
struct State {
  Tensor k, order, x, up, down, first, last, L;

  Places places() const {
    return {x.data<double>(),    up.data<double>(),  down.data<double>(),
            first.data<Index>(), last.data<Index>(), order.numel()};
  }

  Tensor forward(const Tensor& s, const Tensor& labels, const Tensor& scale) {
    Device& device = s.device();
    const Index N = s.numel();
    const Tensor y = labels.dtype() == DType::u8 ? labels.to(DType::i32) : labels;
    Tensor begins = empty({N}, DType::u8, device), loss = empty({}, s.dtype(), device);
    k = scale.to(DType::f64);
    order = argsort(y, 0);
    for (Tensor* t : {&x, &up, &down}) *t = empty({N}, DType::f64, device);
    for (Tensor* t : {&first, &last}) *t = empty({N}, DType::i64, device);
    L = empty({}, DType::f64, device);
    dispatch_float("cosent", s.dtype(), [&]<class T>() {
      dispatch(y.dtype(), [&]<class Y>() {
        launch(device, N,
               Gather<T, Y>{s.data<T>(), y.data<Y>(), order.data<Index>(), k.data<double>(), x.data_mut<double>(),
                            begins.data_mut<std::uint8_t>()});
      });
    });
    launch_scan(
        device, N,
        GroupScan<1>{x.data<double>(), begins.data<std::uint8_t>(), N, up.data_mut<double>(), first.data_mut<Index>()});
    launch_scan(device, N,
                GroupScan<-1>{x.data<double>(), begins.data<std::uint8_t>(), N, down.data_mut<double>(),
                              last.data_mut<Index>()},
                ScanFrom::end);
    const Index R = chunks_of(N);
    const Tensor parts = chunk_max_sums(device, N, Wins{places()});
    dispatch_float("cosent", s.dtype(), [&]<class T>() {
      launch_rows(device, 1, R, Log1pOfRows<T>{parts.data<double>(), R, L.data_mut<double>(), loss.data_mut<T>()});
    });
    return loss;
  }

  void add_score_gradient(const Tensor& dy, Tensor& ds) const {
    dispatch_float("cosent", ds.dtype(), [&]<class T>() {
      launch(ds.device(), ds.numel(),
             ScoreGradient<T>{places(), order.data<Index>(), k.data<double>(), L.data<double>(), dy.data<T>(),
                              ds.data_mut<T>()});
    });
  }

  Tensor scale_gradient(const Tensor& dy, DType dtype) const {
    const Index R = chunks_of(order.numel());
    Tensor part = empty({R}, DType::f64, dy.device()), dk = empty({}, dtype, dy.device());
    launch_rows(dy.device(), R, max_sum_chunk, ScaleSlopes{places(), L.data<double>(), part.data_mut<double>()});
    dispatch_float("cosent", dy.dtype(), [&]<class T>() {
      dispatch_float("cosent", dtype, [&]<class K>() {
        launch_rows(dy.device(), 1, R,
                    ScaleGradient<T, K>{dy.data<T>(), k.data<double>(), part.data<double>(), R, dk.data_mut<K>()});
      });
    });
    return dk;
  }
};

}  // namespace gradus::cosent_device
