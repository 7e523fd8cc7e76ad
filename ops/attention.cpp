// Derivation. For one head: S = scale q k^T [T,S], P = softmax of S's rows, y = P v.
//   dv = P^T dy        dP = dy v^T
//   dS_ij = P_ij (dP_ij - sum_k dP_ik P_ik)                    softmax's gradient, row by row
//   and sum_k dP_ik P_ik = <dy_i, sum_k P_ik v_k> = <dy_i, y_i>  needs no row of P (FlashAttention, Dao et al. 2022)
//   dq = scale dS k        dk = scale dS^T q
// Kept: q, k, v and y. P is computed again in the backward pass: one [T,S] scratch matrix per thread instead of B H of
// them on the tape. The work is cut by (batch, head), so results do not depend on the number of threads. A GPU keeps P in tiles:
// ops/attention_device.h.
#include "ops/attention.h"

#include <cmath>

#include "ops/attention_device.h"
#include "ops/elementwise.h"
#include "ops/math.h"
#include "ops/matmul.h"
#include "ops/select.h"
#include "ops/softmax.h"

namespace gradus {
namespace {

struct Sizes {
  Index heads, queries, keys, width, value_width;  // B*H, T, S, D, E
  explicit Sizes(In in)
      : heads(in[0].shape()[0] * in[0].shape()[1]),
        queries(in[0].size(2)),
        keys(in[1].size(2)),
        width(in[0].size(3)),
        value_width(in[2].size(3)) {}
};

// The keys that query t may see: all, or the first t + 1 + (S - T).
Index visible(bool causal, const Sizes& n, Index t) { return causal ? t + 1 + n.keys - n.queries : n.keys; }

// P [T,S] for one head. open [S] says which keys may be seen; null: all.
template <class T>
void probabilities(Device& device, const Sizes& n, const T* q, const T* k, T scale, bool causal,
                   const std::uint8_t* open, T* p) {
  device.gemm(dtype_of<T>, {false, true, false, n.queries, n.keys, n.width, 1, 0, 0, 0}, q, k, p);
  const CpuTeam team;
  for (Index t = 0; t < n.queries; ++t) {
    T* row = p + t * n.keys;
    const Index seen = visible(causal, n, t);
    if (open) team.each(seen, [=](Index j) { row[j] = open[j] ? row[j] : -vmath::infinity<T>; });
    const T m = team.max<T>(seen, [=](Index j) { return row[j]; });
    if (m == -vmath::infinity<T>) {  // no key to see
      std::fill_n(row, n.keys, T(0));
      continue;
    }
    team.each(seen, [=](Index j) { row[j] = vmath::exp(scale * (row[j] - m)); });
    const T z = team.sum<T>(seen, [=](Index j) { return row[j]; });
    team.each(seen, [=](Index j) { row[j] /= z; });
    std::fill(row + seen, row + n.keys, T(0));
  }
}

struct Attention final : Op {
  double scale;
  bool causal;
  Constant key_mask;
  Tensor top, total;  // [B,H,T]: greatest score and sum of each query, on a GPU
  Attention(double s, bool c, Tensor m) : scale(s), causal(c), key_mask(std::move(m)) {}
  const char* name() const override { return "scaled_dot_product_attention"; }
  Keep keep() const override { return Keep::both; }

  Tensor forward(In in) override {
    const Sizes n(in);
    Tensor y = empty(in[0].shape().with(3, n.value_width), in[0].dtype(), in[0].device());
    if (!y.device().is_cpu()) {
      forward_on_device(in, y);
      return y;
    }
    dispatch_float(name(), y.dtype(), [&]<class T>() {
      const T *q = in[0].data<T>(), *k = in[1].data<T>(), *v = in[2].data<T>();
      T* out = y.data_mut<T>();
      each_head<T>(n, 1, [&](Index h, T* p) {
        probabilities(y.device(), n, q + h * n.queries * n.width, k + h * n.keys * n.width, T(scale), causal,
                      open_keys(in, h), p);
        y.device().gemm(dtype_of<T>, {false, false, false, n.queries, n.value_width, n.keys, 1, 0, 0, 0}, p,
                        v + h * n.keys * n.value_width, out + h * n.queries * n.value_width);
      });
    });
    return y;
  }

  void backward(const Tensor& dy, In in, const Tensor& y, Out dx) override {
    const Sizes n(in);
    if (!dy.device().is_cpu()) return backward_on_device(dy, in, y, dx);
    dispatch_float(name(), dy.dtype(), [&]<class T>() {
      const auto target = [&](int i) { return dx.wants(i) ? dx.into(i).template data_mut<T>() : nullptr; };
      T *dq = target(0), *dk = target(1), *dv = target(2);
      const T *q = in[0].data<T>(), *k = in[1].data<T>(), *v = in[2].data<T>(), *g = dy.data<T>(), *out = y.data<T>();
      Device& device = dy.device();
      each_head<T>(n, 2, [&](Index h, T* p) {
        const T *qh = q + h * n.queries * n.width, *kh = k + h * n.keys * n.width, *vh = v + h * n.keys * n.value_width;
        const T *gh = g + h * n.queries * n.value_width, *yh = out + h * n.queries * n.value_width;
        probabilities(device, n, qh, kh, T(scale), causal, open_keys(in, h), p);
        if (dv) {
          device.gemm(dtype_of<T>, {true, false, true, n.keys, n.value_width, n.queries, 1, 0, 0, 0}, p, gh,
                      dv + h * n.keys * n.value_width);
        }
        if (!dq && !dk) return;
        T* ds = p + n.queries * n.keys;  // dP, then scale dS in its place
        device.gemm(dtype_of<T>, {false, true, false, n.queries, n.keys, n.value_width, 1, 0, 0, 0}, gh, vh, ds);
        const CpuTeam team;
        for (Index t = 0; t < n.queries; ++t) {
          const T *gt = gh + t * n.value_width, *yt = yh + t * n.value_width, *pt = p + t * n.keys;
          T* row = ds + t * n.keys;
          const T along = team.sum<T>(n.value_width, [=](Index j) { return gt[j] * yt[j]; }), s = T(scale);
          team.each(n.keys, [=](Index j) { row[j] = s * pt[j] * (row[j] - along); });
        }
        if (dq) {
          device.gemm(dtype_of<T>, {false, false, true, n.queries, n.width, n.keys, 1, 0, 0, 0}, ds, kh,
                      dq + h * n.queries * n.width);
        }
        if (dk) {
          device.gemm(dtype_of<T>, {true, false, true, n.keys, n.width, n.queries, 1, 0, 0, 0}, ds, qh,
                      dk + h * n.keys * n.width);
        }
      });
    });
  }

 private:
#if defined(__CUDACC__) || defined(GRADUS_EMULATED)
  template <class T> flash::Problem<T> problem(In in) const {
    const Sizes n(in);
    return {in[0].data<T>(), in[1].data<T>(), in[2].data<T>(), open_keys(in, 0), n.heads,  in[0].size(1),
            n.queries,       n.keys,          n.width,         n.value_width,    T(scale), causal};
  }
  void forward_on_device(In in, Tensor& y) {
    top = empty(y.shape().without(3), y.dtype(), y.device());
    total = empty(y.shape().without(3), y.dtype(), y.device());
    dispatch_float(name(), y.dtype(), [&]<class T>() {
      flash::forward<T>(problem<T>(in), y.data_mut<T>(), {top.data_mut<T>(), total.data_mut<T>(), nullptr});
    });
  }
  void backward_on_device(const Tensor& dy, In in, const Tensor& y, Out dx) {
    Tensor along = empty(top.shape(), y.dtype(), y.device());
    dispatch_float(name(), y.dtype(), [&]<class T>() {
      const auto target = [&](int i) { return dx.wants(i) ? dx.into(i).template data_mut<T>() : nullptr; };
      flash::backward<T>(y.device(), problem<T>(in), y.data<T>(), dy.data<T>(),
                         {top.data_mut<T>(), total.data_mut<T>(), along.data_mut<T>()}, target(0), target(1),
                         target(2));
    });
  }
#else
  void forward_on_device(In, Tensor&) {}
  void backward_on_device(const Tensor&, In, const Tensor&, Out) {}
#endif
  const std::uint8_t* open_keys(In in, Index h) const {
    if (!key_mask) return nullptr;
    const Index item = h / in[0].size(1);  // head h belongs to batch item h / H
    return key_mask.get(name()).data<std::uint8_t>() + item * in[1].size(2);
  }
  // f(h, scratch) for each (batch, head); scratch holds `matrices` of size [T,S].
  template <class T, class F> static void each_head(const Sizes& n, Index matrices, const F& f) {
    const Index work = std::max<Index>(1, n.queries * n.keys * (n.width + n.value_width));
    parallel_for(n.heads, std::max<Index>(1, 500000 / work), [&](Index begin, Index end) {
      Tensor scratch = empty({matrices, n.queries, n.keys}, dtype_of<T>);
      for (Index h = begin; h < end; ++h) f(h, scratch.data_mut<T>());
    });
  }
};

Tensor definition(At q, const Tensor& k, const Tensor& v, double scale, const AttentionOptions& options) {
  const Index B = q->size(0), T = q->size(2), S = k.size(2);
  Device& device = q->device();
  Tensor hidden = zeros({1, 1, T, S}, DType::u8, device);  // pairs of a query and a key that must not meet
  if (options.causal) {
    const Tensor key = arange(S, DType::f32, device), query = arange(T, DType::f32, device).reshape({T, 1});
    hidden = greater(key, query + double(S - T)).reshape({1, 1, T, S});
  }
  if (options.key_mask) hidden = logical_or(hidden, logical_not(options.key_mask).reshape({B, 1, 1, S}));
  const Tensor product = matmul(q, k, {.transpose_b = true});  // [B,H,T,S]
  const Tensor scaled = At(product, q.line) * scale;
  const Tensor scores = masked_fill(At(scaled, q.line), hidden, -1e30);  // e^-1e30 = 0
  const Tensor soft = softmax(At(scores, q.line));
  const Tensor p = masked_fill(At(soft, q.line), hidden, 0);  // also where all is hidden
  return matmul(At(p, q.line), v);
}

}  // namespace

Tensor scaled_dot_product_attention(At q, const Tensor& k, const Tensor& v, AttentionOptions options) {
  constexpr auto op = "scaled_dot_product_attention";
  check_same_kind(op, q, k);
  check_same_kind(op, q, v);
  const bool shapes_fit = q->rank() == 4 && k.rank() == 4 && v.rank() == 4 &&
                          q->shape().slice(0, 2) == k.shape().slice(0, 2) &&
                          k.shape().slice(0, 3) == v.shape().slice(0, 3) && q->size(3) == k.size(3);
  if (!shapes_fit) {
    fail(op, "needs q [B,H,T,D], k [B,H,S,D] and v [B,H,S,E], got " + q->describe() + ", " + k.describe() + " and " +
                 v.describe());
  }
  if (options.causal && q->size(2) > k.size(2)) {
    fail(op, "causal attention needs no more queries than keys, got " + q->describe() + " and " + k.describe());
  }
  const double scale = options.scale != 0 ? options.scale : 1 / std::sqrt(double(std::max<Index>(1, q->size(3))));
  if (!(scale > 0)) fail(op, "needs a positive scale, got " + std::to_string(scale));
  if (const Tensor& mask = options.key_mask;
      mask && (mask.dtype() != DType::u8 || mask.shape() != Shape{k.size(0), k.size(2)})) {
    fail(op, "needs a key_mask u8 [" + std::to_string(k.size(0)) + "," + std::to_string(k.size(2)) + "], got " +
                 mask.describe());
  }
  if (options.key_mask) check_same_device(op, q, options.key_mask);
  const bool too_wide = !q->device().is_cpu() && std::max(q->size(3), v.size(3)) > 256;  // for the tiles of a GPU
  if (options.form == Form::definition || too_wide) return definition(q, k, v, scale, options);
  return apply(Attention(scale, options.causal, options.key_mask), q, k, v);
}

}  // namespace gradus
