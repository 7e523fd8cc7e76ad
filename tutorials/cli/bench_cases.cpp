#include "tutorials/cli/bench_cases.h"

#include "ops/math.h"
#include "ops/select.h"

namespace gradus::cli {
namespace {

// 1 with probability p, else 0
Tensor rare(Shape shape, double p, Rng& rng) { return less(rand(shape, rng), full({}, p)).to(DType::f32); }
Tensor levels(Index n, Index count, Rng& rng) { return randint(count, {n}, rng).to(DType::f32); }

Inputs logits_and_labels(Index N, Index C, Rng& rng) {
  return {{"logits", randn({N, C}, rng)}, {"target", randint(C, {N}, rng)}};
}

// P indices of labels in each row
Tensor few_labels(Index N, Index C, Index P, Rng& rng) {
  Tensor y = empty({N, P}, DType::i64);
  for (Index r = 0; r < N; ++r) {
    for (Index k = 0; k < P; ++k) set_value(y, r * P + k, double(k * (C / P) + rng.index(C / P)));
  }
  return y;
}

}  // namespace

const std::vector<BenchCase>& bench_cases() {
  static const std::vector<BenchCase> cases = {
      {"ce", "N=4096 C=32000", 2.5, "cross_entropy", [](Rng& rng) { return logits_and_labels(4096, 32000, rng); }},
      {"ce-small", "N=512 C=10", 0, "cross_entropy", [](Rng& rng) { return logits_and_labels(512, 10, rng); }},
      {"label-smoothing",
       "N=1024 C=32000",
       0,
       "cross_entropy",
       [](Rng& rng) { return logits_and_labels(1024, 32000, rng); },
       {{"label_smoothing", 0.1}}},
      {"focal",
       "N=1024 C=32000",
       0,
       "focal",
       [](Rng& rng) { return logits_and_labels(1024, 32000, rng); },
       {{"gamma", 2.0}}},
      {"gamma-ce",
       "N=1024 C=32000",
       0,
       "gamma_ce",
       [](Rng& rng) { return logits_and_labels(1024, 32000, rng); },
       {{"gamma", 0.2}}},
      {"bce", "N=80000 C=80", 0, "bce_with_logits",
       [](Rng& rng) {
         return Inputs{{"logits", randn({80000, 80}, rng)}, {"targets", rare({80000, 80}, .05, rng)}};
       }},
      {"focal-sigmoid", "N=80000 C=80", 10, "focal_sigmoid",
       [](Rng& rng) {
         return Inputs{{"logits", randn({80000, 80}, rng)}, {"targets", rare({80000, 80}, .05, rng)}};
       }},
      {"multilabel", "B=16 C=10 n=256", 8, "multilabel_ce",
       [](Rng& rng) {
         return Inputs{{"scores", randn({160, 65536}, rng)}, {"labels", rare({160, 65536}, 1e-4, rng)}};
       }},
      {"cosent",
       "B=8192",
       1000,
       "cosent",
       [](Rng& rng) {
         return Inputs{{"scores", 0.3 * randn({8192}, rng)}, {"labels", levels(8192, 6, rng)}};
       },
       {{"scale", 20.0}}},
      {"sinkhorn",
       "n=512, 50 iterations",
       5,
       "sinkhorn",
       [](Rng& rng) {
         const Tensor even = full({512}, 1.0 / 512);
         return Inputs{{"a", even}, {"b", even}, {"cost", rand({512, 512}, rng)}};
       },
       {{"epsilon", 0.05}, {"iterations", 50}}},
      {"nt-xent",
       "B=1024 D=128",
       0,
       "nt_xent",
       [](Rng& rng) {
         return Inputs{{"z1", randn({1024, 128}, rng)}, {"z2", randn({1024, 128}, rng)}};
       },
       {{"temperature", 0.5}}},
      {"triplet-batch-hard",
       "B=1024 D=128",
       0,
       "triplet_batch_hard",
       [](Rng& rng) {
         return Inputs{{"embeddings", randn({1024, 128}, rng)}, {"labels", randint(128, {1024}, rng)}};
       },
       {{"margin", 0.3}}},
  };
  return cases;
}

const std::vector<ScalingCase>& scaling_cases() {
  static const std::vector<ScalingCase> cases = {
      {"cosent",
       "B",
       1,
       "cosent",
       {16384, 65536, 262144, 1048576},
       [](Index B, Rng& rng) {
         return Inputs{{"scores", 0.3 * randn({B}, rng)}, {"labels", rand({B}, rng)}};
       }},
      {"angle",
       "B",
       1,
       "angle",
       {4096, 16384, 65536, 262144},
       [](Index B, Rng& rng) {
         return Inputs{{"u", randn({B, 8}, rng)}, {"v", randn({B, 8}, rng)}, {"labels", rand({B}, rng)}};
       }},
      {"triplet batch-all",
       "B",
       2,
       "triplet_batch_all",
       {128, 256, 512, 1024},
       [](Index B, Rng& rng) {
         return Inputs{{"embeddings", randn({B, 16}, rng)}, {"labels", randint(B / 8, {B}, rng)}};
       }},
      {"sparse multi-label",
       "C",
       1,
       "multilabel_ce_sparse",
       {16384, 65536, 262144, 1048576},
       [](Index C, Rng& rng) {
         return Inputs{{"scores", randn({16, C}, rng)}, {"labels", few_labels(16, C, 8, rng)}};
       }},
      {"gradnorm",
       "K",
       1,
       "gradnorm",
       {16384, 65536, 262144, 1048576},
       [](Index K, Rng& rng) {
         const auto positive = [&] { return rand({K}, rng) + 0.5; };
         return Inputs{
             {"weights", positive()}, {"grad_norms", positive()}, {"losses", positive()}, {"init_losses", positive()}};
       }},
      {"pcgrad, 4 tasks",
       "P",
       1,
       "pcgrad",
       {16384, 65536, 262144, 1048576},
       [](Index P, Rng& rng) {
         return Inputs{{"task_grads", randn({4, P}, rng)}};
       }},
      {"mgda, 4 tasks",
       "P",
       1,
       "mgda",
       {16384, 65536, 262144, 1048576},
       [](Index P, Rng& rng) {
         return Inputs{{"task_grads", randn({4, P}, rng)}};
       }},
  };
  return cases;
}

}  // namespace gradus::cli
