#include "losses/distance/tree.h"

#include "losses/distance/checks.h"
#include "losses/distance/pair.h"
#include "ops/distance.h"
#include "ops/index.h"
#include "ops/math.h"
#include "ops/shape_ops.h"
#include "ops/sort.h"

namespace gradus {
namespace {

Tensor definition(const Tensor& h, const Tensor& edges, const Tensor& alpha) {
  const Index E = edges.size(0);
  const Tensor from = slice(edges, 1, 0, 1).reshape({E}), to = slice(edges, 1, 1, 2).reshape({E});
  const Tensor gaps = squared_distance(index_select(h, 0, from), index_select(h, 0, to));  // [E]
  return alpha ? alpha * gaps : gaps;
}

// L_e = alpha_e |h_i - h_j|^2
template <class T> struct EdgeLoss {
  Index n;
  const Index* edges;
  const T *h, *alpha;  // alpha may be null
  T *gap, *loss;       // [E]: |h_i - h_j|^2, L
  template <class Team> HD void operator()(Index e, Team team) const {
    const T *u = h + edges[2 * e] * n, *v = h + edges[2 * e + 1] * n;
    const T s = team.template sum<T>(n, [=](Index k) { return (u[k] - v[k]) * (u[k] - v[k]); });
    if (team.leads()) {
      gap[e] = s;
      loss[e] = alpha ? (alpha[e] == 0 ? T(0) : alpha[e] * s) : s;
    }
  }
};

// dL_e/dalpha_e = |h_i - h_j|^2
template <class T> struct WeightGradient {
  const T *dy, *gap;
  T* dalpha;
  HD void operator()(Index e) const { dalpha[e] += dy[e] * gap[e]; }
};

// dh_i += sum over the edges e of node i of 2 dy_e alpha_e (h_i - h_j), in the order of the edges
template <class T> struct NodePull {
  Index count, n;
  const Index *edges, *ends;  // ends [2E]: the places in `edges`, sorted by the node that stands there
  const T *dy, *h, *alpha;    // alpha may be null
  T* dh;
  HD void operator()(Index i, Index k) const {
    Index low = 0, high = 2 * count;
    while (low < high) {
      const Index middle = (low + high) / 2;
      if (edges[ends[middle]] < i) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    T s = 0;
    for (; low < 2 * count && edges[ends[low]] == i; ++low) {
      const Index end = ends[low], e = end / 2, j = edges[end ^ 1];
      const T g = 2 * dy[e] * (alpha ? alpha[e] : T(1));
      if (i != j && g != 0) s += g * (h[i * n + k] - h[j * n + k]);
    }
    dh[i * n + k] += s;
  }
};

// in: h, alpha or undefined, edges i64 [E,2].  y: one loss per edge.
struct Tree final : Op {
  Tensor gap;  // [E], for the backward pass
  const char* name() const override { return "tree"; }

  Tensor forward(In in) override {
    const Tensor &h = in[0], &edges = in[2];
    const Index E = edges.size(0), D = h.size(1);
    Tensor loss = empty({E}, h.dtype(), h.device());
    gap = empty({E}, h.dtype(), h.device());
    dispatch_float(name(), h.dtype(), [&]<class T>() {
      launch_rows(
          h.device(), E, D,
          EdgeLoss<T>{D, edges.data<Index>(), h.data<T>(), kept<T>(in[1]), gap.data_mut<T>(), loss.data_mut<T>()});
    });
    return loss;
  }

  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    dispatch_float(name(), dy.dtype(), [&]<class T>() {
      if (dx.wants(0)) pull<T>(dy.data<T>(), in, dx.into(0).data_mut<T>());
      if (dx.wants(1)) {
        launch(dy.device(), dy.numel(), WeightGradient<T>{dy.data<T>(), gap.data<T>(), dx.into(1).data_mut<T>()});
      }
    });
  }

 private:
  // dh_i += 2 dy_e alpha_e (h_i - h_j), dh_j the negative. Edges share nodes, so threads share out columns, not edges;
  // on a GPU they share out the nodes too, and each looks for its edges in a list sorted by node.
  template <class T> void pull(const T* dy, In in, T* dh) const {
    const Index E = in[2].size(0), N = in[0].size(0), D = in[0].size(1), *edges = in[2].data<Index>();
    const T *h = in[0].data<T>(), *alpha = kept<T>(in[1]);
    Device& device = in[0].device();
    if (!device.is_cpu()) {
      const Tensor ends = argsort_indices(in[2].untaped_view({2 * E}), N);
      return launch_grid(device, N, D, NodePull<T>{E, D, edges, ends.data<Index>(), dy, h, alpha, dh});
    }
    parallel_for(D, std::max<Index>(16, serial_below / std::max<Index>(1, E)), [&](Index begin, Index end) {
      for (Index e = 0; e < E; ++e) {
        const Index i = edges[2 * e] * D, j = edges[2 * e + 1] * D;
        const T g = 2 * dy[e] * (alpha ? alpha[e] : T(1));
        if (i == j || g == 0) continue;
        for (Index k = begin; k < end; ++k) {
          const T v = g * (h[i + k] - h[j + k]);
          dh[i + k] += v;
          dh[j + k] -= v;
        }
      }
    });
  }
};

}  // namespace

Tensor tree(At h, const Tensor& edges, const Tensor& alpha, TreeOptions o) {
  constexpr auto op = "tree";
  if (!h.tensor || !edges) fail(op, "needs h and edges; one of them is undefined");
  if (h->rank() != 2) fail(op, "needs one vector per node, h [N,D], got " + h->describe());
  if (edges.rank() != 2 || edges.size(1) != 2) fail(op, "needs edges [E,2], got " + edges.describe());
  check_same_device(op, h, edges);
  check_indices(op, "node", edges, h->size(0));
  if (alpha) {
    check_same_kind(op, h, alpha);
    if (alpha.shape() != Shape{edges.size(0)}) {
      fail(op, "needs one weight per edge: edges " + edges.describe() + ", alpha " + alpha.describe());
    }
  }
  const Tensor nodes = as_index(op, edges);
  const Tensor rows = o.form == Form::definition ? definition(h, nodes, alpha) : apply(Tree{}, h, alpha, nodes);
  return reduce_elements(At(rows, h.line), o.reduction);
}

// ---- for the table of losses

namespace {

Tensor edge_list(const std::vector<double>& nodes) { return tensor(nodes, {Index(nodes.size()) / 2, 2}, DType::i64); }

std::vector<LossSample> tree_samples(Rng& rng) {
  const auto h = [&](Index N, Index D) { return randn({N, D}, rng, DType::f64); };
  const auto alpha = [&](Index E) { return rand({E}, rng, DType::f64) + 0.5; };
  return {
      {"five nodes", {{"h", h(5, 3)}, {"edges", edge_list({0, 1, 1, 2, 1, 3, 3, 4})}, {"alpha", alpha(4)}}},
      {"a star, mean",
       {{"h", h(4, 2)}, {"edges", edge_list({0, 1, 2, 0, 0, 3})}, {"alpha", alpha(3)}},
       {{"reduction", "mean"}}},
      {"a loop and an edge twice, none",
       {{"h", h(3, 4)}, {"edges", edge_list({0, 1, 1, 0, 2, 2})}, {"alpha", alpha(3)}},
       {{"reduction", "none"}}},
      {"no edges", {{"h", h(2, 3)}, {"edges", edge_list({})}, {"alpha", alpha(0)}}},
      {.what = "vectors of 1e18, a weight of 0",
       .inputs = {{"h", 1e18 * h(3, 4)}, {"edges", edge_list({0, 1, 1, 2})}, {"alpha", tensor({0, 1}, DType::f64)}},
       .options = {{"reduction", "none"}},
       .extreme = true},
      {.what = "vectors of 1e-15",
       .inputs = {{"h", 1e-15 * h(3, 4)}, {"edges", edge_list({0, 1, 1, 2})}, {"alpha", alpha(2)}},
       .extreme = true},
  };
}

}  // namespace

Losses tree_losses() {
  return {{.name = "tree",
           .family = Family::distance,
           .formula = "sum_e alpha_e |h_i - h_j|^2",
           .seeds = "A142",
           .task = "regulariser: syntax trees, graphs",
           .inputs = {{"h", "[N,D]"}, {"edges", "[E,2]", Kind::integer}, {"alpha", "[E]"}},
           .options = {reduction_option("sum")},
           .run =
               [](const Arguments& a) {
                 return tree(a["h"], a["edges"], a["alpha"], {.reduction = a.reduction(), .form = a.form});
               },
           .samples = tree_samples}};
}

}  // namespace gradus
