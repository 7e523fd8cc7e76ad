// The recorded members of Tensor that compute nothing: reshape, x[i], rows and to().
//
//   y = x seen as another shape     dx = dy seen as x's shape
//   y = rows of x                   dx += dy on those rows, 0 elsewhere
//   y = x as another type           dx = dy as x's type
//   y = x on another device         dx = dy on x's device
#include "engine/tape.h"

namespace gradus {
namespace {

struct Reshape final : Op {
  Shape shape;
  explicit Reshape(Shape s) : shape(s) {}
  const char* name() const override { return "reshape"; }
  Keep keep() const override { return Keep::nothing; }
  Tensor forward(In in) override { return in[0].untaped_view(shape); }
  void backward(const Tensor& dy, In, const Tensor&, Out dx) override { dx.add(0, dy.untaped_view(dx.shape(0))); }
};

struct Rows final : Op {
  Index begin, count;  // elements of x
  Shape shape;
  Rows(Index b, Shape s) : begin(b), count(s.numel()), shape(s) {}
  const char* name() const override { return "rows"; }
  Keep keep() const override { return Keep::nothing; }
  Tensor forward(In in) override { return in[0].untaped_view(shape, begin); }
  void backward(const Tensor& dy, In, const Tensor&, Out dx) override {
    Tensor part = dx.into(0).untaped_view(shape, begin);
    add_in_place(part, dy);
  }
};

Tensor converted(const Tensor& x, DType dtype) {
  Tensor y = empty(x.shape(), dtype, x.device());
  if (x.numel() == 0) return y;
  dispatch(x.dtype(), [&]<class From>() {
    dispatch(dtype,
             [&]<class To>() { x.device().convert(x.dtype(), x.data<From>(), dtype, y.data_mut<To>(), x.numel()); });
  });
  return y;
}

Tensor moved(const Tensor& x, Device& device) {
  Tensor y = empty(x.shape(), x.dtype(), device);
  y.copy_from(x);
  return y;
}

struct Move final : Op {
  Device &from, &to;
  Move(Device& f, Device& t) : from(f), to(t) {}
  const char* name() const override { return "to_device"; }
  Keep keep() const override { return Keep::nothing; }
  Tensor forward(In in) override { return moved(in[0], to); }
  void backward(const Tensor& dy, In, const Tensor&, Out dx) override { dx.add(0, moved(dy, from)); }
};

struct Convert final : Op {
  DType to;
  explicit Convert(DType t) : to(t) {}
  const char* name() const override { return "to"; }
  Keep keep() const override { return Keep::nothing; }
  Tensor forward(In in) override { return converted(in[0], to); }
  void backward(const Tensor& dy, In, const Tensor&, Out dx) override { dx.add(0, converted(dy, dx.dtype(0))); }
};

}  // namespace

Tensor Tensor::reshape(Shape shape, UserLine line) const {
  if (shape.numel() != numel()) {
    fail("reshape", describe() + " has " + std::to_string(numel()) + " elements, " + shape.text() + " has " +
                        std::to_string(shape.numel()));
  }
  return apply(Reshape(shape), At(*this, line));
}

Tensor Tensor::reshape(std::initializer_list<Index> sizes, UserLine line) const {
  std::vector<Index> known(sizes);
  Index rest = 1;
  Index* open = nullptr;
  for (Index& size : known) {
    if (size == -1 && !open) {
      open = &size;
    } else {
      rest *= size;
    }
  }
  if (open) *open = rest > 0 ? numel() / rest : 0;
  return reshape(Shape(known), line);
}

Tensor Tensor::operator[](Index row) const {
  if (rank() == 0) fail("[]", describe() + " has no axis to index");
  const Index n = shape()[0];
  if (row < -n || row >= n) fail("[]", "row " + std::to_string(row) + " does not exist in " + describe());
  const Shape shape_of_row = shape().without(0);
  return apply(Rows((row < 0 ? row + n : row) * shape_of_row.numel(), shape_of_row), At(*this, UserLine{}));
}

Tensor Tensor::rows(Index begin, Index end, UserLine line) const {
  if (rank() == 0) fail("rows", describe() + " has no axis to index");
  if (begin < 0 || end < begin || end > shape()[0]) {
    fail("rows", std::to_string(begin) + ":" + std::to_string(end) + " does not lie within " + describe());
  }
  return apply(Rows(begin * shape().product(1, rank()), shape().with(0, end - begin)), At(*this, line));
}

Tensor Tensor::to(DType dtype, UserLine line) const {
  if (dtype == this->dtype()) return *this;
  if (!is_floating(dtype)) return converted(*this, dtype);  // integers carry no gradient
  return apply(Convert(dtype), At(*this, line));
}

Tensor Tensor::to(Device& device, UserLine line) const {
  if (&device == &this->device()) return *this;
  if (!is_floating(dtype())) return moved(*this, device);
  return apply(Move(this->device(), device), At(*this, line));
}

}  // namespace gradus
