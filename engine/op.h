// How an op is declared: one struct with its formula forwards and its derivative backwards, side by side.
//
// Vocabulary, the same in every op:
//   x, w, in[i]   inputs                          y     output
//   dy            dL/dy, the gradient that arrives      dx, dx.into(i)   dL/d in[i], the gradient that leaves
//
//   // Y = A B        dA = dY B^T        dB = A^T dY
//   struct Matmul final : Op {
//     const char* name() const override { return "matmul"; }
//     Tensor forward(In in) override { return gemm(in[0], in[1]); }
//     void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
//       if (dx.wants(0)) dx.add(0, gemm(dy, in[1], transpose_b));
//       if (dx.wants(1)) dx.add(1, gemm(in[0], dy, transpose_a));
//     }
//   };
//   Tensor matmul(At a, At b) { return apply(Matmul{}, a, b); }
//
// Gradients only ever add: a tensor that is used twice receives two contributions. That is why backward never assigns.
// Elementwise ops and row ops do not even see this: they state a local derivative (ops/elementwise.h, ops/rows.h).
#pragma once
#include <span>

#include "engine/pool.h"
#include "engine/tensor.h"

namespace gradus {

using In = std::span<const Tensor>;

// What a recorded node keeps for its backward pass. What is not kept is freed as soon as the user lets go of it;
// a tensor that is not kept arrives undefined in backward().
enum class Keep : std::uint8_t { nothing = 0, inputs = 1, output = 2, both = 3 };

// Where the gradients of one node's inputs go.
class Out {
 public:
  struct Slot {
    Tensor* sum = nullptr;         // the running sum; null when not wanted
    const Shape* shape = nullptr;  // of the input
    DType dtype = DType::f32;
    Device* device = nullptr;
  };
  explicit Out(std::span<const Slot> slots) : slots_(slots) {}

  // False for constants, and for inputs that do not lead to what is differentiated: computing these would be waste.
  bool wants(int i) const { return slots_[std::size_t(i)].sum != nullptr; }
  const Shape& shape(int i) const { return *slots_[std::size_t(i)].shape; }
  DType dtype(int i) const { return slots_[std::size_t(i)].dtype; }

  // The running sum of input i, started with zeros: only += to it. Error when not wanted.
  Tensor& into(int i) const;
  // Adds a finished gradient of the input's shape.
  void add(int i, const Tensor& gradient) const;

  // The running sum and whether it was started: a kernel that writes `started ? d + v : v` saves a pass over memory.
  struct Sum {
    Tensor& tensor;
    bool started;
  };
  Sum sum(int i) const;

 private:
  std::span<const Slot> slots_;
  const Slot& checked(int i) const;
};

// A constant that an op keeps as a member, beside its inputs: a mask, indices. The tape does not see it, so it notices by
// itself when it was written between forward and backward.
class Constant {
 public:
  Constant() = default;
  Constant(Tensor x) : x_(std::move(x)), version_(x_ ? x_.body().buffer->version : 0) {}
  explicit operator bool() const { return bool(x_); }
  const Tensor& get(std::string_view op) const {
    if (x_ && x_.body().buffer->version != version_) {
      fail(op, x_.describe() + " was written since the forward pass: call backward first, or give the op a clone()");
    }
    return x_;
  }

 private:
  Tensor x_;
  std::uint32_t version_ = 0;
};

struct Op {
  virtual ~Op() = default;
  virtual const char* name() const = 0;
  virtual Keep keep() const { return Keep::inputs; }
  virtual Tensor forward(In in) = 0;                                            // may be run again (check_node)
  virtual void backward(const Tensor& dy, In in, const Tensor& y, Out dx) = 0;  // called only when something is wanted
  virtual bool makes_infinity() const { return false; }  // an infinite output is meant, not a symptom (masked_fill)

  // Small objects, made once per recorded op: they come from the pool.
  static void* operator new(std::size_t bytes) { return pool_allocate(bytes); }
  static void operator delete(void* memory, std::size_t bytes) { pool_release(memory, bytes); }
};

}  // namespace gradus
