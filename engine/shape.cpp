#include "engine/shape.h"

#include <algorithm>
#include <vector>

namespace gradus {

Shape::Shape(std::span<const Index> sizes) {
  if (sizes.size() > max_rank) fail("shape", "at most 6 axes, got " + std::to_string(sizes.size()));
  for (const Index size : sizes) {
    if (size < 0) fail("shape", "a size cannot be negative, got " + std::to_string(size));
    sizes_[std::size_t(rank_++)] = size;
    if (__builtin_mul_overflow(numel_, size, &numel_)) fail("shape", "too many elements: " + text());
  }
}

std::string Shape::text() const {
  std::string out = "[";
  for (int axis = 0; axis < rank_; ++axis) out += (axis ? "," : "") + std::to_string((*this)[axis]);
  return out + "]";
}

Index Shape::product(int first, int last) const {
  Index product = 1;
  for (int axis = first; axis < last; ++axis) product *= (*this)[axis];
  return product;
}

Shape Shape::with(int axis, Index size) const {
  std::vector<Index> sizes(begin(), end());
  sizes[std::size_t(axis)] = size;
  return Shape(sizes);
}

Shape Shape::without(int axis) const { return slice(0, axis).joined(slice(axis + 1, rank_)); }

Shape Shape::inserted(int axis, Index size) const { return slice(0, axis).joined({size}).joined(slice(axis, rank_)); }

Shape Shape::joined(const Shape& tail) const {
  std::vector<Index> sizes(begin(), end());
  sizes.insert(sizes.end(), tail.begin(), tail.end());
  return Shape(sizes);
}

Shape Shape::slice(int first, int last) const {
  return Shape(std::span(begin() + first, std::size_t(std::max(0, last - first))));
}

Shape broadcast(std::string_view op, const Shape& a, const Shape& b) {
  if (a == b) return a;
  const Shape& longer = a.rank() >= b.rank() ? a : b;
  const Shape& shorter = a.rank() >= b.rank() ? b : a;
  Shape out = longer;
  for (int k = 1; k <= shorter.rank(); ++k) {
    const Index x = longer[-k], y = shorter[-k];
    if (x != y && x != 1 && y != 1) fail(op, "shapes " + a.text() + " and " + b.text() + " do not broadcast");
    if (x == 1) out = out.with(out.rank() - k, y);
  }
  return out;
}

std::string index_text(const Shape& shape, Index flat) {
  std::string text;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    text = (axis ? "," : "") + std::to_string(flat % shape[axis]) + text;
    flat /= shape[axis];
  }
  return "[" + text + "]";
}

int checked_axis(std::string_view op, const Shape& shape, int axis) {
  if (axis < -shape.rank() || axis >= shape.rank()) {
    fail(op, "axis " + std::to_string(axis) + " does not exist in shape " + shape.text());
  }
  return axis < 0 ? axis + shape.rank() : axis;
}

}  // namespace gradus
