#include "ops/select.h"

#include "ops/elementwise.h"

namespace gradus {
namespace {

struct Maximum {
  static constexpr auto name = "maximum";
  static constexpr Keep keep = Keep::inputs;
  template <class T> HD T forward(T a, T b) const { return a != a ? a : a > b ? a : b; }
  template <class T> HD T backward_a(T a, T b, T) const { return a > b ? T(1) : a == b ? T(0.5) : T(0); }
  template <class T> HD T backward_b(T a, T b, T) const { return b > a ? T(1) : a == b ? T(0.5) : T(0); }
};

struct Minimum {
  static constexpr auto name = "minimum";
  static constexpr Keep keep = Keep::inputs;
  template <class T> HD T forward(T a, T b) const { return a != a ? a : a < b ? a : b; }
  template <class T> HD T backward_a(T a, T b, T) const { return a < b ? T(1) : a == b ? T(0.5) : T(0); }
  template <class T> HD T backward_b(T a, T b, T) const { return b < a ? T(1) : a == b ? T(0.5) : T(0); }
};

template <class T> struct Filled {
  const T* x;
  const std::uint8_t* mask;
  T value;
  T* y;
  HD void operator()(Index i) const { y[i] = mask[i] ? value : x[i]; }
};
// The gradient passes where an operand was taken.
template <class T> struct MaskedSum {
  const T* dy;
  const std::uint8_t* mask;
  bool keep_at;  // the operand was taken where bool(mask) == keep_at
  T* dx;
  HD void operator()(Index i) const { dx[i] += (mask[i] != 0) == keep_at ? dy[i] : T(0); }
};

void pass_where(const Tensor& dy, const Tensor& mask, bool keep_at, Tensor& dx) {
  dispatch_float("where", dy.dtype(), [&]<class T>() {
    launch(dy.device(), dy.numel(), MaskedSum<T>{dy.data<T>(), mask.data<std::uint8_t>(), keep_at, dx.data_mut<T>()});
  });
}

// in: mask, a, b of one shape.
template <class T> struct Choose {
  const std::uint8_t* mask;
  const T *a, *b;
  T* y;
  HD void operator()(Index i) const { y[i] = mask[i] ? a[i] : b[i]; }
};
struct Where final : Op {
  Constant mask;
  explicit Where(Tensor m) : mask(std::move(m)) {}
  const char* name() const override { return "where"; }
  Keep keep() const override { return Keep::nothing; }
  bool makes_infinity() const override { return true; }
  Tensor forward(In in) override {
    Tensor y = empty(in[0].shape(), in[0].dtype(), in[0].device());
    dispatch_float("where", y.dtype(), [&]<class T>() {
      launch(y.device(), y.numel(),
             Choose<T>{mask.get(name()).data<std::uint8_t>(), in[0].data<T>(), in[1].data<T>(), y.data_mut<T>()});
    });
    return y;
  }
  void backward(const Tensor& dy, In, const Tensor&, Out dx) override {
    if (dx.wants(0)) pass_where(dy, mask.get(name()), true, dx.into(0));
    if (dx.wants(1)) pass_where(dy, mask.get(name()), false, dx.into(1));
  }
};

struct MaskedFill final : Op {
  Constant mask;
  double value;
  MaskedFill(Tensor m, double v) : mask(std::move(m)), value(v) {}
  const char* name() const override { return "masked_fill"; }
  Keep keep() const override { return Keep::nothing; }
  bool makes_infinity() const override { return true; }
  Tensor forward(In in) override {
    Tensor y = empty(in[0].shape(), in[0].dtype(), in[0].device());
    dispatch_float("masked_fill", y.dtype(), [&]<class T>() {
      launch(y.device(), y.numel(),
             Filled<T>{in[0].data<T>(), mask.get(name()).data<std::uint8_t>(), T(value), y.data_mut<T>()});
    });
    return y;
  }
  void backward(const Tensor& dy, In, const Tensor&, Out dx) override {
    pass_where(dy, mask.get(name()), false, dx.into(0));
  }
};

void check_mask(std::string_view op, const Tensor& mask) {
  if (mask && mask.dtype() == DType::u8) return;
  fail(op, "the mask must be of type u8, got " + mask.describe() + "; make one with less, equal, ... or to(DType::u8)");
}

Tensor widened(const Tensor& x, const Shape& shape) { return x.shape() == shape ? x : repeated_to(x, shape); }

template <class T, class Relation> struct Compare {
  Relation holds;
  const T *a, *b;
  std::uint8_t* y;
  HD void operator()(Index i) const { y[i] = holds(a[i], b[i]); }
};

template <class Relation> Tensor compare(std::string_view op, const Tensor& a, const Tensor& b, Relation holds) {
  check_same_kind(op, a, b);
  const Shape shape = broadcast(op, a.shape(), b.shape());
  const Tensor wide_a = widened(a, shape), wide_b = widened(b, shape);
  Tensor y = empty(shape, DType::u8, a.device());
  dispatch(a.dtype(), [&]<class T>() {
    launch(y.device(), y.numel(),
           Compare<T, Relation>{holds, wide_a.data<T>(), wide_b.data<T>(), y.data_mut<std::uint8_t>()});
  });
  return y;
}

struct Less {
  template <class T> HD bool operator()(T a, T b) const { return a < b; }
};
struct LessEqual {
  template <class T> HD bool operator()(T a, T b) const { return a <= b; }
};
struct Equal {
  template <class T> HD bool operator()(T a, T b) const { return a == b; }
};
struct NotEqual {
  template <class T> HD bool operator()(T a, T b) const { return a != b; }
};
struct Both {
  template <class T> HD bool operator()(T a, T b) const { return a != 0 && b != 0; }
};
struct Either {
  template <class T> HD bool operator()(T a, T b) const { return a != 0 || b != 0; }
};

}  // namespace

Tensor less(const Tensor& a, const Tensor& b) { return compare("less", a, b, Less{}); }
Tensor less_equal(const Tensor& a, const Tensor& b) { return compare("less_equal", a, b, LessEqual{}); }
Tensor greater(const Tensor& a, const Tensor& b) { return compare("greater", b, a, Less{}); }
Tensor greater_equal(const Tensor& a, const Tensor& b) { return compare("greater_equal", b, a, LessEqual{}); }
Tensor equal(const Tensor& a, const Tensor& b) { return compare("equal", a, b, Equal{}); }
Tensor not_equal(const Tensor& a, const Tensor& b) { return compare("not_equal", a, b, NotEqual{}); }
Tensor logical_not(const Tensor& mask) { return equal(mask, zeros({}, mask.dtype(), mask.device())); }
Tensor logical_and(const Tensor& a, const Tensor& b) { return compare("logical_and", a, b, Both{}); }
Tensor logical_or(const Tensor& a, const Tensor& b) { return compare("logical_or", a, b, Either{}); }

Tensor where(const Tensor& mask, At a, const Tensor& b) {
  check_mask("where", mask);
  check_same_kind("where", a, b);
  check_same_device("where", mask, a);
  const Shape shape = broadcast("where", mask.shape(), broadcast("where", a->shape(), b.shape()));
  const Tensor wide_a = a->shape() == shape ? a.tensor : broadcast_to(a, shape);
  const Tensor wide_b = b.shape() == shape ? b : broadcast_to(At(b, a.line), shape);
  return apply(Where(widened(mask, shape)), At(wide_a, a.line), wide_b);
}

Tensor masked_fill(At x, const Tensor& mask, double value) {
  check_mask("masked_fill", mask);
  check_same_device("masked_fill", x, mask);
  if (broadcast("masked_fill", x->shape(), mask.shape()) != x->shape()) {
    fail("masked_fill", "mask " + mask.describe() + " is larger than " + x->describe());
  }
  return apply(MaskedFill(widened(mask, x->shape()), value), x);
}

Tensor maximum(At a, At b) { return apply_binary(Maximum{}, a, b); }
Tensor minimum(At a, At b) { return apply_binary(Minimum{}, a, b); }

}  // namespace gradus
