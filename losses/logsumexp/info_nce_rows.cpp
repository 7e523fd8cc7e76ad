#include "losses/logsumexp/info_nce_rows.h"

#include <algorithm>
#include <cmath>

#include "losses/logsumexp/info_nce_bodies.h"
#include "ops/elementwise.h"
#include "ops/math.h"
#include "ops/matmul.h"
#include "ops/reduce.h"
#include "ops/select.h"
#include "ops/shape_ops.h"
#include "ops/softmax.h"

namespace gradus {
namespace {

using namespace info_nce_bodies;

// ---- as the derivation starts: a log softmax over the candidates, on the tape

// outside: what is no candidate; weight: 1 / |P| for a positive. A row without positives has weight 0 and all candidates,
// so that its log softmax exists.
template <class T, class Choice> struct Sets {
  const Index* ids;
  Index N;
  std::uint8_t* outside;
  T* weight;
  template <class Team> HD void operator()(Index r, Team team) const {
    const Choice in(ids, r);
    std::uint8_t* out = outside + r * N;
    T* w = weight + r * N;
    const T positives = team.template sum<T>(N, [=](Index c) { return T(in.positive(c)); });
    team.each(N, [=](Index c) {
      out[c] = positives > 0 && !in.candidate(c);
      w[c] = in.positive(c) ? 1 / positives : T(0);
    });
  }
};

Tensor definition(const Tensor& similarity, const Index* ids, Positives kind, double temperature) {
  const Index N = similarity.size(0);
  Device& device = similarity.device();
  Tensor outside = empty({N, N}, DType::u8, device), weight = empty({N, N}, similarity.dtype(), device);
  dispatch_float("info_nce_rows", similarity.dtype(), [&]<class T>() {
    with_choice(kind, ids, [&]<class Choice>() {
      launch_rows(device, N, N, Sets<T, Choice>{ids, N, outside.data_mut<std::uint8_t>(), weight.data_mut<T>()});
    });
  });
  const Tensor log_p = log_softmax(masked_fill(similarity / temperature, outside, -vmath::infinity<double>));  // [N,N]
  return -sum(weight * masked_fill(log_p, outside, 0), {1});                                                   // [N]
}

// ---- as the derivation ends: one node

// What a row keeps for its gradient.
struct RowState {
  Tensor top, rest, count;  // [N]
  RowState() = default;
  RowState(Index N, DType dtype, Device& device) {
    for (Tensor* t : {&top, &rest, &count}) *t = empty({N}, dtype, device);
  }
};

// The loss of the `rows` rows from `first` on.
template <class T>
void row_losses(Positives positives, const Tensor& ids, double temperature, const T* similarity, Index first,
                Index rows, RowState& state, Tensor& loss) {
  const Index N = loss.numel();
  with_choice(positives, kept<Index>(ids), [&]<class Choice>() {
    launch_rows(loss.device(), rows, N,
                RowLoss<T, Choice>{kept<Index>(ids), similarity, N, first, T(1 / temperature), loss.data_mut<T>(),
                                   state.top.template data_mut<T>(), state.rest.template data_mut<T>(),
                                   state.count.template data_mut<T>()});
  });
}
template <class T>
void row_gradients(Positives positives, const Tensor& ids, double temperature, const T* similarity, Index first,
                   Index rows, const RowState& state, const Tensor& loss, const Tensor& dy, T* ds, bool add) {
  const Index N = loss.numel();
  with_choice(positives, kept<Index>(ids), [&]<class Choice>() {
    launch_rows(loss.device(), rows, N,
                SimilarityGradient<T, Choice>{kept<Index>(ids), dy.data<T>(), similarity, loss.data<T>(),
                                              state.top.template data<T>(), state.rest.template data<T>(),
                                              state.count.template data<T>(), N, first, T(1 / temperature), ds, add});
  });
}

// y_r = log sum_{c in A} e^{S_rc / t} - 1/|P| sum_{c in P} S_rc / t
// dy_r/dS_rc = ([c in A] p_rc - [c in P] / |P|) / t
struct InfoNceRows final : Op {
  Positives positives;
  double temperature;
  RowState state;
  InfoNceRows(Positives p, double t) : positives(p), temperature(t) {}
  const char* name() const override { return "info_nce_rows"; }
  Keep keep() const override { return Keep::both; }

  Tensor forward(In in) override {
    const Tensor& s = in[0];
    const Index N = s.size(0);
    Tensor loss = empty({N}, s.dtype(), s.device());
    state = RowState(N, s.dtype(), s.device());
    dispatch_float(name(), s.dtype(),
                   [&]<class T>() { row_losses<T>(positives, in[1], temperature, s.data<T>(), 0, N, state, loss); });
    return loss;
  }

  void backward(const Tensor& dy, In in, const Tensor& y, Out dx) override {
    if (!dx.wants(0)) return;
    const Tensor& s = in[0];
    auto [ds, started] = dx.sum(0);
    dispatch_float(name(), s.dtype(), [&, &to = ds, add = started]<class T>() {
      row_gradients<T>(positives, in[1], temperature, s.data<T>(), 0, s.size(0), state, y, dy,
                       to.template data_mut<T>(), add);
    });
  }
};

// The same from q and k, by blocks of rows: S_rc = <q_r, k_c> exists for a few rows at a time, in both passes.
// y as above;  dS as above,  dq_r = sum_c dS_rc k_c,  dk_c = sum_r dS_rc q_r
struct InfoNceBlocks final : Op {
  Positives positives;
  double temperature;
  Index block_rows;
  RowState state;
  InfoNceBlocks(Positives p, double t, Index rows) : positives(p), temperature(t), block_rows(rows) {}
  const char* name() const override { return "info_nce_rows"; }
  Keep keep() const override { return Keep::both; }

  // f(first, rows, S): S [rows,N] may be written.
  template <class T, class F> void each_block(const Tensor& q, const Tensor& k, const F& f) const {
    const Index N = q.size(0), D = q.size(1);
    Tensor block = empty({std::min(block_rows, N), N}, q.dtype(), q.device());
    for (Index first = 0; first < N; first += block_rows) {
      const Index rows = std::min(block_rows, N - first);
      T* s = block.data_mut<T>();
      q.device().gemm(q.dtype(), {.transpose_b = true, .m = rows, .n = N, .k = D}, q.data<T>() + first * D, k.data<T>(),
                      s);
      f(first, rows, s);
    }
  }

  Tensor forward(In in) override {
    const Tensor& q = in[0];
    Tensor loss = empty({q.size(0)}, q.dtype(), q.device());
    state = RowState(q.size(0), q.dtype(), q.device());
    dispatch_float(name(), q.dtype(), [&]<class T>() {
      each_block<T>(q, in[1], [&](Index first, Index rows, const T* s) {
        row_losses<T>(positives, in[2], temperature, s, first, rows, state, loss);
      });
    });
    return loss;
  }

  void backward(const Tensor& dy, In in, const Tensor& y, Out dx) override {
    const Tensor &q = in[0], &k = in[1];
    const Index N = q.size(0), D = q.size(1);
    dispatch_float(name(), q.dtype(), [&]<class T>() {
      T *dq = dx.wants(0) ? dx.into(0).template data_mut<T>() : nullptr,
        *dk = dx.wants(1) ? dx.into(1).template data_mut<T>() : nullptr;
      each_block<T>(q, k, [&](Index first, Index rows, T* s) {
        row_gradients<T>(positives, in[2], temperature, s, first, rows, state, y, dy, s, false);
        Device& device = q.device();
        if (dq) device.gemm(q.dtype(), {.accumulate = true, .m = rows, .n = D, .k = N}, s, k.data<T>(), dq + first * D);
        if (dk) {
          device.gemm(q.dtype(), {.transpose_a = true, .accumulate = true, .m = N, .n = D, .k = rows}, s,
                      q.data<T>() + first * D, dk);
        }
      });
    });
  }
};

// Similarities held at once: 64 MiB of f32.
constexpr Index held = Index(1) << 24;

}  // namespace

bool info_nce_streams(Index N) { return N * N > held; }

Tensor info_nce_rows(At similarity, const Tensor& ids, Positives positives, double temperature, Form form) {
  if (ids) check_same_device("info_nce_rows", similarity, ids);
  if (form == Form::closed) return apply(InfoNceRows{positives, temperature}, similarity, ids);
  return definition(similarity, kept<Index>(ids), positives, temperature);
}

Tensor info_nce_products(At q, const Tensor& k, const Tensor& ids, Positives positives, double temperature, Form form,
                         Index block_rows) {
  const Index N = q->size(0);
  if (form == Form::closed && (block_rows > 0 || info_nce_streams(N))) {
    if (ids) check_same_device("info_nce_rows", q, ids);
    const Index rows = block_rows > 0 ? block_rows : std::max<Index>(1, held / N);
    return apply(InfoNceBlocks{positives, temperature, rows}, q, k, ids);
  }
  const Tensor similarity = matmul(q, k, {.transpose_b = true});  // [N,N]
  return info_nce_rows(At(similarity, q.line), ids, positives, temperature, form);
}

void check_temperature(const char* loss, double temperature) {
  if (!(temperature > 0 && std::isfinite(temperature))) {
    fail(loss, "the temperature must be a finite number above 0, got " + std::to_string(temperature));
  }
}

void check_views(const char* loss, const Tensor& a, const Tensor& b) {
  if (!a || !b) fail(loss, "needs two tensors [N,D]; one of them is undefined");
  check_same_kind(loss, a, b);
  if (a.rank() != 2 || a.shape() != b.shape()) {
    fail(loss, "needs two tensors [N,D] of one shape, got " + a.describe() + " and " + b.describe());
  }
}

}  // namespace gradus
