// Shapes: up to six sizes, stored in place. [] is a scalar, [N,C] a matrix; a size may be 0.
#pragma once
#include <array>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include "engine/dtype.h"

namespace gradus {

class Shape {
 public:
  static constexpr int max_rank = 6;

  Shape() = default;
  Shape(std::initializer_list<Index> sizes) : Shape(std::span(sizes.begin(), sizes.size())) {}
  explicit Shape(std::span<const Index> sizes);

  int rank() const { return rank_; }
  Index numel() const { return numel_; }
  Index operator[](int axis) const { return sizes_[std::size_t(axis < 0 ? axis + rank_ : axis)]; }  // -1 is the last
  const Index* begin() const { return sizes_.data(); }
  const Index* end() const { return sizes_.data() + rank_; }
  bool operator==(const Shape& other) const = default;
  std::string text() const;  // "[3,4]"

  Index product(int first, int last) const;        // of the sizes first <= axis < last
  Shape with(int axis, Index size) const;          // one size replaced
  Shape without(int axis) const;                   // one axis removed
  Shape inserted(int axis, Index size = 1) const;  // one axis added before `axis`
  Shape joined(const Shape& tail) const;           // [a,b] joined [c] = [a,b,c]
  Shape slice(int first, int last) const;          // the sizes first <= axis < last

 private:
  std::array<Index, max_rank> sizes_{};
  int rank_ = 0;
  Index numel_ = 1;
};

// The common shape of a and b under NumPy's rule: align right, sizes are equal or one of them is 1.
// Error: "[add] shapes [4,3] and [4,2] do not broadcast".
Shape broadcast(std::string_view op, const Shape& a, const Shape& b);

// Where element number `flat` in row-major order lies: "[2,1]".
std::string index_text(const Shape& shape, Index flat);

// An axis in -rank..rank-1 as 0..rank-1, or an error of `op`.
int checked_axis(std::string_view op, const Shape& shape, int axis);

}  // namespace gradus
