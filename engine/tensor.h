// A tensor is a handle to a body: shape, dtype and a stretch of a buffer. Copying a tensor copies the handle, not the data.
//
// Elements are contiguous in row-major order, so every op is one plain loop. reshape, x[i] and rows() are views that share
// the buffer; anything else copies. A taped tensor is never written in place, so a view cannot be clobbered unseen.
#pragma once
#include <iosfwd>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/buffer.h"
#include "engine/shape.h"

namespace gradus {

using NodeId = std::int32_t;
class Tensor;

struct TensorBody {
  Shape shape;
  DType dtype = DType::f32;
  std::shared_ptr<Buffer> buffer;
  Index offset = 0;  // first element, counted in elements
  bool requires_grad = false;
  bool is_leaf = true;       // made by the user, not by a recorded op
  NodeId node = -1;          // where it lives on the tape whose node carries the same serial number
  std::uint64_t serial = 0;  // 0: on no tape yet
  std::shared_ptr<TensorBody> grad;
  std::string name;
};

class Tensor {
 public:
  Tensor() = default;  // undefined: no body
  explicit Tensor(std::shared_ptr<TensorBody> body) : body_(std::move(body)) {}

  explicit operator bool() const { return body_ != nullptr; }
  const Shape& shape() const { return body().shape; }
  Index numel() const { return shape().numel(); }
  int rank() const { return shape().rank(); }
  Index size(int axis) const;  // shape()[axis] with the axis checked
  DType dtype() const { return body().dtype; }
  Device& device() const { return body().buffer->device; }

  // Elements. T must be the type that dtype() names; data_mut tells the tape that the values change. The pointers lead to
  // the memory of device(): on a GPU they are for kernels only. What follows them reads from any device, and waits for it.
  template <class T> const T* data() const {
    check_type(dtype_of<T>);
    return static_cast<const T*>(body_->buffer->memory) + body_->offset;
  }
  template <class T> T* data_mut() {
    check_type(dtype_of<T>);
    ++body_->buffer->version;
    return static_cast<T*>(body_->buffer->memory) + body_->offset;
  }
  template <class T> std::span<const T> span() const {  // of a tensor on the CPU
    check_on_cpu("span");
    return {data<T>(), std::size_t(numel())};
  }
  double item() const;                            // of a tensor with one element
  double at(std::initializer_list<Index>) const;  // one element: at({row, column})
  std::vector<double> to_vector() const;          // all elements, as doubles

  // A name appears in errors, listings and checkpoints. Returns *this: `Tensor h = relu(x).named("h1");`
  Tensor& named(std::string name);
  const std::string& name() const { return body().name; }

  // Gradients. Only leaves keep one; backward() adds to it until zero_grad().
  Tensor& requires_grad_(bool on = true);
  bool requires_grad() const { return body().requires_grad; }
  bool is_leaf() const { return body().is_leaf; }
  Tensor grad() const { return Tensor(body().grad); }  // undefined when none has arrived
  void set_grad(const Tensor& grad);
  void zero_grad() { body().grad.reset(); }

  // Recorded and differentiable:
  Tensor reshape(Shape shape, UserLine = user_line()) const;  // a view; one size may be -1 in reshape({-1, C})
  Tensor reshape(std::initializer_list<Index>, UserLine = user_line()) const;
  Tensor operator[](Index row) const;                                 // a view of x[row], one axis less
  Tensor rows(Index begin, Index end, UserLine = user_line()) const;  // a view of x[begin:end] along the first axis
  Tensor to(DType dtype, UserLine = user_line()) const;               // itself when the type is the same
  Tensor to(Device& device, UserLine = user_line()) const;            // itself when it is there already
  Tensor cpu(UserLine line = user_line()) const { return to(Device::cpu(), line); }

  // Not recorded: constants for the tape.
  Tensor detach() const;                                     // shares the data
  Tensor clone() const;                                      // copies the data
  Tensor host() const;                                       // the data on the CPU, shared if it is there already
  Tensor untaped_view(Shape shape, Index offset = 0) const;  // elements offset.. of this one, as another shape

  void copy_from(const Tensor& source);  // in place, from any device: same shape and dtype; for parameters, checkpoints
  std::string describe() const;          // "'h1' f32 [4,3]" for messages

  TensorBody& body() const {
    if (!body_) undefined();
    return *body_;
  }
  const std::shared_ptr<TensorBody>& handle() const { return body_; }

 private:
  std::shared_ptr<TensorBody> body_;
  void check_type(DType wanted) const {
    if (dtype() != wanted) wrong_type(wanted);
  }
  [[noreturn]] static void undefined();
  [[noreturn]] void wrong_type(DType wanted) const;
  void check_on_cpu(const char* op) const;
};

// A tensor argument that remembers the user's line: `Tensor relu(At x)` is called as relu(h).
struct At {
  const Tensor& tensor;
  UserLine line;
  At(const Tensor& t, const char* file = __builtin_FILE(), int l = __builtin_LINE()) : tensor(t), line{file, l} {}
  At(const Tensor& t, UserLine l) : tensor(t), line(l) {}
  operator const Tensor&() const { return tensor; }
  const Tensor* operator->() const { return &tensor; }
};

// Creation, on the default device unless another is named. Values of `tensor` are row-major.
Tensor empty(Shape shape, DType dtype = DType::f32, Device& device = default_device());  // not initialised
Tensor zeros(Shape shape, DType dtype = DType::f32, Device& device = default_device());
Tensor full(Shape shape, double value, DType dtype = DType::f32, Device& device = default_device());
Tensor ones(Shape shape, DType dtype = DType::f32, Device& device = default_device());
Tensor scalar(double value, DType dtype = DType::f32, Device& device = default_device());  // []
Tensor arange(Index n, DType dtype = DType::f32, Device& device = default_device());       // [n] 0, 1, ...
Tensor tensor(const std::vector<double>& values, Shape shape, DType dtype = DType::f32,
              Device& device = default_device());
Tensor tensor(const std::vector<double>& values, DType dtype = DType::f32,
              Device& device = default_device());                                    // [values.size()]
Tensor labels(const std::vector<Index>& values, Device& device = default_device());  // [values.size()] i64

// to += source, elementwise; equal shapes and types. The one sum that the engine itself needs.
void add_in_place(Tensor& to, const Tensor& source);
// Element i in row-major order, as a double.
double value_at(const Tensor& x, Index i);
void set_value(Tensor& x, Index i, double value);

// f32 [2,2] = [[1, 2], [3, 4]]; long tensors are shortened.
std::string to_text(const Tensor& x, Index most_per_axis = 8);
std::ostream& operator<<(std::ostream& out, const Tensor& x);

}  // namespace gradus
