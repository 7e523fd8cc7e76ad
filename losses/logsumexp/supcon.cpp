#include "losses/logsumexp/supcon.h"

#include "losses/logsumexp/info_nce_rows.h"
#include "losses/logsumexp/weight_of_mean.h"
#include "ops/distance.h"
#include "ops/elementwise.h"
#include "ops/index.h"
#include "ops/normalize.h"
#include "ops/sort.h"

namespace gradus {
namespace {

// 1 for rows whose class has another row: beside them in the order of the labels.
template <class T> struct Anchors {
  const Index *label, *order;
  Index N;
  T* anchor;
  HD void operator()(Index p) const {
    const Index own = label[order[p]];
    const bool before = p > 0 && label[order[p - 1]] == own, after = p + 1 < N && label[order[p + 1]] == own;
    anchor[order[p]] = before || after ? T(1) : T(0);
  }
};

Tensor anchors(const Tensor& labels, DType dtype) {
  const Tensor order = argsort(labels, 0);
  Tensor anchor = empty(labels.shape(), dtype, labels.device());
  dispatch_float("supcon", dtype, [&]<class T>() {
    launch(labels.device(), labels.numel(),
           Anchors<T>{labels.data<Index>(), order.data<Index>(), labels.numel(), anchor.data_mut<T>()});
  });
  return anchor;
}

}  // namespace

Tensor supcon(At embeddings, const Tensor& labels, SupconOptions o) {
  check_temperature("supcon", o.temperature);
  if (!embeddings.tensor || !labels) fail("supcon", "needs embeddings and labels; one of them is undefined");
  if (embeddings->rank() != 2 || labels.rank() != 1 || labels.numel() != embeddings->size(0)) {
    fail("supcon", "needs a label for each row: embeddings " + embeddings->describe() + " and labels " +
                       labels.describe() + " must be [N,D] and [N]");
  }
  check_same_device("supcon", embeddings, labels);
  const Tensor y = as_index("supcon", labels).detach();
  const Tensor unit = l2_normalize(embeddings);
  const Tensor rows = info_nce_products(At(unit, embeddings.line), unit, y, Positives::same_id, o.temperature, o.form);
  if (o.reduction != Reduction::mean) return reduce_rows(At(rows, embeddings.line), o.reduction, 1);
  return dot(At(rows, embeddings.line), weight_of_mean(anchors(y, rows.dtype())));
}

// ---- for the table of losses

namespace {

std::vector<LossSample> supcon_samples(Rng& rng) {
  const auto batch = [&](Index D, const std::vector<Index>& y) {
    return Inputs{{"embeddings", randn({Index(y.size()), D}, rng, DType::f64)}, {"labels", labels(y)}};
  };
  Inputs with_zero = batch(2, {0, 0, 1, 1, 1});
  for (const Index i : {2, 3}) set_value(with_zero["embeddings"], i, 0);
  return {
      {"3 classes", batch(4, {0, 1, 0, 2, 2, 0, 1}), {{"temperature", 0.5}}},
      {"a row without positives", batch(3, {5, 5, 7, 5})},
      {"sum", batch(6, {1, 0, 1, 0, 0}), {{"reduction", "sum"}, {"temperature", 0.2}}},
      {"none", batch(2, {1, 0, 1, 3, 0, 0, 3, 9}), {{"reduction", "none"}, {"temperature", 0.3}}},
      {"no positives", batch(3, {0, 1, 2})},
      {"one row", batch(3, {4})},
      {"no rows", batch(3, {})},
      {.what = "a zero row", .inputs = with_zero, .extreme = true},
  };
}

}  // namespace

Losses supcon_losses() {
  return {{.name = "supcon",
           .family = Family::logsumexp,
           .formula = "-mean_{p in P_i} log softmax_{k != i}(cos(x_i, x_k) / t)_p",
           .seeds = "A079",
           .task = "representations by class labels",
           .inputs = {{"embeddings", "[N,D]"}, {"labels", "[N]", Kind::integer}},
           .options = {{"temperature", 0.1}, reduction_option()},
           .run =
               [](const Arguments& a) {
                 return supcon(a["embeddings"], a["labels"],
                               {.temperature = a.number("temperature"), .reduction = a.reduction(), .form = a.form});
               },
           .samples = supcon_samples}};
}

}  // namespace gradus
