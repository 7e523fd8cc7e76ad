#include "engine/tensor.h"

#include <algorithm>

#include "engine/parallel.h"
#include "engine/tape.h"

namespace gradus {
namespace {

Tensor make(Shape shape, DType dtype, std::shared_ptr<Buffer> buffer, Index offset) {
  auto body = std::allocate_shared<TensorBody>(PoolAllocator<TensorBody>());
  body->shape = shape;
  body->dtype = dtype;
  body->buffer = std::move(buffer);
  body->offset = offset;
  return Tensor(std::move(body));
}

}  // namespace

Index Tensor::size(int axis) const { return shape()[checked_axis("size", shape(), axis)]; }

void Tensor::undefined() { fail("tensor", "the tensor is undefined: it was declared but never assigned"); }

void Tensor::wrong_type(DType wanted) const {
  fail("data", "asked for " + std::string(name_of(wanted)) + " elements of " + describe() +
                   "; use to(DType::" + name_of(wanted) + ")");
}

double Tensor::item() const {
  if (numel() != 1) fail("item", "needs one element, got " + describe() + "; use at({...}) or reduce with sum or mean");
  return value_at(*this, 0);
}

double Tensor::at(std::initializer_list<Index> index) const {
  if (int(index.size()) != rank()) {
    fail("at", std::to_string(index.size()) + " indices for " + describe() + "; give one for each axis");
  }
  Index flat = 0;
  int axis = 0;
  for (const Index i : index) {
    const Index n = shape()[axis++];
    if (i < 0 || i >= n) {
      fail("at", "index " + std::to_string(i) + " is outside axis " + std::to_string(axis - 1) + " of " + describe());
    }
    flat = flat * n + i;
  }
  return value_at(*this, flat);
}

std::vector<double> Tensor::to_vector() const {
  return dispatch(dtype(), [&]<class T>() { return std::vector<double>(data<T>(), data<T>() + numel()); });
}

Tensor& Tensor::named(std::string name) {
  body().name = NameScope::prefixed(std::move(name));
  Tape::note_name(*this);
  return *this;
}

Tensor& Tensor::requires_grad_(bool on) {
  if (on && !is_floating(dtype())) fail("requires_grad_", describe() + " is not a floating-point tensor");
  if (!is_leaf()) fail("requires_grad_", describe() + " was computed by an op; use detach() to make a leaf of it");
  body_->requires_grad = on;
  return *this;
}

void Tensor::set_grad(const Tensor& grad) {
  if (grad && (grad.shape() != shape() || grad.dtype() != dtype())) {
    fail("set_grad", "gradient " + grad.describe() + " for tensor " + describe());
  }
  body().grad = grad.handle();
}

Tensor Tensor::untaped_view(Shape shape, Index offset) const {
  if (offset < 0 || shape.numel() > numel() - offset) {
    fail("view", "elements " + std::to_string(offset) + ".. as " + shape.text() + " reach beyond " + describe());
  }
  return make(shape, dtype(), body_->buffer, body_->offset + offset);
}

Tensor Tensor::detach() const { return untaped_view(shape()); }

Tensor Tensor::clone() const {
  Tensor copy = empty(shape(), dtype(), device());
  copy.copy_from(*this);
  return copy;
}

void Tensor::copy_from(const Tensor& source) {
  if (source.shape() != shape() || source.dtype() != dtype()) {
    fail("copy_from", "cannot copy " + source.describe() + " into " + describe());
  }
  dispatch(dtype(),
           [&]<class T>() { device().copy(data_mut<T>(), source.data<T>(), std::size_t(numel()) * sizeof(T)); });
}

std::string Tensor::describe() const {
  if (!body_) return "(undefined)";
  const std::string quoted = name().empty() ? "" : "'" + name() + "' ";
  return quoted + name_of(dtype()) + " " + shape().text();
}

Tensor empty(Shape shape, DType dtype, Device& device) {
  std::size_t bytes = 0;
  if (__builtin_mul_overflow(std::size_t(shape.numel()), size_of(dtype), &bytes)) {
    fail("empty", "too many elements: " + std::string(name_of(dtype)) + " " + shape.text());
  }
  return make(shape, dtype, std::allocate_shared<Buffer>(PoolAllocator<Buffer>(), device, bytes), 0);
}

Tensor zeros(Shape shape, DType dtype, Device& device) {
  Tensor x = empty(shape, dtype, device);
  device.fill_zero(x.body().buffer->memory, std::size_t(x.numel()) * size_of(dtype));
  return x;
}

Tensor full(Shape shape, double value, DType dtype) {
  Tensor x = empty(shape, dtype);
  dispatch(dtype, [&]<class T>() { std::fill_n(x.data_mut<T>(), x.numel(), T(value)); });
  return x;
}

Tensor ones(Shape shape, DType dtype) { return full(shape, 1, dtype); }
Tensor scalar(double value, DType dtype) { return full({}, value, dtype); }

Tensor arange(Index n, DType dtype) {
  Tensor x = empty({n}, dtype);
  dispatch(dtype, [&]<class T>() {
    T* out = x.data_mut<T>();
    for (Index i = 0; i < n; ++i) out[i] = T(i);
  });
  return x;
}

Tensor tensor(const std::vector<double>& values, Shape shape, DType dtype) {
  if (Index(values.size()) != shape.numel()) {
    fail("tensor", std::to_string(values.size()) + " values for shape " + shape.text());
  }
  Tensor x = empty(shape, dtype);
  dispatch(dtype, [&]<class T>() {
    T* out = x.data_mut<T>();
    for (const double v : values) *out++ = T(v);
  });
  return x;
}

Tensor tensor(const std::vector<double>& values, DType dtype) {
  return tensor(values, Shape{Index(values.size())}, dtype);
}

Tensor labels(const std::vector<Index>& values) {
  Tensor x = empty({Index(values.size())}, DType::i64);
  std::copy(values.begin(), values.end(), x.data_mut<Index>());
  return x;
}

void add_in_place(Tensor& to, const Tensor& source) {
  if (to.shape() != source.shape() || to.dtype() != source.dtype()) {
    fail("add_in_place", "cannot add " + source.describe() + " to " + to.describe());
  }
  dispatch_float("add_in_place", to.dtype(), [&]<class T>() {
    T* y = to.data_mut<T>();
    const T* x = source.data<T>();
    parallel_for(to.numel(), serial_below, [=](Index begin, Index end) {
#pragma omp simd
      for (Index i = begin; i < end; ++i) y[i] += x[i];
    });
  });
}

double value_at(const Tensor& x, Index i) {
  return dispatch(x.dtype(), [&]<class T>() { return double(x.data<T>()[i]); });
}

void set_value(Tensor& x, Index i, double value) {
  dispatch(x.dtype(), [&]<class T>() { x.data_mut<T>()[i] = T(value); });
}

}  // namespace gradus
