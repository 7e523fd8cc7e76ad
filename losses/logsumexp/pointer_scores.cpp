#include "losses/logsumexp/pointer_scores.h"

#include <cmath>

#include "ops/elementwise.h"
#include "ops/math.h"
#include "ops/matmul.h"
#include "ops/reduce.h"
#include "ops/rope.h"
#include "ops/shape_ops.h"

namespace gradus {
namespace {

// cos and sin of m theta_i for each pair i: [1, n, d/2] each, m given for n cells
struct Angles {
  Tensor cosine, sine;
};
Angles angles(const std::vector<double>& distances, Index half, const Tensor& like) {
  const Index n = Index(distances.size());
  std::vector<double> cosine, sine;
  for (const double distance : distances) {
    for (Index i = 0; i < half; ++i) {
      const double angle = distance * std::pow(10000.0, -double(i) / double(half));
      cosine.push_back(std::cos(angle)), sine.push_back(std::sin(angle));
    }
  }
  return {tensor(cosine, {n, half}, like.dtype(), like.device()), tensor(sine, {n, half}, like.dtype(), like.device())};
}

// The pairs of x [..,d] as two tensors [..,d/2].
struct Pairs {
  Tensor first, second;
};
Pairs pairs(At x) {
  std::vector<Index> sizes;
  for (int axis = 0; axis + 1 < x->rank(); ++axis) sizes.push_back(x->size(axis));
  const Index half = x->size(-1) / 2;
  std::vector<Index> halves = sizes;
  halves.push_back(half);
  sizes.insert(sizes.end(), {half, 2});
  const Tensor split = x->reshape(Shape(sizes), x.line);
  return {slice(split, -1, 0, 1).reshape(Shape(halves)), slice(split, -1, 1, 2).reshape(Shape(halves))};
}

// y = R_p x, row by row, as the formula stands; the positions are read on the CPU
Tensor turned(At x, const Tensor& positions) {
  const Angles a = angles(positions.to_vector(), x->size(-1) / 2, x);  // [T,d/2]
  const Pairs p = pairs(x);
  const Tensor first = p.first * a.cosine - p.second * a.sine, second = p.first * a.sine + p.second * a.cosine;
  return stack({first, second}, -1).reshape(x->shape());
}

// sum over pairs  cos(m theta)(q0 k0 + q1 k1) + sin(m theta)(q1 k0 - q0 k1),  m = j - i   -> [N,G,T,T]
Tensor relative_scores(At q, const Tensor& k, bool rope) {
  const Index N = q->size(0), G = q->size(1), T = q->size(2), d = q->size(3);
  const Tensor rows = q->reshape({N, G, T, 1, d}, q.line), columns = k.reshape({N, G, 1, T, d});
  if (!rope) return sum(rows * columns, {-1});
  std::vector<double> distances;
  for (Index i = 0; i < T; ++i) {
    for (Index j = 0; j < T; ++j) distances.push_back(double(j - i));
  }
  const Angles a = angles(distances, d / 2, q);
  const Tensor cosine = a.cosine.reshape({T, T, d / 2}), sine = a.sine.reshape({T, T, d / 2});
  const Pairs x = pairs(rows), y = pairs(columns);
  return sum(cosine * (x.first * y.first + x.second * y.second) + sine * (x.second * y.first - x.first * y.second),
             {-1});
}

}  // namespace

Index check_pointer_inputs(const char* op, const Tensor& q, const Tensor& k, const Tensor& start, const Tensor& end,
                           bool rope) {
  if (!q || !k) fail(op, "needs queries and keys; one of them is undefined");
  if (q.rank() != 4 || k.shape() != q.shape()) {
    fail(op, "needs queries and keys of one shape [N,G,T,d], got " + q.describe() + " and " + k.describe());
  }
  check_same_kind(op, q, k);
  if (q.size(3) < 1) fail(op, "needs a width d of at least 1, got " + q.describe());
  if (rope && q.size(3) % 2) fail(op, "rope turns pairs, so the width d must be even, got " + q.describe());
  if (bool(start) != bool(end)) fail(op, "needs start and end together, or neither");
  if (!start) return q.size(1);
  for (const Tensor& x : {start, end}) {
    check_same_kind(op, q, x);
    if (x.rank() != 3 || x.size(0) != q.size(0) || x.size(2) != q.size(2) || x.shape() != start.shape()) {
      fail(op, "start and end must be [N,H,T] for queries " + q.describe() + ", got " + x.describe());
    }
  }
  if (q.size(1) != 1 && q.size(1) != start.size(1)) {
    fail(op, "needs one group of queries, or one for each type: " + q.describe() + " with start " + start.describe());
  }
  return start.size(1);
}

Tensor pointer_scores(At q, const Tensor& k, const Tensor& start, const Tensor& end, PointerOptions o) {
  const Index H = check_pointer_inputs("pointer_scores", q, k, start, end, o.rope);
  const Index N = q->size(0), T = q->size(2);
  const double c = o.scale ? 1 / std::sqrt(double(q->size(3))) : 1;
  Tensor s;
  if (o.form == Form::definition) {
    s = relative_scores(q, k, o.rope);
  } else {
    s = o.rope ? matmul(At(rope(q), q.line), rope(At(k, q.line)), {.transpose_b = true})
               : matmul(q, k, {.transpose_b = true});
  }
  s = At(s, q.line) * c;
  if (!start) return s;
  return s + start.reshape({N, H, T, 1}) + end.reshape({N, H, 1, T});
}

Tensor rope_score(At q, const Tensor& k, Index i, Index j, Form form) {
  if (!q.tensor || !k || q->rank() != 1 || q->shape() != k.shape() || q->size(0) % 2) {
    fail("rope_score", "needs two vectors [d] of one even length, got " + (q.tensor ? q->describe() : "nothing") +
                           " and " + (k ? k.describe() : "nothing"));
  }
  const Index d = q->size(0);
  const auto turn = [&](At x, Index position) {
    const Tensor row = x->reshape({1, d}, x.line), at = labels({position}, x->device());
    return form == Form::definition ? turned(row, at) : rope(row, at);
  };
  return sum(turn(q, i) * turn(At(k, q.line), j));
}

// ---- for the table of losses

namespace {

std::vector<LossSample> rope_samples(Rng& rng) {
  const auto sample = [&](const char* what, Index n, Index d, Tensor positions) {
    return LossSample{what, {{"x", randn({n, d}, rng, DType::f64)}, {"positions", positions}}};
  };
  LossSample far = sample("positions of a million", 2, 6, labels({1000000, 999983}));
  far.extreme = true;
  return {sample("five rows, two pairs", 5, 4, labels({0, 3, 1, 100, 7})), sample("one row", 1, 6, labels({2})),
          sample("position 0 turns nothing", 2, 2, labels({0, 0})), sample("no rows", 0, 4, labels({})), far};
}

std::vector<LossSample> rope_score_samples(Rng& rng) {
  const auto sample = [&](const char* what, Index d, int i, int j) {
    return LossSample{
        what, {{"q", randn({d}, rng, DType::f64)}, {"k", randn({d}, rng, DType::f64)}}, {{"i", i}, {"j", j}}};
  };
  return {
      sample("3 and 7", 6, 3, 7), sample("7 and 3", 2, 7, 3), sample("the same place", 4, 5, 5),
      LossSample{"zero vectors", {{"q", zeros({4}, DType::f64)}, {"k", zeros({4}, DType::f64)}}, {{"i", 1}, {"j", 2}}}};
}

}  // namespace

Losses pointer_scores_losses() {
  return {{.name = "rope",
           .family = Family::logsumexp,
           .formula = "R_p x: pair i of row p turns by p 10000^(-2i/d)",
           .seeds = "A083",
           .task = "positions in attention and span scores",
           .inputs = {{"x", "[N,D]"}, {"positions", "[N]", Kind::integer}},
           .options = {},
           .run =
               [](const Arguments& a) {
                 if (a.form == Form::closed) return rope(a["x"], a["positions"]);
                 if (a["x"].size(1) % 2) fail("rope", "turns pairs, so D must be even, got " + a["x"].describe());
                 return turned(a["x"], a["positions"]);
               },
           .samples = rope_samples},
          {.name = "rope_score",
           .family = Family::logsumexp,
           .formula = "<R_i q, R_j k>, a function of j - i",
           .seeds = "A083 C54",
           .task = "span scores",
           .inputs = {{"q", "[d]"}, {"k", "[d]"}},
           .options = {{"i", 0}, {"j", 0}},
           .run = [](const Arguments& a) { return rope_score(a["q"], a["k"], a.integer("i"), a.integer("j"), a.form); },
           .samples = rope_score_samples}};
}

}  // namespace gradus
