#include "losses/logsumexp/crf.h"

#include <algorithm>
#include <cmath>

#include "ops/elementwise.h"
#include "ops/index.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/shape_ops.h"

namespace gradus {
namespace {

constexpr auto op = "crf";

// The tokens of each sequence.
using Positions = std::vector<std::vector<Index>>;

Positions kept_positions(const Tensor& mask, Index N, Index T) {
  Positions kept(static_cast<std::size_t>(N));
  for (Index n = 0; n < N; ++n) {
    for (Index t = 0; t < T; ++t) {
      if (!mask || value_at(mask, n * T + t) != 0) kept[std::size_t(n)].push_back(t);
    }
  }
  return kept;
}

// ---- as the derivation starts: the forward recursion on the tape, one sequence after the other

Tensor definition(const Tensor& emissions, const Tensor& tags, const Tensor& A, const Tensor& start, const Tensor& end,
                  const Positions& kept) {
  const Index N = emissions.size(0), C = emissions.size(2);
  std::vector<Tensor> losses;
  for (Index n = 0; n < N; ++n) {
    const auto& at = kept[std::size_t(n)];
    if (at.empty()) {
      losses.push_back(zeros({}, emissions.dtype()));
      continue;
    }
    Tensor alpha, score;
    Index before = -1;
    for (const Index t : at) {
      const Tensor e = emissions[n][t];  // [C]
      const Index y = Index(value_at(tags, n * emissions.size(1) + t));
      if (before < 0) {
        alpha = start + e;
        score = start[y] + e[y];
      } else {
        alpha = logsumexp(alpha.reshape({C, 1}) + A, 0) + e;
        score = score + A[before][y] + e[y];
      }
      before = y;
    }
    losses.push_back(logsumexp(alpha + end, 0) - (score + end[before]));
  }
  return stack(losses);  // [N]
}

// ---- as the derivation ends: both recursions by hand

template <class F> double log_sum_exp(Index n, const F& x) {
  double top = -vmath::infinity<double>, sum = 0;
  for (Index i = 0; i < n; ++i) top = std::max(top, x(i));
  if (!std::isfinite(top)) return top;
  for (Index i = 0; i < n; ++i) sum += vmath::exp(x(i) - top);
  return top + vmath::log(sum);
}

// One sequence: pointers into its emissions, tags and positions. Sums of scores grow with the sequence, and differences of
// large sums lose digits. So the emissions of a position are taken relative to their greatest, and a and b are shifted at
// every step to the greatest 0: probabilities are normalised where they stand, and L gathers the shifts. All in double: a
// transition of 1e4 beside them takes four digits from what is added to it.
template <class T> struct Chain {
  const T *e, *A, *start, *end;  // [T,C], [C,C], [C], [C]
  const Index* y;                // [T]
  const std::vector<Index>& at;
  Index C;
  Index tag(std::size_t k) const { return y[at[k]]; }
  std::vector<double> emission(std::size_t k) const { return to_zero({e + at[k] * C, e + (at[k] + 1) * C}); }

  // x - max x; the shift is added to *sum
  static std::vector<double> to_zero(std::vector<double> x, double* sum = nullptr) {
    const double top = *std::max_element(x.begin(), x.end());
    if (sum) *sum += top;
    for (double& v : x) v -= top;
    return x;
  }
  // Fills a [tokens,C]; returns L.
  double forward(double* a) const {
    double loss = 0;
    std::vector<double> now(start, start + C), next(now);
    for (std::size_t k = 0; k < at.size(); ++k) {
      const std::vector<double> here = emission(k);
      for (Index j = 0; k > 0 && j < C; ++j) {
        next[std::size_t(j)] = log_sum_exp(C, [&](Index i) { return now[std::size_t(i)] + double(A[i * C + j]); });
      }
      for (Index j = 0; j < C; ++j) next[std::size_t(j)] += here[std::size_t(j)];
      now = to_zero(next, &loss);
      std::copy(now.begin(), now.end(), a + Index(k) * C);
      loss -= here[std::size_t(tag(k))] + double(k ? A[tag(k - 1) * C + tag(k)] : start[tag(0)]);
    }
    return loss + log_sum_exp(C, [&](Index j) { return now[std::size_t(j)] + double(end[j]); }) -
           double(end[tag(at.size() - 1)]);
  }
  // Adds g times the gradients; de, dA, dstart, dend may be null.
  void backward(const double* a, double g, T* de, T* dA, T* dstart, T* dend) const {
    std::vector<double> b = to_zero({end, end + C}), next(b);
    for (std::size_t k = at.size(); k-- > 0; b = to_zero(next)) {
      const double* alpha = a + Index(k) * C;
      const double log_p = log_sum_exp(C, [&](Index j) { return alpha[j] + b[std::size_t(j)]; });
      for (Index j = 0; j < C; ++j) {
        const T p = T(g * (vmath::exp(alpha[j] + b[std::size_t(j)] - log_p) - double(j == tag(k))));
        if (de) de[at[k] * C + j] += p;
        if (dstart && k == 0) dstart[j] += p;
        if (dend && k + 1 == at.size()) dend[j] += p;
      }
      if (k == 0) break;
      const std::vector<double> here = emission(k);
      const double* before = a + (Index(k) - 1) * C;
      const auto onward = [&](Index i, Index j) {
        return double(A[i * C + j]) + (here[std::size_t(j)] + b[std::size_t(j)]);
      };
      for (Index i = 0; i < C; ++i) next[std::size_t(i)] = log_sum_exp(C, [&](Index j) { return onward(i, j); });
      const double log_pair = log_sum_exp(C, [&](Index i) { return before[i] + next[std::size_t(i)]; });
      for (Index i = 0; dA && i < C; ++i) {
        for (Index j = 0; j < C; ++j) {
          const bool chosen = i == tag(k - 1) && j == tag(k);
          dA[i * C + j] += T(g * (vmath::exp(before[i] + onward(i, j) - log_pair) - double(chosen)));
        }
      }
    }
  }
};

// y_n = log Z_n - score_n        dy/de = P(y_t = j) - [j = y_t], dy/dA = expected minus counted transitions
struct Crf final : Op {
  Positions kept;
  Tensor alpha;  // f64 [N,T,C], shifted
  explicit Crf(Positions k) : kept(std::move(k)) {}
  const char* name() const override { return "crf"; }

  template <class T> Chain<T> chain(In in, Index n) const {  // in: emissions, transitions, start, end, tags
    const Index length = in[0].size(1), C = in[0].size(2);
    return {in[0].data<T>() + n * length * C,
            in[1].data<T>(),
            in[2].data<T>(),
            in[3].data<T>(),
            in[4].data<Index>() + n * length,
            kept[std::size_t(n)],
            C};
  }
  Tensor forward(In in) override {
    const Index N = in[0].size(0), row = in[0].size(1) * in[0].size(2);
    Tensor loss = zeros({N}, in[0].dtype());
    alpha = empty(in[0].shape(), DType::f64);
    dispatch_float(name(), in[0].dtype(), [&]<class T>() {
      double* a = alpha.data_mut<double>();
      T* y = loss.data_mut<T>();
      parallel_for(N, std::max<Index>(1, 4096 / std::max<Index>(1, row)), [&](Index begin, Index end) {
        for (Index n = begin; n < end; ++n) {
          const Chain<T> c = chain<T>(in, n);
          if (!c.at.empty()) y[n] = T(c.forward(a + n * row));
        }
      });
    });
    return loss;
  }
  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    const Index N = in[0].size(0), row = in[0].size(1) * in[0].size(2);
    dispatch_float(name(), in[0].dtype(), [&]<class T>() {
      T* sums[4];  // of the four inputs that have a gradient, or null
      for (int i = 0; i < 4; ++i) sums[i] = dx.wants(i) ? dx.into(i).template data_mut<T>() : nullptr;
      // One after the other: all sequences add to the same transitions, in one order.
      for (Index n = 0; n < N; ++n) {
        const Chain<T> c = chain<T>(in, n);
        if (c.at.empty()) continue;
        c.backward(alpha.data<double>() + n * row, double(dy.data<T>()[n]), sums[0] ? sums[0] + n * row : nullptr,
                   sums[1], sums[2], sums[3]);
      }
    });
  }
};

void check_shapes(const Tensor& e, const Tensor& A, const Tensor& start, const Tensor& end, const Tensor& mask) {
  if (!e || e.rank() != 3 || e.size(2) == 0) fail(op, "needs emissions [N,T,C], got " + (e ? e.describe() : "nothing"));
  const Index C = e.size(2);
  const auto must_be = [&](const char* what, const Tensor& x, const Shape& shape) {
    if (!x || x.shape() != shape) {
      fail(op, std::string(what) + " must be " + shape.text() + " for emissions " + e.describe() + ", got " +
                   (x ? x.describe() : "nothing"));
    }
  };
  must_be("transitions", A, {C, C});
  must_be("start", start, {C});
  must_be("end", end, {C});
  for (const Tensor& x : {A, start, end}) check_same_kind(op, e, x);
  if (mask) must_be("mask", mask, {e.size(0), e.size(1)});
}

}  // namespace

Tensor crf_nll(At emissions, const Tensor& tags, const Tensor& transitions, const Tensor& start, const Tensor& end,
               CrfOptions o) {
  check_shapes(emissions, transitions, start, end, o.mask);
  const Index N = emissions->size(0), T = emissions->size(1);
  if (!tags || tags.shape() != Shape{N, T}) {
    fail(op,
         "needs a tag for each position, " + Shape({N, T}).text() + ", got " + (tags ? tags.describe() : "nothing"));
  }
  const Tensor y = as_index(op, tags);
  const Positions kept = kept_positions(o.mask, N, T);
  double sequences = 0;
  for (Index n = 0; n < N; ++n) {
    sequences += !kept[std::size_t(n)].empty();
    for (const Index t : kept[std::size_t(n)]) {
      const double tag = value_at(y, n * T + t);
      if (!(tag >= 0 && tag < double(emissions->size(2)))) {
        fail(op, "tag " + std::to_string(Index(tag)) + " at " + Shape({n, t}).text() + " is outside 0.." +
                     std::to_string(emissions->size(2) - 1));
      }
    }
  }
  const Tensor rows = o.form == Form::definition && N > 0 ? definition(emissions, y, transitions, start, end, kept)
                                                          : apply(Crf(kept), emissions, transitions, start, end, y);
  return reduce_rows(At(rows, emissions.line), o.reduction, sequences);
}

Tensor crf_decode(const Tensor& emissions, const Tensor& transitions, const Tensor& start, const Tensor& end,
                  const Tensor& mask) {
  check_shapes(emissions, transitions, start, end, mask);
  const Index N = emissions.size(0), T = emissions.size(1), C = emissions.size(2);
  Tensor tags = zeros({N, T}, DType::i64);
  const std::vector<double> e = emissions.to_vector(), A = transitions.to_vector();
  const Positions kept = kept_positions(mask, N, T);
  for (Index n = 0; n < N; ++n) {
    const auto& at = kept[std::size_t(n)];
    std::vector<double> best = start.to_vector();         // the greatest score of a path that ends in j
    std::vector<Index> from(at.size() * std::size_t(C));  // its tag before
    for (std::size_t k = 0; k < at.size(); ++k) {
      std::vector<double> next(best);
      for (Index j = 0; j < C; ++j) {
        Index i = 0;
        for (Index other = 1; k > 0 && other < C; ++other) {
          if (best[std::size_t(other)] + A[std::size_t(other * C + j)] >
              best[std::size_t(i)] + A[std::size_t(i * C + j)]) {
            i = other;
          }
        }
        from[k * std::size_t(C) + std::size_t(j)] = i;
        next[std::size_t(j)] = e[std::size_t((n * T + at[k]) * C + j)] +
                               (k ? best[std::size_t(i)] + A[std::size_t(i * C + j)] : best[std::size_t(j)]);
      }
      best = next;
    }
    Index y = 0;
    for (Index j = 0; j < C; ++j) {
      const auto total = [&](Index i) { return best[std::size_t(i)] + value_at(end, i); };
      if (total(j) > total(y)) y = j;
    }
    for (std::size_t k = at.size(); k-- > 0; y = from[k * std::size_t(C) + std::size_t(y)]) {
      set_value(tags, n * T + at[k], double(y));
    }
  }
  return tags;
}

// ---- for the table of losses

namespace {

std::vector<LossSample> crf_samples(Rng& rng) {
  const auto sample = [&](const char* what, Index N, Index T, Index C, Tensor mask, Options options) {
    const auto r = [&](Shape shape) { return randn(shape, rng, DType::f64); };
    return LossSample{what,
                      {{"emissions", r({N, T, C})},
                       {"tags", randint(C, {N, T}, rng)},
                       {"transitions", r({C, C})},
                       {"start", r({C})},
                       {"end", r({C})},
                       {"mask", mask}},
                      options};
  };
  LossSample hard = sample("scores of 1e4", 1, 3, 2, {}, {});
  hard.inputs["emissions"] = tensor({1e4, -1e4, 3, 4, -1e4, 1e4}, {1, 3, 2}, DType::f64);
  hard.extreme = true;
  return {sample("3 sequences of 4", 3, 4, 2, {}, {}),
          sample("masked, none", 2, 5, 3, tensor({1, 1, 1, 0, 0, 1, 0, 1, 1, 1}, {2, 5}, DType::f64),
                 {{"reduction", "none"}}),
          sample("one position, sum", 2, 1, 4, {}, {{"reduction", "sum"}}),
          sample("a sequence without tokens", 2, 2, 3, tensor({0, 0, 1, 1}, {2, 2}, DType::f64), {}),
          sample("no sequence", 0, 2, 3, {}, {}),
          hard};
}

}  // namespace

Losses crf_losses() {
  return {{.name = "crf",
           .family = Family::logsumexp,
           .formula = "log sum_y' e^{score(y')} - score(y)",
           .seeds = "A101",
           .task = "sequence tagging: the BIO baseline of nested entities",
           .inputs = {{"emissions", "[N,T,C]"},
                      {"tags", "[N,T]", Kind::integer},
                      {"transitions", "[C,C]"},
                      {"start", "[C]"},
                      {"end", "[C]"},
                      {"mask", "[N,T]", Kind::constant, true}},
           .options = {reduction_option()},
           .run =
               [](const Arguments& a) {
                 return crf_nll(a["emissions"], a["tags"], a["transitions"], a["start"], a["end"],
                                {.mask = a["mask"], .reduction = a.reduction(), .form = a.form});
               },
           .samples = crf_samples}};
}

}  // namespace gradus
