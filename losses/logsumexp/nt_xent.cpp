#include "losses/logsumexp/nt_xent.h"

#include "losses/logsumexp/info_nce_rows.h"
#include "ops/arithmetic.h"
#include "ops/normalize.h"
#include "ops/shape_ops.h"

namespace gradus {

Tensor nt_xent(At z1, const Tensor& z2, NtXentOptions o) {
  check_temperature("nt_xent", o.temperature);
  check_views("nt_xent", z1, z2);
  const Index N = z1->size(0);
  const Tensor half = arange(N, DType::i64, z1->device()), sample = cat({half, half});  // views of a sample: one id
  const Tensor z = cat({z1, z2}, 0, z1.line);                                           // [2N,D]
  const Tensor unit = l2_normalize(At(z, z1.line));
  const Tensor rows = info_nce_products(At(unit, z1.line), unit, sample, Positives::same_id, o.temperature, o.form);
  return reduce_rows(At(rows, z1.line), o.reduction, double(2 * N));
}

// ---- for the table of losses

namespace {

std::vector<LossSample> nt_xent_samples(Rng& rng) {
  const auto views = [&](Index N, Index D) {
    const Tensor z = randn({N, D}, rng, DType::f64);
    return Inputs{{"z1", z}, {"z2", z + 0.5 * randn({N, D}, rng, DType::f64)}};
  };
  Inputs long_rows = views(3, 4), with_zero = views(3, 2);
  long_rows["z1"] = long_rows["z1"] * 1e15;
  for (const Index i : {2, 3}) set_value(with_zero["z2"], i, 0);
  return {
      {"4 samples", views(4, 3)},
      {"7 samples, temperature 0.1", views(7, 5), {{"temperature", 0.1}}},
      {"2 samples, sum", views(2, 6), {{"reduction", "sum"}}},
      {"3 samples, none", views(3, 2), {{"reduction", "none"}}},
      {"one sample", views(1, 3)},
      {"no samples", views(0, 3)},
      {.what = "rows of length 1e15", .inputs = long_rows, .extreme = true},
      {.what = "a zero row", .inputs = with_zero, .extreme = true},
  };
}

}  // namespace

Losses nt_xent_losses() {
  return {{.name = "nt_xent",
           .family = Family::logsumexp,
           .formula = "-log softmax_{k != i}(cos(z_i, z_k) / t)_{p(i)}",
           .seeds = "A078 A079",
           .task = "representations from two views of each sample",
           .inputs = {{"z1", "[N,D]"}, {"z2", "[N,D]"}},
           .options = {{"temperature", 0.5}, reduction_option()},
           .run =
               [](const Arguments& a) {
                 return nt_xent(a["z1"], a["z2"],
                                {.temperature = a.number("temperature"), .reduction = a.reduction(), .form = a.form});
               },
           .samples = nt_xent_samples}};
}

}  // namespace gradus
