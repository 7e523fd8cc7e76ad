#include "losses/logsumexp/multilabel_sparse.h"

#include "losses/logsumexp/multilabel_sides.h"
#include "losses/logsumexp/sorted_labels.h"
#include "ops/elementwise.h"
#include "ops/index.h"
#include "ops/math.h"

namespace gradus {
namespace {

// ---- as the formula reads: one cell for each class

Tensor definition(const Tensor& scores, const Tensor& labels, Index ignore) {
  const Index C = scores.size(1), P = labels.size(1);
  Tensor cells = zeros(scores.shape(), DType::u8, Device::cpu());
  std::uint8_t* cell = cells.data_mut<std::uint8_t>();
  const std::vector<double> label = labels.to_vector();
  for (Index k = 0; k < labels.numel(); ++k) {
    const Index c = Index(label[std::size_t(k)]);
    if (c != ignore) cell[k / P * C + c] = positive_cell;
  }
  return multilabel_rows(scores, cells.to(scores.device()), 0, 0, Form::definition);
}

// ---- one node

template <class T> struct SparseRow {
  const T* s;          // of this row
  const Index* index;  // ascending
  Index classes, count;
  // f(begin, length) for each stretch of classes between the labels
  template <class F> HD void each_stretch(F f) const {
    Index begin = 0;
    for (Index k = 0; k <= count; ++k) {
      const Index end = k < count ? index[k] : classes;
      if (end > begin) f(begin, end - begin);
      begin = end + 1;
    }
  }
  HD bool is_label(Index c) const {  // by halving
    Index begin = 0, end = count;
    while (begin < end) {
      const Index middle = (begin + end) / 2;
      if (index[middle] < c) {
        begin = middle + 1;
      } else {
        end = middle;
      }
    }
    return begin < count && index[begin] == c;
  }
  // sum of e^{s - m} and greatest s, at least 0, between the labels: on the CPU stretch by stretch; the threads of a GPU
  // ask for each class, for they would wait for each other at every stretch.
  template <class Team> HD T sum_of_exp(Team team, T m) const {
    const SparseRow row = *this;
    return row_sum<T>(team, classes, [=](Index c) { return row.is_label(c) ? T(0) : vmath::exp_normal(row.s[c] - m); });
  }
  HD T sum_of_exp(CpuTeam team, T m) const {
    T total = 0;
    each_stretch([&](Index begin, Index length) {
      const T* x = s + begin;
      total += row_sum<T>(team, length, [=](Index j) { return vmath::exp_normal(x[j] - m); });
    });
    return total;
  }
  template <class Team> HD T top(Team team) const {
    const SparseRow row = *this;
    return team.template max<T>(classes, [=](Index c) { return row.is_label(c) ? T(0) : row.s[c]; });
  }
  HD T top(CpuTeam team) const {
    T most = 0;
    each_stretch([&](Index begin, Index length) {
      const T* x = s + begin;
      const T v = team.max<T>(length, [=](Index j) { return x[j]; });
      most = v > most || v != v ? v : most;
    });
    return most;
  }
  // Q of the head
  template <class Team> HD LogSum<T> wrong(Team team) const {
    const T S = sum_of_exp(team, T(0));
    if (S < moderate_sum<T>) return {T(0), vmath::log1p(S)};
    const T m = top(team);
    if (!(m < vmath::infinity<T>)) return {m, T(0)};
    return {m, vmath::log(vmath::exp(-m) + sum_of_exp(team, m))};
  }
};

template <class T> struct SparseLabels {
  const T* scores;
  const Index *index, *count;
  Index classes, most;
  HD SparseRow<T> row(Index r) const { return {scores + r * classes, index + r * most, classes, count[r]}; }
};

template <class T> struct SparseLoss {
  SparseLabels<T> labels;
  T* loss;
  Sides<T> sides;
  template <class Team> HD void operator()(Index r, Team team) const {
    const SparseRow<T> row = labels.row(r);
    const T* s = row.s;
    const Index* index = row.index;
    const LogSum<T> P = log1p_sum_exp<T>(team, row.count, [=](Index k) { return -s[index[k]]; }), Q = row.wrong(team);
    if (team.leads()) {
      loss[r] = P.value() + Q.value();
      sides.keep(r, P, Q);
    }
  }
};

// ds_c = e^{s_c - Q} between the labels, -e^{-s_c - P} at them
template <class T, bool Add> struct SparseGradient {
  SparseLabels<T> labels;
  const T* dy;
  T* ds;
  Sides<T> sides;
  template <class Team> HD void operator()(Index r, Team team) const {
    const SparseRow<T> row = labels.row(r);
    const LogSum<T> P = sides.P(r), Q = sides.Q(r);
    const T g = dy[r];
    T* to = ds + r * row.classes;
    team.each(row.classes, [=](Index c) {
      const bool right = row.is_label(c);
      const T e = vmath::exp_below(right ? P.exponent(-row.s[c]) : Q.exponent(row.s[c]));
      const T v = g == 0 ? T(0) : (right ? -g : g) * e;
      to[c] = Add ? to[c] + v : v;
    });
  }
  HD void operator()(Index r, CpuTeam team) const {
    const SparseRow<T> row = labels.row(r);
    const LogSum<T> P = sides.P(r), Q = sides.Q(r);
    const T pm = P.m, p_rest = P.rest, qm = Q.m, q_rest = Q.rest, g = dy[r];
    const T* s = row.s;
    const Index* index = row.index;
    T* to = ds + r * row.classes;
    row.each_stretch([=](Index begin, Index length) {
      const T* x = s + begin;
      T* d = to + begin;
      team.each(length, [=](Index j) {
        const T e = vmath::exp_below((x[j] - qm) - q_rest), v = g == 0 ? T(0) : g * e;
        d[j] = Add ? d[j] + v : v;
      });
    });
    for (Index k = 0; k < row.count; ++k) {
      const T v = g == 0 ? T(0) : -g * vmath::exp_below((-s[index[k]] - pm) - p_rest);
      to[index[k]] = Add ? to[index[k]] + v : v;
    }
  }
};

// in: scores [N,C], sorted labels i64 [N,P], their counts i64 [N].  y = P + Q
// dy/ds = -e^{-s - P} at a label, e^{s - Q} else
struct MultilabelSparse final : Op {
  Tensor p, q;  // [N,2], for the backward pass
  const char* name() const override { return "multilabel_ce_sparse"; }
  template <class T> SparseLabels<T> labels(In in) const {
    return {in[0].data<T>(), in[1].data<Index>(), in[2].data<Index>(), in[0].size(1), in[1].size(1)};
  }
  Tensor forward(In in) override {
    const Tensor& s = in[0];
    const Index N = s.size(0);
    Tensor loss = empty({N}, s.dtype(), s.device());
    p = empty({N, 2}, s.dtype(), s.device());
    q = empty({N, 2}, s.dtype(), s.device());
    dispatch_float(name(), s.dtype(), [&]<class T>() {
      launch_rows(s.device(), N, s.size(1),
                  SparseLoss<T>{labels<T>(in), loss.data_mut<T>(), Sides<T>{p.data_mut<T>(), q.data_mut<T>()}});
    });
    return loss;
  }
  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    const Tensor& s = in[0];
    auto [sum, started] = dx.sum(0);
    dispatch_float(name(), s.dtype(), [&, &ds = sum, add = started]<class T>() {
      with_flag(add, [&]<bool Add>() {
        launch_rows(s.device(), s.size(0), s.size(1),
                    SparseGradient<T, Add>{labels<T>(in), dy.data<T>(), ds.template data_mut<T>(),
                                           Sides<T>{p.data_mut<T>(), q.data_mut<T>()}});
      });
    });
  }
};

}  // namespace

Tensor multilabel_ce_sparse(At scores, const Tensor& labels, MultilabelSparseOptions o) {
  constexpr auto op = "multilabel_ce_sparse";
  if (!scores.tensor || !labels) fail(op, "needs scores and labels; one of them is undefined");
  if (scores->rank() != 2 || labels.rank() != 2 || labels.size(0) != scores->size(0)) {
    fail(op, "needs scores [N,C] and labels [N,P], got " + scores->describe() + " and " + labels.describe());
  }
  check_same_device(op, scores, labels);
  check_indices(op, "label", labels, scores->size(1), &o.ignore_index);
  const Tensor index = as_index(op, labels);
  Tensor rows;
  if (o.form == Form::definition) {
    rows = definition(scores, index, o.ignore_index);
  } else {
    const SortedLabels sorted(index, o.ignore_index);
    rows = apply(MultilabelSparse{}, scores, sorted.index, sorted.count);
  }
  return reduce_rows(At(rows, scores.line), o.reduction, double(scores->size(0)));
}

// ---- for the table of losses

namespace {

std::vector<LossSample> sparse_samples(Rng& rng) {
  const auto scores = [&](Index N, Index C) { return 2 * randn({N, C}, rng, DType::f64); };
  const auto indices = [](const std::vector<Index>& v, Index N) { return labels(v).reshape({N, Index(v.size()) / N}); };
  return {
      {"four rows, two labels", {{"scores", scores(4, 6)}, {"labels", indices({0, 3, 5, 4, 2, 1, 0, 5}, 4)}}},
      {"padding and a label twice, none",
       {{"scores", scores(3, 5)}, {"labels", indices({-1, 2, -1, 4, 1, 4, -1, -1, -1}, 3)}},
       {{"reduction", "none"}}},
      {"a long row, sum",
       {{"scores", scores(1, 3000)}, {"labels", indices({2999, 0, 1, 1024, 77}, 1)}},
       {{"reduction", "sum"}}},
      {"padding of -100",
       {{"scores", scores(2, 3)}, {"labels", indices({1, -100, -100, 0}, 2)}},
       {{"ignore_index", -100}}},
      {"every class is right", {{"scores", scores(1, 2)}, {"labels", indices({1, 0}, 1)}}},
      {"no row", {{"scores", scores(0, 3)}, {"labels", zeros({0, 2}, DType::i64)}}},
      {.what = "scores of 1e4",
       .inputs = {{"scores", tensor({1e4, 9999.5, -1e4, -9999, 1e4, -1e4, 1e4, -1e4}, {2, 4}, DType::f64)},
                  {"labels", indices({2, 3, 0, 2}, 2)}},
       .extreme = true},
      {.what = "a margin of 20 over ten negatives at 0",
       .inputs = {{"scores", tensor({20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, {1, 11}, DType::f64)},
                  {"labels", indices({0}, 1)}},
       .extreme = true},
  };
}

}  // namespace

Losses multilabel_sparse_losses() {
  return {{.name = "multilabel_ce_sparse",
           .family = Family::logsumexp,
           .formula = "log(1 + sum_{c not in t} e^s) + log(1 + sum_{c in t} e^-s)",
           .seeds = "A109",
           .task = "multi-label tagging, few right among many classes",
           .inputs = {{"scores", "[N,C]"}, {"labels", "[N,P]", Kind::integer}},
           .options = {{"ignore_index", -1}, reduction_option()},
           .run =
               [](const Arguments& a) {
                 return multilabel_ce_sparse(
                     a["scores"], a["labels"],
                     {.ignore_index = a.integer("ignore_index"), .reduction = a.reduction(), .form = a.form});
               },
           .samples = sparse_samples}};
}

}  // namespace gradus
