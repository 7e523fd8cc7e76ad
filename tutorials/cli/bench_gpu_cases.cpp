// What `gradus bench --device cuda` measures. In f32, forward and backward, on inputs larger than the cache of a GPU.
//
// Bytes are those that no way of computing can avoid, 4 a number: cross entropy reads the logits and writes their gradient,
// 8 for each; a layer reads x and writes y, then reads x and dy and writes dx, 20 for each element.
#include <cmath>
#include <memory>

#include "engine/backward.h"
#include "losses/logsumexp/cosent.h"
#include "losses/logsumexp/info_nce.h"
#include "losses/logsumexp/multilabel.h"
#include "losses/logsumexp/nt_xent.h"
#include "losses/logsumexp/pointer_loss.h"
#include "losses/softmax/bce.h"
#include "losses/softmax/cross_entropy.h"
#include "losses/softmax/focal.h"
#include "losses/softmax/focal_sigmoid.h"
#include "losses/softmax/gamma_ce.h"
#include "losses/softmax/linear_cross_entropy.h"
#include "models/optimizer.h"
#include "models/transformer.h"
#include "ops/attention.h"
#include "ops/index.h"
#include "ops/math.h"
#include "ops/normalize.h"
#include "ops/select.h"
#include "tutorials/cli/bench_gpu.h"

namespace gradus::cli {
namespace {

// Normal numbers, repeated after the first 4 million: they are made on the CPU, which would take longer than the benchmark.
Tensor noise(Shape shape, Rng& rng) {
  constexpr Index piece = Index(1) << 22;
  Tensor x = empty(shape);
  const Tensor part = randn({std::min(piece, x.numel())}, rng);
  float* to = x.data_mut<float>();
  for (Index done = 0; done < x.numel(); done += piece) {
    const Index count = std::min(piece, x.numel() - done);
    x.device().copy(to + done, part.data<float>(), std::size_t(count) * sizeof(float));
  }
  return x;
}
Tensor leaf(Shape shape, Rng& rng) { return noise(shape, rng).requires_grad_(); }

// u8, 1 in about one of ten thousand places
Tensor rare(Shape shape, Rng& rng) { return less(noise(shape, rng), scalar(-3.72)); }

// Few of the V ids come up often and many seldom, as words do.
Tensor skewed_ids(Index count, Index V, Rng& rng) {
  std::vector<Index> ids(static_cast<std::size_t>(count));
  for (Index& id : ids) id = Index(double(V) * std::pow(rng.uniform(), 4));
  return labels(ids);
}

// One step: y, the gradients of the leaves for dy (ones when there is none), and these dropped again.
std::function<void()> gradients(std::vector<Tensor> leaves, std::function<Tensor()> y, Tensor dy = {}) {
  return [leaves, y, dy]() mutable {
    Tape tape;
    const Tensor value = y();
    BackwardPass pass(tape);
    pass.seed(value, dy ? dy : ones(value.shape(), value.dtype(), value.device()));
    pass.finish();
    for (Tensor& x : leaves) x.zero_grad();
  };
}

// A loss of logits [N,V] and labels [N].
template <class F> auto classes(F loss) {
  return [loss](const Sizes& s, Rng& rng) {
    const Tensor z = leaf({s["N"], s["V"]}, rng), t = randint(s["V"], {s["N"]}, rng);
    return Trial{gradients({z}, [=] { return loss(z, t); }), 8.0 * double(z.numel())};
  };
}

// A loss of logits and 0/1 targets [N,C], which are read as well.
template <class F> auto flags(F loss) {
  return [loss](const Sizes& s, Rng& rng) {
    const Tensor z = leaf({s["N"], s["C"]}, rng), t = rare({s["N"], s["C"]}, rng).to(DType::f32);
    return Trial{gradients({z}, [=] { return loss(z, t); }), 12.0 * double(z.numel())};
  };
}

// Three products: the logits, and a gradient on each side.
Trial linear_ce(const Sizes& s, Rng& rng) {
  const Index N = s["N"], D = s["H"], V = s["V"];
  const Tensor h = leaf({N, D}, rng), W = leaf({V, D}, rng), t = randint(V, {N}, rng);
  return {gradients({h, W}, [=] { return linear_cross_entropy(h, W, t); }), 8.0 * double(h.numel() + W.numel()),
          6.0 * double(N) * double(D) * double(V)};
}

Trial layer_norm_step(const Sizes& s, Rng& rng) {
  const Tensor x = leaf({s["N"], s["D"]}, rng), w = leaf({s["D"]}, rng), b = leaf({s["D"]}, rng);
  return {gradients(
              {x, w, b}, [=] { return layer_norm(x, w, b); }, noise(x.shape(), rng)),
          20.0 * double(x.numel())};
}

Trial gelu_step(const Sizes& s, Rng& rng) {
  const Tensor x = leaf({s["N"], s["D"]}, rng);
  return {gradients(
              {x}, [=] { return gelu(x, Gelu::tanh); }, noise(x.shape(), rng)),
          20.0 * double(x.numel())};
}

// Rows are read and written; their gradient is read, and a gradient for all V rows written.
Trial embedding_step(const Sizes& s, Rng& rng) {
  const Index N = s["N"], D = s["D"];
  const Tensor W = leaf({s["V"], D}, rng), ids = skewed_ids(N, s["V"], rng);
  return {gradients(
              {W}, [=] { return embedding(W, ids); }, noise({N, D}, rng)),
          12.0 * double(N * D) + 4.0 * double(W.numel())};
}

// Two products forward and five backward, each over the half of the pairs that the causal mask leaves.
Trial attention_step(const Sizes& s, Rng& rng) {
  const Shape shape = {s["B"], s["H"], s["T"], s["D"]};
  const Tensor q = leaf(shape, rng), k = leaf(shape, rng), v = leaf(shape, rng);
  const auto y = [=] { return scaled_dot_product_attention(q, k, v, {.causal = true}); };
  return {gradients({q, k, v}, y, noise(shape, rng)), 4.0 * 12 * double(q.numel()), 7.0 * double(q.numel() * s["T"])};
}

// Each cell's label is read, and three products over the half of the cells with start <= end: scores, dq and dk.
Trial global_pointer_step(const Sizes& s, Rng& rng) {
  const Index N = s["N"], C = s["C"], T = s["T"];
  const Tensor q = leaf({N, C, T, s["D"]}, rng), k = leaf({N, C, T, s["D"]}, rng), spans = rare({N, C, T, T}, rng);
  return {gradients({q, k}, [=] { return pointer_loss(q, k, {}, {}, spans, {}, {.rope = false}); }),
          double(spans.numel()) / 2, 3.0 * double(q.numel() * T)};
}

// Similarities of all pairs of 2N views, and one product for the gradient, for which both sides can be added up before.
Trial nt_xent_step(const Sizes& s, Rng& rng) {
  const Tensor a = leaf({s["N"], s["D"]}, rng), b = leaf({s["N"], s["D"]}, rng);
  return {gradients({a, b}, [=] { return nt_xent(a, b); }), 16.0 * double(a.numel()),
          4.0 * 4 * double(s["N"] * s["N"] * s["D"])};
}

Trial info_nce_step(const Sizes& s, Rng& rng) {
  const Tensor q = leaf({s["N"], s["D"]}, rng), k = leaf({s["N"], s["D"]}, rng);
  return {gradients({q, k}, [=] { return info_nce(q, k); }), 16.0 * double(q.numel()),
          6.0 * double(s["N"] * s["N"] * s["D"])};
}

Trial cosent_step(const Sizes& s, Rng& rng) {
  const Tensor cosine = tanh(noise({s["B"]}, rng)).detach().requires_grad_();
  const Tensor level = randint(6, {s["B"]}, rng).to(DType::f32);
  return {gradients({cosine}, [=] { return cosent(cosine, level); }), 12.0 * double(s["B"])};
}

TransformerOptions transformer_of(const Sizes& s) {
  return {.vocabulary = s["V"], .width = s["D"], .heads = s["H"], .layers = s["layers"], .context = s["T"]};
}

// Reads p, g and both averages, writes p and the averages.
Trial adamw_step(const Sizes& s, Rng& rng) {
  const auto model = std::make_shared<Transformer>(transformer_of(s), rng.split());
  for (Tensor p : model->parameters()) p.set_grad(p.clone());
  const auto adam = std::make_shared<AdamW>(model->parameters());
  return {[model, adam] { adam->step(); }, 28.0 * double(model->parameter_count())};
}

// A whole training step; three times the products of forward: the matrices of the blocks, the logits, attention's halves.
Trial lm_step(const Sizes& s, Rng& rng) {
  const auto model = std::make_shared<Transformer>(transformer_of(s), rng.split());
  const auto adam = std::make_shared<AdamW>(model->parameters());
  const Index B = s["B"], T = s["T"], V = s["V"], D = s["D"], layers = s["layers"];
  const Tensor x = randint(V, {B, T}, rng), y = randint(V, {B * T}, rng);
  const auto step = [=] {
    Tape tape;
    backward(cross_entropy((*model)(x).reshape({B * T, V}), y));
    adam->step(), adam->zero_grad();
  };
  return {step, 28.0 * double(model->parameter_count()), 6.0 * double(B * T * (layers * D * (12 * D + T) + V * D))};
}

}  // namespace

const std::vector<GpuCase>& gpu_cases() {
  const auto ce = [](const Tensor& z, const Tensor& t) { return cross_entropy(z, t); };
  const auto smooth = [](const Tensor& z, const Tensor& t) { return cross_entropy(z, t, {.label_smoothing = 0.1}); };
  const auto focal2 = [](const Tensor& z, const Tensor& t) { return focal(z, t, {.gamma = 2}); };
  const auto gamma = [](const Tensor& z, const Tensor& t) { return gamma_ce(z, t, {.gamma = 0.2}); };
  const auto bce = [](const Tensor& z, const Tensor& t) { return bce_with_logits(z, t); };
  const auto focal_bce = [](const Tensor& z, const Tensor& t) { return focal_sigmoid(z, t); };
  const auto multilabel = [](const Tensor& z, const Tensor& t) { return multilabel_ce(z, t); };
  static const std::vector<GpuCase> cases = {
      {"ce", {{{"N", 8192}, {"V", 32768}}}, classes(ce)},
      {"ce", {{{"N", 8192}, {"V", 131072}}}, classes(ce)},
      {"ce-smoothing", {{{"N", 8192}, {"V", 32768}}}, classes(smooth)},
      {"focal", {{{"N", 8192}, {"V", 32768}}}, classes(focal2)},
      {"focal", {{{"N", 8192}, {"V", 131072}}}, classes(focal2)},
      {"gamma-ce", {{{"N", 8192}, {"V", 32768}}}, classes(gamma)},
      {"bce", {{{"N", 800000}, {"C", 80}}}, flags(bce)},
      {"focal-sigmoid", {{{"N", 800000}, {"C", 80}}}, flags(focal_bce)},
      {"multilabel", {{{"N", 160}, {"C", 262144}}}, flags(multilabel)},
      {"linear-ce", {{{"N", 8192}, {"H", 4096}, {"V", 131072}}}, linear_ce, MatmulPrecision::bf16},
      {"layer-norm", {{{"N", 32768}, {"D", 2048}}}, layer_norm_step},
      {"gelu", {{{"N", 32768}, {"D", 2048}}}, gelu_step},
      {"embedding", {{{"V", 50304}, {"D", 768}, {"N", 32768}}}, embedding_step},
      {"attention", {{{"B", 2}, {"H", 16}, {"T", 4096}, {"D", 64}}}, attention_step},
      {"global-pointer", {{{"N", 4}, {"C", 10}, {"T", 2048}, {"D", 64}}}, global_pointer_step},
      {"nt-xent", {{{"N", 4096}, {"D", 256}}}, nt_xent_step},
      {"info-nce", {{{"N", 8192}, {"D", 256}}}, info_nce_step},
      {"cosent", {{{"B", 8192}}}, cosent_step},
      {"cosent", {{{"B", 1000000}}}, cosent_step},
      {"adamw", {{{"layers", 6}, {"D", 512}, {"H", 8}, {"V", 32768}, {"T", 1024}}}, adamw_step},
      {"lm-step", {{{"layers", 4}, {"D", 128}, {"H", 4}, {"V", 256}, {"B", 16}, {"T", 128}}}, lm_step},
  };
  return cases;
}

}  // namespace gradus::cli
