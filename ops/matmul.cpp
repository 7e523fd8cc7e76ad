#include "ops/matmul.h"

#include "ops/broadcast.h"
#include "ops/elementwise.h"

namespace gradus {
namespace {

// C (+)= A B over all items of the batch; op(A) is [m,k], op(B) [k,n].
void gemm_into(Tensor& c, const Tensor& a, const Tensor& b, Gemm g) {
  dispatch_float("matmul", c.dtype(),
                 [&]<class T>() { c.device().gemm(c.dtype(), g, a.data<T>(), b.data<T>(), c.data_mut<T>()); });
}

// Sizes of one product, after transposition.
struct Sizes {
  Index m, k, n, batch;
  bool a_shared, b_shared;  // one matrix serves the whole batch
};

struct Matmul final : Op {
  MatmulOptions t;
  explicit Matmul(MatmulOptions options) : t(options) {}
  const char* name() const override { return "matmul"; }

  Sizes sizes(const Shape& a, const Shape& b) const {
    Sizes s{a[t.transpose_a ? -1 : -2], a[t.transpose_a ? -2 : -1], b[t.transpose_b ? -2 : -1], 1, false, false};
    const Index inner = b[t.transpose_b ? -1 : -2];
    const Shape lead_a = a.slice(0, a.rank() - 2), lead_b = b.slice(0, b.rank() - 2);
    const std::string shown = a.text() + (t.transpose_a ? "^T" : "") + " x " + b.text() + (t.transpose_b ? "^T" : "");
    if (s.k != inner) fail("matmul", "inner sizes differ: " + shown + hint(a, b));
    s.a_shared = lead_a.rank() == 0 && lead_b.rank() > 0;
    s.b_shared = lead_b.rank() == 0 && lead_a.rank() > 0;
    if (!s.a_shared && !s.b_shared && lead_a != lead_b) fail("matmul", "leading sizes differ: " + shown);
    s.batch = s.a_shared ? lead_b.numel() : lead_a.numel();
    return s;
  }
  std::string hint(const Shape& a, const Shape& b) const {
    const bool would_fit = !t.transpose_a && !t.transpose_b && a[-1] == b[-1];
    return would_fit ? "; did you mean {.transpose_b = true}?" : "";
  }

  Tensor forward(In in) override {
    const Sizes s = sizes(in[0].shape(), in[1].shape());
    const Shape& lead = s.a_shared ? in[1].shape() : in[0].shape();
    Tensor y = empty(lead.slice(0, lead.rank() - 2).joined({s.m, s.n}), in[0].dtype(), in[0].device());
    gemm_into(y, in[0], in[1],
              {t.transpose_a, t.transpose_b, false, s.m, s.n, s.k, s.batch, s.a_shared ? 0 : s.m * s.k,
               s.b_shared ? 0 : s.k * s.n, s.m * s.n});
    return y;
  }

  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    const Sizes s = sizes(in[0].shape(), in[1].shape());
    const Index a_step = s.a_shared ? 0 : s.m * s.k, b_step = s.b_shared ? 0 : s.k * s.n, y_step = s.m * s.n;
    if (s.batch == 0) {  // nothing was multiplied: a shared matrix gets zeros
      for (const int k : {0, 1}) {
        if (dx.wants(k)) dx.into(k);
      }
      return;
    }
    if (dx.wants(0)) {
      // dA = dY B^T; stored transposed it is B dY^T. A shared A sums over the batch, one item after the other.
      auto [da, started] = dx.sum(0);
      each_product(s.a_shared ? s.batch : 1, [&, &to = da, add = started](Index item, Index count) {
        const Tensor dy_i = part(dy, item, count, y_step), b_i = part(in[1], item, count, b_step);
        const Index batch = s.a_shared ? 1 : s.batch;
        if (t.transpose_a) {
          gemm_into(to, b_i, dy_i,
                    {t.transpose_b, true, add || item > 0, s.k, s.m, s.n, batch, b_step, y_step, a_step});
        } else {
          gemm_into(to, dy_i, b_i,
                    {false, !t.transpose_b, add || item > 0, s.m, s.k, s.n, batch, y_step, b_step, a_step});
        }
      });
    }
    if (dx.wants(1)) {
      // dB = A^T dY; stored transposed it is dY^T A.
      auto [db, started] = dx.sum(1);
      if (s.b_shared && !t.transpose_a) {  // all rows of the batch at once: one product with m = batch * M
        const Index rows = s.batch * s.m;
        if (t.transpose_b) {
          gemm_into(db, dy, in[0], {true, false, started, s.n, s.k, rows, 1, 0, 0, 0});
        } else {
          gemm_into(db, in[0], dy, {true, false, started, s.k, s.n, rows, 1, 0, 0, 0});
        }
        return;
      }
      each_product(s.b_shared ? s.batch : 1, [&, &to = db, add = started](Index item, Index count) {
        const Tensor dy_i = part(dy, item, count, y_step), a_i = part(in[0], item, count, a_step);
        const Index batch = s.b_shared ? 1 : s.batch;
        if (t.transpose_b) {
          gemm_into(to, dy_i, a_i,
                    {true, t.transpose_a, add || item > 0, s.n, s.k, s.m, batch, y_step, a_step, b_step});
        } else {
          gemm_into(to, a_i, dy_i,
                    {!t.transpose_a, false, add || item > 0, s.k, s.n, s.m, batch, a_step, y_step, b_step});
        }
      });
    }
  }

 private:
  // f(item, count): once for the whole batch (count 1), or once per item.
  template <class F> static void each_product(Index count, const F& f) {
    for (Index item = 0; item < count; ++item) f(item, count);
  }
  static Tensor part(const Tensor& x, Index item, Index count, Index step) {
    return count == 1 || step == 0 ? x : x.untaped_view({step}, item * step);
  }
};

struct Linear final : Op {
  const char* name() const override { return "linear"; }
  Tensor forward(In in) override {
    const Tensor &x = in[0], &weight = in[1], &bias = in[2];
    const Index inputs = weight.shape()[1], outputs = weight.shape()[0], rows = x.shape().product(0, x.rank() - 1);
    const Shape shape = x.shape().with(x.rank() - 1, outputs);
    // The product is added onto the bias, which saves a pass over y.
    Tensor y = bias ? repeated_to(bias, shape) : empty(shape, x.dtype(), x.device());
    gemm_into(y, x, weight, {false, true, bool(bias), rows, outputs, inputs, 1, 0, 0, 0});
    return y;
  }
  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    const Tensor &x = in[0], &weight = in[1];
    const Index inputs = weight.shape()[1], outputs = weight.shape()[0], rows = x.shape().product(0, x.rank() - 1);
    if (dx.wants(0)) {
      auto [sum, started] = dx.sum(0);
      gemm_into(sum, dy, weight, {false, false, started, rows, inputs, outputs, 1, 0, 0, 0});
    }
    if (dx.wants(1)) {
      auto [sum, started] = dx.sum(1);
      gemm_into(sum, dy, x, {true, false, started, outputs, inputs, rows, 1, 0, 0, 0});
    }
    if (in.size() > 2 && dx.wants(2)) dx.add(2, summed_to(dy, dx.shape(2)));
  }
};

}  // namespace

Tensor matmul(At a, const Tensor& b, MatmulOptions options) {
  if (!a.tensor || !b) fail("matmul", "a tensor is undefined: it was declared but never assigned");
  check_same_kind("matmul", a, b);
  if (a->rank() == 0 || b.rank() == 0) fail("matmul", "needs matrices, got " + a->describe() + " and " + b.describe());
  if (a->rank() > 1 && b.rank() > 1) return apply(Matmul(options), a, b);
  if (options.transpose_a || options.transpose_b)
    fail("matmul", "transposition needs two matrices; reshape the vector");
  // A vector is a row on the left and a column on the right; that axis leaves the result again.
  const Tensor rows = a->rank() == 1 ? a->reshape({1, a->numel()}, a.line) : a.tensor;
  const Tensor columns = b.rank() == 1 ? b.reshape({b.numel(), 1}, a.line) : b;
  const Tensor y = apply(Matmul({}), At(rows, a.line), columns);
  Shape shape = y.shape();
  if (b.rank() == 1) shape = shape.without(shape.rank() - 1);
  if (a->rank() == 1) shape = shape.without(shape.rank() - (b.rank() == 1 ? 1 : 2));
  return y.reshape(shape, a.line);
}

Tensor linear(At x, const Tensor& weight, const Tensor& bias) {
  if (!x.tensor || !weight) fail("linear", "a tensor is undefined: it was declared but never assigned");
  check_same_kind("linear", x, weight);
  if (weight.rank() != 2 || x->rank() == 0 || x->size(-1) != weight.shape()[1]) {
    fail("linear", "needs x [..,I] and weight [O,I], got " + x->describe() + " and " + weight.describe());
  }
  if (bias) {
    check_same_kind("linear", x, bias);
    if (bias.shape() != Shape{weight.shape()[0]}) {
      fail("linear", "needs a bias of shape [" + std::to_string(weight.shape()[0]) + "], got " + bias.describe());
    }
  }
  return apply(Linear{}, x, weight, bias);
}

}  // namespace gradus
