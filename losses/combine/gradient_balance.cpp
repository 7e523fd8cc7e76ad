#include "losses/combine/gradient_balance.h"

#include <algorithm>
#include <cmath>

#include "engine/backward.h"
#include "losses/combine/gram_rows.h"
#include "losses/combine/tasks.h"

namespace gradus {
namespace {

// ---- on the gradients themselves, as the formulas say; on a copy of them on the CPU

using Row = std::vector<double>;

double inner(const Row& a, const Row& b) {
  double s = 0;
  for (std::size_t p = 0; p < a.size(); ++p) s += a[p] * b[p];
  return s;
}
void add_scaled(Row& to, double factor, const Row& g) {
  for (std::size_t p = 0; p < to.size(); ++p) to[p] += factor * g[p];
}
std::vector<Row> rows_of(const Tensor& g) {
  std::vector<Row> rows;
  for (Index k = 0; k < g.size(0); ++k) rows.push_back(g.untaped_view({g.size(1)}, k * g.size(1)).to_vector());
  return rows;
}

Row unit_sum(const std::vector<Row>& g, std::size_t P) {
  Row d(P, 0);
  for (const Row& row : g) {
    const double length = std::sqrt(inner(row, row));
    if (length != 0) add_scaled(d, 1 / length, row);
  }
  return d;
}

Row projected_sum(const std::vector<Row>& g, std::size_t P, const PcGradOptions& o) {
  Row d(P, 0);
  const auto orders = pcgrad_orders(Index(g.size()), o);
  for (std::size_t k = 0; k < g.size(); ++k) {
    Row own = g[k];
    for (const Index j : orders[k]) {
      const Row& other = g[std::size_t(j)];
      const double along = inner(own, other);
      if (along < 0) add_scaled(own, -along / inner(other, other), other);
    }
    add_scaled(d, 1, own);
  }
  return d;
}

// The shortest point over every support: v of sum 1 with <v^T g, g_k> the same for all k in it, kept where v >= 0.
Row shortest_point(const std::vector<Row>& g, std::size_t P) {
  if (g.size() > 16)
    fail("mgda", "the definition tries all supports: at most 16 tasks, got " + std::to_string(g.size()));
  Row best(P, 0);
  double least = INFINITY;
  for (std::size_t support = 1; support < std::size_t(1) << g.size(); ++support) {
    std::vector<Row> members;
    double unit = 0;
    for (std::size_t k = 0; k < g.size(); ++k) {
      if (support >> k & 1) members.push_back(g[k]), unit = std::max(unit, inner(g[k], g[k]));
    }
    const std::size_t n = members.size(), side = n + 1;
    std::vector<double> A(side * side, 1), v(side, 0);
    for (std::size_t r = 0; r < n; ++r) {
      for (std::size_t c = 0; c < n; ++c) A[r * side + c] = unit > 0 ? inner(members[r], members[c]) / unit : 0;
    }
    A[side * side - 1] = 0;
    v[n] = 1;
    if (!solve(std::move(A), v) || *std::min_element(v.begin(), v.end() - 1) < 0) continue;
    Row d(P, 0);
    for (std::size_t k = 0; k < n; ++k) add_scaled(d, v[k], members[k]);
    if (inner(d, d) < least) least = inner(d, d), best = d;
  }
  return best;
}

Tensor as_direction(const Row& d, const Tensor& g) { return tensor(d, {g.size(1)}, g.dtype(), g.device()); }

// ---- on the inner products

Tensor ones_on(const Tensor& g, const Shape& shape) { return ones(shape, DType::f64, g.device()); }
Tensor numbers_on(const Tensor& g, const Shape& shape) { return empty(shape, DType::f64, g.device()); }

struct RowLengths {
  Tensor greatest, length;  // f64 [K]
};
RowLengths row_lengths(const Tensor& g) {
  const Index K = g.size(0), P = g.size(1), chunks = chunks_of(P);
  RowLengths r{numbers_on(g, {K}), numbers_on(g, {K})};
  Tensor greatest = numbers_on(g, {chunks, K}), square = numbers_on(g, {chunks, K});
  double *m = greatest.data_mut<double>(), *s = square.data_mut<double>();
  dispatch_float("task_grads", g.dtype(), [&]<class T>() {
    launch_rows(g.device(), chunks * K, std::min(P, chunk_length), ChunkLength<T>{g.data<T>(), K, P, m, s});
  });
  launch_rows(g.device(), K, chunks,
              RowLength{K, chunks, m, s, r.greatest.data_mut<double>(), r.length.data_mut<double>()});
  return r;
}

Tensor scaled_gram(const Tensor& g, const Tensor& unit) {
  const Index K = g.size(0), P = g.size(1), chunks = chunks_of(P);
  Tensor gram = numbers_on(g, {K, K}), part = numbers_on(g, {chunks, K, K});
  double* sums = part.data_mut<double>();
  dispatch_float("task_grads", g.dtype(), [&]<class T>() {
    launch_rows(g.device(), chunks * K * K, std::min(P, chunk_length),
                ChunkProduct<T>{g.data<T>(), K, P, unit.data<double>(), sums});
  });
  launch_rows(g.device(), K * K, chunks, InnerProduct{K, chunks, sums, gram.data_mut<double>()});
  return gram;
}

// The Gram matrix in units of the greatest entry of all: no product of entries overflows.
Tensor unit_gram(const Tensor& g) {
  const RowLengths rows = row_lengths(g);
  Tensor unit = numbers_on(g, {1});
  launch(g.device(), 1,
         CommonUnit{g.size(0), rows.greatest.data<double>(), rows.length.data<double>(), unit.data_mut<double>()});
  return scaled_gram(g, unit);
}

Tensor combined(const Tensor& g, const Tensor& w, const Tensor& unit) {
  Tensor d = empty({g.size(1)}, g.dtype(), g.device());
  dispatch_float("task_grads", g.dtype(), [&]<class T>() {
    launch(g.device(), g.size(1),
           Combine<T>{g.data<T>(), w.data<double>(), unit.data<double>(), g.size(0), g.size(1), d.data_mut<T>()});
  });
  return d;
}

void check_gradients(const char* op, const Tensor& g) {
  if (!g || g.rank() != 2 || !is_floating(g.dtype())) {
    fail(op, "needs task_grads [K,P], one row per task, got " + (g ? g.describe() : "nothing") +
                 "; task_gradients(losses, shared) makes them");
  }
}

}  // namespace

Tensor grad_norm_direction(const Tensor& task_grads, GradientBalanceOptions o) {
  check_gradients("grad_norm_direction", task_grads);
  if (o.form == Form::definition) {
    return as_direction(unit_sum(rows_of(task_grads), std::size_t(task_grads.size(1))), task_grads);
  }
  const RowLengths rows = row_lengths(task_grads);
  Tensor w = numbers_on(task_grads, rows.length.shape());
  launch(w.device(), w.numel(), Reciprocal{rows.length.data<double>(), w.data_mut<double>()});
  return combined(task_grads, w, rows.greatest);
}

Tensor pcgrad(const Tensor& task_grads, PcGradOptions o) {
  check_gradients("pcgrad", task_grads);
  if (o.form == Form::definition) {
    return as_direction(projected_sum(rows_of(task_grads), std::size_t(task_grads.size(1)), o), task_grads);
  }
  return combined(task_grads, pcgrad_weights(unit_gram(task_grads), o), ones_on(task_grads, {task_grads.size(0)}));
}

Tensor mgda(const Tensor& task_grads, GradientBalanceOptions o) {
  check_gradients("mgda", task_grads);
  if (o.form == Form::definition) {
    return as_direction(shortest_point(rows_of(task_grads), std::size_t(task_grads.size(1))), task_grads);
  }
  return combined(task_grads, mgda_weights(unit_gram(task_grads)), ones_on(task_grads, {task_grads.size(0)}));
}

Tensor gram_matrix(const Tensor& task_grads) {
  check_gradients("gram_matrix", task_grads);
  return scaled_gram(task_grads, ones_on(task_grads, {1}));
}

Tensor task_gradients(const Tensor& losses, const std::vector<Tensor>& shared) {
  check_tasks("task_gradients", losses);
  Index P = 0;
  for (const Tensor& w : shared) P += w.numel();
  Tensor rows = empty({losses.numel(), P}, losses.dtype(), losses.device());
  for (Index k = 0, begin = 0; k < losses.numel(); ++k) {
    for (const Tensor& g : grad(losses[k], shared, Retain::yes)) {
      rows.untaped_view(g.shape(), begin).copy_from(g);
      begin += g.numel();
    }
  }
  return rows;
}

// ---- for the table of losses

namespace {

std::vector<LossSample> gradient_samples(Rng& rng, const Options& options = {}) {
  const auto sample = [&](const char* what, const Tensor& g, bool extreme = false) {
    return LossSample{.what = what, .inputs = {{"task_grads", g}}, .options = options, .extreme = extreme};
  };
  const auto drawn = [&](Index K, Index P) { return randn({K, P}, rng, DType::f64); };
  const auto given = [](const std::vector<double>& v, Index K) {
    return tensor(v, {K, Index(v.size()) / K}, DType::f64);
  };
  return {
      sample("2 tasks, 7 parameters", drawn(2, 7)),
      sample("5 tasks, 3 parameters", drawn(5, 3)),
      sample("4 tasks, 50 parameters", drawn(4, 50)),
      sample("2 tasks in conflict", given({1, 0, -2, 1}, 2)),
      sample("3 tasks, one far longer", given({.01, .02, -5, 4, .02, -.01}, 3)),
      sample("one task", drawn(1, 4)),
      sample("a task with gradient 0", given({0, 0, 3, 4}, 2)),
      sample("all 0", zeros({3, 2}, DType::f64)),
      sample("no task", zeros({0, 3}, DType::f64)),
      sample("gradients of 1e30 and 1e-30", given({1e30, 2e30, 2e-30, -1e-30, -1e30, 1e30}, 3), true),
  };
}

LossInfo entry(const char* name, const char* formula, const char* seeds, const char* task) {
  return {.name = name,
          .family = Family::combine,
          .formula = formula,
          .seeds = seeds,
          .task = task,
          .inputs = {{"task_grads", "[K,P]", Kind::constant}},
          .options = {},
          .run = {},
          .samples = [](Rng& rng) { return gradient_samples(rng); }};
}

}  // namespace

Losses gradient_balance_losses() {
  LossInfo unit = entry("grad_norm_direction", "sum_k g_k / |g_k|", "A129", "a step that favours no task by its size");
  unit.run = [](const Arguments& a) { return grad_norm_direction(a["task_grads"], {.form = a.form}); };
  LossInfo pc = entry("pcgrad", "sum_k g_k without its conflicts", "A129", "a step for tasks that pull apart");
  pc.options = {{"shuffle", false}, {"seed", 0}};
  pc.run = [](const Arguments& a) {
    return pcgrad(a["task_grads"],
                  {.shuffle = a.flag("shuffle"), .seed = std::uint64_t(a.integer("seed")), .form = a.form});
  };
  pc.samples = [](Rng& rng) {
    std::vector<LossSample> samples = gradient_samples(rng);
    for (LossSample& s : gradient_samples(rng, {{"shuffle", true}, {"seed", 7}})) samples.push_back(std::move(s));
    return samples;
  };
  LossInfo hull = entry("mgda", "argmin |sum_k w_k g_k|, w on the simplex", "A129", "a step that raises no loss");
  hull.run = [](const Arguments& a) { return mgda(a["task_grads"], {.form = a.form}); };
  return {unit, pc, hull};
}

}  // namespace gradus
