#include "engine/tensor.h"

#include <algorithm>

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

void Tensor::check_on_cpu(const char* op) const {
  if (device().is_cpu()) return;
  fail(op, describe() + " is on " + device().name() + " and the CPU cannot read it there; use cpu()");
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
  const Tensor x = host();
  return dispatch(dtype(), [&]<class T>() { return std::vector<double>(x.data<T>(), x.data<T>() + numel()); });
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

Tensor Tensor::host() const {
  if (device().is_cpu()) return detach();
  Tensor copy = empty(shape(), dtype(), Device::cpu());
  copy.copy_from(*this);
  return copy;
}

void Tensor::copy_from(const Tensor& source) {
  if (source.shape() != shape() || source.dtype() != dtype()) {
    fail("copy_from", "cannot copy " + source.describe() + " into " + describe());
  }
  if (numel() == 0) return;
  dispatch(dtype(), [&]<class T>() {
    void* to = data_mut<T>();
    const void* from = source.data<T>();
    const std::size_t bytes = std::size_t(numel()) * sizeof(T);
    if (&device() == &source.device()) {
      device().copy(to, from, bytes);
    } else if (source.device().is_cpu()) {
      device().upload(to, from, bytes);
    } else {
      source.device().download(to, from, bytes);
    }
  });
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

Tensor full(Shape shape, double value, DType dtype, Device& device) {
  Tensor x = empty(shape, dtype, device);
  if (x.numel() > 0) device.fill(dtype, x.body().buffer->memory, x.numel(), value);
  return x;
}

Tensor zeros(Shape shape, DType dtype, Device& device) { return full(shape, 0, dtype, device); }
Tensor ones(Shape shape, DType dtype, Device& device) { return full(shape, 1, dtype, device); }
Tensor scalar(double value, DType dtype, Device& device) { return full({}, value, dtype, device); }

Tensor arange(Index n, DType dtype, Device& device) {
  Tensor x = empty({n}, dtype, device);
  if (n > 0) device.count(dtype, x.body().buffer->memory, n);
  return x;
}

Tensor tensor(const std::vector<double>& values, Shape shape, DType dtype, Device& device) {
  if (Index(values.size()) != shape.numel()) {
    fail("tensor", std::to_string(values.size()) + " values for shape " + shape.text());
  }
  Tensor x = empty(shape, dtype, Device::cpu());
  dispatch(dtype, [&]<class T>() {
    T* out = x.data_mut<T>();
    for (const double v : values) *out++ = T(v);
  });
  return x.to(device);
}

Tensor tensor(const std::vector<double>& values, DType dtype, Device& device) {
  return tensor(values, Shape{Index(values.size())}, dtype, device);
}

Tensor labels(const std::vector<Index>& values, Device& device) {
  Tensor x = empty({Index(values.size())}, DType::i64, Device::cpu());
  std::copy(values.begin(), values.end(), x.data_mut<Index>());
  return x.to(device);
}

void add_in_place(Tensor& to, const Tensor& source) {
  if (to.shape() != source.shape() || to.dtype() != source.dtype()) {
    fail("add_in_place", "cannot add " + source.describe() + " to " + to.describe());
  }
  if (&to.device() != &source.device()) {
    fail("add_in_place", to.describe() + " is on " + to.device().name() + ", " + source.describe() + " on " +
                             source.device().name() + "; move one with to(device)");
  }
  dispatch_float("add_in_place", to.dtype(), [&]<class T>() {
    if (to.numel() > 0) to.device().add(to.dtype(), source.data<T>(), to.data_mut<T>(), to.numel());
  });
}

double value_at(const Tensor& x, Index i) {
  if (x.device().is_cpu()) return dispatch(x.dtype(), [&]<class T>() { return double(x.data<T>()[i]); });
  const Tensor one = x.untaped_view({}, i).host();
  return dispatch(x.dtype(), [&]<class T>() { return double(*one.data<T>()); });
}

void set_value(Tensor& x, Index i, double value) {
  if (x.device().is_cpu()) return dispatch(x.dtype(), [&]<class T>() { x.data_mut<T>()[i] = T(value); });
  x.untaped_view({}, i).copy_from(scalar(value, x.dtype(), Device::cpu()));
}

}  // namespace gradus
