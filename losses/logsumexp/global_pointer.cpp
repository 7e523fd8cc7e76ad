#include "losses/logsumexp/global_pointer.h"

#include "ops/math.h"
#include "ops/matmul.h"
#include "ops/select.h"
#include "ops/shape_ops.h"

namespace gradus {
namespace {

void check_hidden(const char* op, const Tensor& h, const Tensor& weight) {
  if (!h || h.rank() != 3 || !weight || weight.rank() != 2 || weight.size(0) != h.size(2)) {
    fail(op, "needs hidden states [N,T,D] and weights [D,..], got " + (h ? h.describe() : "nothing") + " and " +
                 (weight ? weight.describe() : "nothing"));
  }
}

Tensor project(At h, const Tensor& W) {  // [N,T,D] -> [N,1,T,d]
  const Tensor x = matmul(h, W);
  return x.reshape({x.size(0), 1, x.size(1), x.size(2)}, h.line);
}

}  // namespace

QueriesKeys project_pointer(At h, const Tensor& W, const Tensor& b, Index H) {
  check_hidden("global_pointer", h, W);
  if (H < 1 || H > W.size(1) / 2 || W.size(1) % (2 * H) != 0) {
    fail("global_pointer", "W must be [D,2 H d], d >= 1, for " + std::to_string(H) + " heads, got " + W.describe());
  }
  const Index N = h->size(0), T = h->size(1), d = W.size(1) / (2 * H);
  if (b && b.shape() != Shape{W.size(1)})
    fail("global_pointer", "b must be [2 H d] beside W " + W.describe() + ", got " + b.describe());
  Tensor x = matmul(h, W);  // [N,T,2Hd]
  if (b) x = At(x, h.line) + b;
  const Tensor heads = permute(x.reshape({N, T, H, 2 * d}, h.line), {0, 2, 1, 3});  // [N,H,T,2d]
  return {slice(heads, -1, 0, d), slice(heads, -1, d, 2 * d)};
}

StartEnd project_types(const Tensor& q, const Tensor& k, const Tensor& w) {
  const Index d = q.size(-1);
  if (!w || w.rank() != 2 || w.size(1) != 4 * d) {
    fail("efficient_global_pointer",
         "w must be [H,4d] with d = " + std::to_string(d) + ", got " + (w ? w.describe() : "nothing"));
  }
  const Tensor both = cat({q, k}, -1);  // [N,T,2d]
  const auto side = [&](Index begin) {
    return transpose(matmul(both, slice(w, 1, begin, begin + 2 * d), {.transpose_b = true}), 1, 2);  // [N,H,T]
  };
  return {side(0), side(2 * d)};
}

Tensor global_pointer_scores(At h, const Tensor& W, const Tensor& b, Index H, PointerOptions o) {
  const auto [q, k] = project_pointer(h, W, b, H);
  return pointer_scores(At(q, h.line), k, {}, {}, o);
}

Tensor global_pointer(At h, const Tensor& W, const Tensor& b, const Tensor& labels, const Tensor& mask,
                      PointerLossOptions o) {
  if (!labels || labels.rank() != 4) {
    fail("global_pointer", "labels must be [N,H,T,T], got " + (labels ? labels.describe() : "nothing"));
  }
  const auto [q, k] = project_pointer(h, W, b, labels.size(1));
  return pointer_loss(At(q, h.line), k, {}, {}, labels, mask, o);
}

Tensor efficient_global_pointer_scores(At h, const Tensor& Wq, const Tensor& Wk, const Tensor& w, PointerOptions o) {
  check_hidden("efficient_global_pointer", h, Wq);
  check_hidden("efficient_global_pointer", h, Wk);
  const Tensor q = project(h, Wq), k = project(h, Wk);
  const auto [start, end] =
      project_types(q.reshape({q.size(0), q.size(2), q.size(3)}), k.reshape({k.size(0), k.size(2), k.size(3)}), w);
  return pointer_scores(At(q, h.line), k, start, end, o);
}

Tensor efficient_global_pointer(At h, const Tensor& Wq, const Tensor& Wk, const Tensor& w, const Tensor& labels,
                                const Tensor& mask, PointerLossOptions o) {
  check_hidden("efficient_global_pointer", h, Wq);
  check_hidden("efficient_global_pointer", h, Wk);
  const Tensor q = project(h, Wq), k = project(h, Wk);
  const auto [start, end] =
      project_types(q.reshape({q.size(0), q.size(2), q.size(3)}), k.reshape({k.size(0), k.size(2), k.size(3)}), w);
  return pointer_loss(At(q, h.line), k, start, end, labels, mask, o);
}

Index global_pointer_parameters(Index D, Index d, Index H) { return 2 * D * d * H; }
Index efficient_pointer_parameters(Index D, Index d, Index H) { return 2 * D * d + 4 * d * H; }
Index modulated_pointer_parameters(Index D, Index d, Index H) { return 2 * D * d + d * H; }
Index low_rank_pointer_parameters(Index d, Index H, Index r) { return 4 * d * r + H * r; }

// ---- for the table of losses

namespace {

Tensor normal(Shape shape, Rng& rng) { return 0.7 * randn(shape, rng, DType::f64); }

Inputs pointer_inputs(Index N, Index T, Index D, Index H, Index d, bool efficient, Rng& rng) {
  Inputs in{{"h", normal({N, T, D}, rng)}};
  if (efficient) {
    in["Wq"] = normal({D, d}, rng), in["Wk"] = normal({D, d}, rng), in["w"] = normal({H, 4 * d}, rng);
  } else {
    in["W"] = normal({D, 2 * H * d}, rng), in["b"] = normal({2 * H * d}, rng);
  }
  return in;
}

Inputs with_labels(Inputs in, Index N, Index H, Index T, bool masked, Rng& rng) {
  in["labels"] = less(rand({N, H, T, T}, rng, DType::f64), full({}, 0.3, DType::f64)).to(DType::f64);
  if (masked) {
    in["mask"] = ones({N, T}, DType::f64);
    set_value(in["mask"], 1, 0);
    set_value(in["mask"], N * T - 1, 0);
  }
  return in;
}

template <bool efficient> std::vector<LossSample> loss_samples(Rng& rng) {
  const auto sample = [&](const char* what, Index N, Index T, Index H, Index d, bool masked, Options options) {
    return LossSample{what, with_labels(pointer_inputs(N, T, 3, H, d, efficient, rng), N, H, T, masked, rng), options};
  };
  LossSample nothing = sample("all tokens masked", 1, 2, 2, 2, true, {});
  nothing.inputs["mask"] = zeros({1, 2}, DType::f64);
  LossSample large = sample("scores of 1e4", 1, 3, 2, 2, false, {{"rope", false}, {"scale", false}});
  large.inputs["h"] = 300 * large.inputs["h"];
  large.extreme = true;
  return {sample("two sentences", 2, 4, 3, 2, true, {}),
          sample("no rope, no scale", 1, 3, 2, 3, false, {{"rope", false}, {"scale", false}}),
          sample("one token", 3, 1, 2, 4, false, {{"scale", false}}), nothing, large};
}

template <bool efficient> std::vector<LossSample> score_samples(Rng& rng) {
  const auto sample = [&](const char* what, Index N, Index T, Index H, Index d, Options options) {
    Inputs in = pointer_inputs(N, T, 3, H, d, efficient, rng);
    if (!efficient) options.insert_or_assign("heads", H);
    return LossSample{what, in, options};
  };
  return {sample("two sentences", 2, 4, 3, 2, {}), sample("no rope", 1, 3, 2, 3, {{"rope", false}}),
          sample("one token, no scale", 3, 1, 1, 4, {{"scale", false}}), sample("no sentence", 0, 2, 2, 2, {})};
}

PointerOptions score_options(const Arguments& a) {
  return {.rope = a.flag("rope"), .scale = a.flag("scale"), .form = a.form};
}
PointerLossOptions loss_options(const Arguments& a) {
  return {.rope = a.flag("rope"), .scale = a.flag("scale"), .window = a.integer("window"), .form = a.form};
}

// Without the option, the number of types is that of the cotangent, as `gradus eval` gives it.
Index heads_of(const Arguments& a) {
  const Tensor& cotangent = a["cotangent"];
  if (cotangent && cotangent.rank() == 4) return cotangent.size(1);
  if (a.integer("heads") < 1) fail("global_pointer_scores", "needs the option 'heads', or a cotangent [N,H,T,T]");
  return a.integer("heads");
}

}  // namespace

Losses global_pointer_losses() {
  const std::vector<OptionSpec> rope_scale = {{"rope", true}, {"scale", true}};
  const std::vector<OptionSpec> rope_scale_window = {{"rope", true}, {"scale", true}, {"window", -1}};
  return {{.name = "global_pointer",
           .family = Family::logsumexp,
           .formula = "1/N sum_n,h log(1 + sum_neg e^s) + log(1 + sum_pos e^-s),  s = <R_i q_i, R_j k_j>",
           .seeds = "A082-A086 A091 B083-B093 C51-C55 D20",
           .task = "nested named entities",
           .inputs = {{"h", "[N,T,D]"},
                      {"W", "[D,?]"},
                      {"b", "[?]"},
                      {"labels", "[N,H,T,T]", Kind::constant},
                      {"mask", "[N,T]", Kind::constant, true}},
           .options = rope_scale_window,
           .run =
               [](const Arguments& a) {
                 return global_pointer(a["h"], a["W"], a["b"], a["labels"], a["mask"], loss_options(a));
               },
           .samples = loss_samples<false>},
          {.name = "global_pointer_scores",
           .family = Family::logsumexp,
           .formula = "s_h(i,j) = <R_i q_i, R_j k_j> / sqrt(d),  [q | k] = h W + b",
           .seeds = "A082 A083",
           .task = "nested named entities: scores of all spans",
           .inputs = {{"h", "[N,T,D]"}, {"W", "[D,?]"}, {"b", "[?]"}, {"cotangent", "[N,H,T,T]", Kind::constant, true}},
           .options = {{"rope", true}, {"scale", true}, {"heads", 0}},
           .run =
               [](const Arguments& a) {
                 return global_pointer_scores(a["h"], a["W"], a["b"], heads_of(a), score_options(a));
               },
           .samples = score_samples<false>},
          {.name = "efficient_global_pointer",
           .family = Family::logsumexp,
           .formula = "as global_pointer with s_a = <R_i q_i, R_j k_j> + <w_a, [q_i; k_i; q_j; k_j]>",
           .seeds = "A087-A090 A098 A099 B084-B088 C57 C58 C60 D21",
           .task = "nested named entities of many types",
           .inputs = {{"h", "[N,T,D]"},
                      {"Wq", "[D,d]"},
                      {"Wk", "[D,d]"},
                      {"w", "[H,4d]"},
                      {"labels", "[N,H,T,T]", Kind::constant},
                      {"mask", "[N,T]", Kind::constant, true}},
           .options = rope_scale_window,
           .run =
               [](const Arguments& a) {
                 return efficient_global_pointer(a["h"], a["Wq"], a["Wk"], a["w"], a["labels"], a["mask"],
                                                 loss_options(a));
               },
           .samples = loss_samples<true>},
          {.name = "efficient_global_pointer_scores",
           .family = Family::logsumexp,
           .formula = "s_a(i,j) = <R_i q_i, R_j k_j> / sqrt(d) + <w_a, [q_i; k_i; q_j; k_j]>",
           .seeds = "A087-A089",
           .task = "nested named entities of many types: scores of all spans",
           .inputs = {{"h", "[N,T,D]"}, {"Wq", "[D,d]"}, {"Wk", "[D,d]"}, {"w", "[H,4d]"}},
           .options = rope_scale,
           .run =
               [](const Arguments& a) {
                 return efficient_global_pointer_scores(a["h"], a["Wq"], a["Wk"], a["w"], score_options(a));
               },
           .samples = score_samples<true>}};
}

}  // namespace gradus
