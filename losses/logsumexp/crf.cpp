#include "losses/logsumexp/crf.h"

#include "losses/logsumexp/crf_chain.h"
#include "ops/arithmetic.h"
#include "ops/elementwise.h"
#include "ops/index.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/select.h"
#include "ops/shape_ops.h"

namespace gradus {
namespace {

constexpr auto op = "crf";

// The tokens of each sequence: positions [N,T] filled from the left, and how many [N]; i64.
struct Kept {
  Tensor at, count;
  Kept(const Tensor& token, Index N, Index T, Device& device)
      : at(empty({N, T}, DType::i64, device)), count(empty({N}, DType::i64, device)) {
    launch(device, N, crf::FindPositions{kept<std::uint8_t>(token), T, at.data_mut<Index>(), count.data_mut<Index>()});
  }
};

// ---- as the derivation starts: the forward recursion on the tape, one sequence after the other

Tensor definition(const Tensor& emissions, const Tensor& tags, const Tensor& A, const Tensor& start, const Tensor& end,
                  const Kept& kept) {
  const Index N = emissions.size(0), T = emissions.size(1), C = emissions.size(2);
  const std::vector<double> tag = tags.to_vector(), at = kept.at.to_vector(), count = kept.count.to_vector();
  std::vector<Tensor> losses;
  for (Index n = 0; n < N; ++n) {
    Tensor alpha, score;
    Index before = -1;
    for (Index k = 0; k < Index(count[std::size_t(n)]); ++k) {
      const Index t = Index(at[std::size_t(n * T + k)]), y = Index(tag[std::size_t(n * T + t)]);
      const Tensor e = emissions[n][t];  // [C]
      if (before < 0) {
        alpha = start + e;
        score = start[y] + e[y];
      } else {
        alpha = logsumexp(alpha.reshape({C, 1}) + A, 0) + e;
        score = score + A[before][y] + e[y];
      }
      before = y;
    }
    losses.push_back(before < 0 ? zeros({}, emissions.dtype(), emissions.device())
                                : logsumexp(alpha + end, 0) - (score + end[before]));
  }
  return stack(losses);  // [N]
}

// ---- as the derivation ends: both recursions by hand

// in: emissions, transitions, start, end, tags.  y_n = log Z_n - score_n
// dy/de = P(y_t = j) - [j = y_t], dy/dA = expected minus counted transitions
struct Crf final : Op {
  Constant at, count;
  Tensor alpha;  // f64 [N,T,C], shifted
  explicit Crf(const Kept& kept) : at(kept.at), count(kept.count) {}
  const char* name() const override { return "crf"; }

  template <class T> crf::Chains<T> chains(In in) const {
    return {in[0].data<T>(),
            in[1].data<T>(),
            in[2].data<T>(),
            in[3].data<T>(),
            in[4].data<Index>(),
            at.get(op).template data<Index>(),
            count.get(op).template data<Index>(),
            in[0].size(1),
            in[0].size(2)};
  }
  // Operations of a row on the CPU, where they say how many rows a thread takes; on a GPU the tags share a team.
  static Index row_length(const Tensor& e) {
    return e.device().is_cpu() ? e.size(1) * e.size(2) * e.size(2) : e.size(2);
  }
  Tensor forward(In in) override {
    const Tensor& e = in[0];
    Tensor loss = empty({e.size(0)}, e.dtype(), e.device());
    alpha = empty(e.shape(), DType::f64, e.device());
    dispatch_float(op, e.dtype(), [&]<class T>() {
      launch_rows(e.device(), e.size(0), row_length(e),
                  crf::Forward<T>{chains<T>(in), alpha.data_mut<double>(), loss.data_mut<T>()});
    });
    return loss;
  }
  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    const Tensor& e = in[0];
    Device& device = e.device();
    const Index N = e.size(0), L = e.size(1), C = e.size(2);
    Tensor onward = empty(e.shape(), DType::f64, device), places = empty({2, N, L}, DType::f64, device),
           pairs = empty({N, L}, DType::i64, device), edges = empty({2, N, C}, DType::f64, device);
    double *place = places.data_mut<double>(), *edge = edges.data_mut<double>();
    const crf::Terms terms{onward.data_mut<double>(), place, place + N * L,
                           pairs.data_mut<Index>(),   edge,  edge + N * C};
    dispatch_float(op, e.dtype(), [&]<class T>() {
      const double* a = alpha.data<double>();
      T* to[4];  // of the four inputs that have a gradient, or null
      for (int i = 0; i < 4; ++i) to[i] = dx.wants(i) ? dx.into(i).template data_mut<T>() : nullptr;
      launch_rows(device, N, row_length(e), crf::Backward<T>{chains<T>(in), a, dy.data<T>(), to[0], terms});
      if (to[1]) launch_rows(device, C, N * L, crf::PairSum<T>{C, N * L, in[1].data<T>(), a, terms, to[1]});
      if (to[2]) launch_rows(device, C, N, crf::SumSequences<T>{N, C, terms.first, to[2]});
      if (to[3]) launch_rows(device, C, N, crf::SumSequences<T>{N, C, terms.last, to[3]});
    });
  }
};

struct BadTag {
  const Index* tag;
  const std::uint8_t* token;  // or null
  Index C;
  HD bool operator()(Index i) const { return (!token || token[i] != 0) && !(tag[i] >= 0 && tag[i] < C); }
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
  if (!mask) return;
  must_be("mask", mask, {e.size(0), e.size(1)});
  check_same_device(op, e, mask);
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
  check_same_device(op, emissions, tags);
  const Tensor y = as_index(op, tags);
  Device& device = y.device();
  const Tensor token = o.mask ? not_equal(o.mask, full({}, 0, o.mask.dtype(), device)) : Tensor();
  const Index C = emissions->size(2);
  if (const Index i = find_first(device, N * T, BadTag{y.data<Index>(), kept<std::uint8_t>(token), C}); i >= 0) {
    fail(op, "tag " + std::to_string(Index(value_at(y, i))) + " at " + Shape({i / T, i % T}).text() +
                 " is outside 0.." + std::to_string(C - 1));
  }
  const Kept tokens(token, N, T, device);
  const Tensor rows = o.form == Form::definition && N > 0 ? definition(emissions, y, transitions, start, end, tokens)
                                                          : apply(Crf(tokens), emissions, transitions, start, end, y);
  if (!token || o.reduction != Reduction::mean) {
    return reduce_rows(At(rows, emissions.line), o.reduction, T > 0 ? double(N) : 0);
  }
  const Tensor has_token = greater(tokens.count, full({}, 0, DType::i64, device)).to(rows.dtype());
  return sum(At(rows, emissions.line)) / maximum(sum(has_token), ones({}, rows.dtype(), device));
}

Tensor crf_decode(const Tensor& emissions, const Tensor& transitions, const Tensor& start, const Tensor& end,
                  const Tensor& mask) {
  check_shapes(emissions, transitions, start, end, mask);
  const Index N = emissions.size(0), T = emissions.size(1), C = emissions.size(2);
  std::vector<Index> tags(std::size_t(N * T), 0), at;
  const std::vector<double> e = emissions.to_vector(), A = transitions.to_vector(), first = start.to_vector(),
                            last = end.to_vector(), kept = mask ? mask.to_vector() : std::vector<double>();
  for (Index n = 0; n < N; ++n) {
    at.clear();
    for (Index t = 0; t < T; ++t) {
      if (!mask || kept[std::size_t(n * T + t)] != 0) at.push_back(t);
    }
    std::vector<double> best = first;                     // the greatest score of a path that ends in j
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
      if (best[std::size_t(j)] + last[std::size_t(j)] > best[std::size_t(y)] + last[std::size_t(y)]) y = j;
    }
    for (std::size_t k = at.size(); k-- > 0; y = from[k * std::size_t(C) + std::size_t(y)]) {
      tags[std::size_t(n * T + at[k])] = y;
    }
  }
  return labels(tags, emissions.device()).reshape({N, T});
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
