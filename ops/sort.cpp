// On the CPU by std::stable_sort, line by line. On a GPU elements become unsigned keys in the same order, and all lines are
// sorted at once by their digits (cuda/sort.h).
#include "ops/sort.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include "ops/index.h"
#include "ops/launch.h"
#include "ops/shape_ops.h"

#if defined(__CUDACC__) || defined(GRADUS_EMULATED)
#include "cuda/sort.h"
#endif

namespace gradus {
namespace {

// x seen as [outer, n, inner] with n sorted; a line is one (outer, inner).
struct Lines {
  Index n, inner, count;
  Lines(const Shape& x, int axis)
      : n(x[axis]), inner(x.product(axis + 1, x.rank())), count(x.product(0, axis) * inner) {}
  HD Index at(Index line, Index j) const { return line / inner * n * inner + line % inner + j * inner; }
};

void argsort_on_cpu(const Tensor& x, const Lines& lines, bool descending, Tensor& y) {
  dispatch(x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    Index* out = y.data_mut<Index>();
    std::vector<Index> order(static_cast<std::size_t>(lines.n));
    for (Index line = 0; line < lines.count; ++line) {
      const auto value = [&](Index j) { return in[lines.at(line, j)]; };
      const auto is_nan = [](T v) { return v != v; };
      std::iota(order.begin(), order.end(), Index(0));
      std::stable_sort(order.begin(), order.end(), [&](Index i, Index j) {
        const T a = value(i), b = value(j);
        if (is_nan(a) || is_nan(b)) return !is_nan(a) && is_nan(b);
        return descending ? b < a : a < b;
      });
      for (Index j = 0; j < lines.n; ++j) out[lines.at(line, j)] = order[std::size_t(j)];
    }
  });
}

#if defined(__CUDACC__) || defined(GRADUS_EMULATED)

// ---- keys: a < b as elements exactly when key(a) < key(b) as unsigned numbers of `bits` bits

template <class T> constexpr int key_bits = int(8 * sizeof(T));

// As bits, positive floats are ordered like integers, negative ones the other way round: those are inverted, and the sign
// bit of the others is set. No float but a NaN has the greatest key.
template <class Bits, class T> HD std::uint64_t float_key(T v, bool descending) {
  constexpr Bits sign = Bits(1) << (8 * sizeof(T) - 1), greatest = ~Bits(0);
  if (v != v) return greatest;
  const Bits b = std::bit_cast<Bits>(v == 0 ? T(0) : v);  // -0 equals 0
  const Bits key = b & sign ? ~b : b | sign;
  return descending ? Bits(~key) : key;
}
template <class Bits, class T> HD std::uint64_t integer_key(T v, bool descending) {
  const Bits key = Bits(v) ^ (T(-1) < T(0) ? Bits(1) << (8 * sizeof(T) - 1) : Bits(0));
  return descending ? Bits(~key) : key;
}
HD inline std::uint64_t key_of(float v, bool descending) { return float_key<std::uint32_t>(v, descending); }
HD inline std::uint64_t key_of(double v, bool descending) { return float_key<std::uint64_t>(v, descending); }
HD inline std::uint64_t key_of(std::int32_t v, bool descending) { return integer_key<std::uint32_t>(v, descending); }
HD inline std::uint64_t key_of(std::int64_t v, bool descending) { return integer_key<std::uint64_t>(v, descending); }
HD inline std::uint64_t key_of(std::uint8_t v, bool descending) { return integer_key<std::uint8_t>(v, descending); }

// Keys line after line; kept in an i64 tensor, bit by bit.
template <class T> struct MakeKeys {
  const T* x;
  Lines lines;
  bool descending;
  Index* keys;
  HD void operator()(Index line, Index j) const {
    keys[line * lines.n + j] = std::bit_cast<Index>(key_of(x[lines.at(line, j)], descending));
  }
};
struct FromLines {
  const Index* positions;  // line after line
  Lines lines;
  Index* y;
  HD void operator()(Index line, Index j) const { y[lines.at(line, j)] = positions[line * lines.n + j]; }
};

void argsort_on_device(const Tensor& x, const Lines& lines, bool descending, Tensor& y) {
  Device& device = x.device();
  Tensor keys = empty({x.numel()}, DType::i64, device);
  Tensor positions = lines.inner == 1 ? y : empty({x.numel()}, DType::i64, device);
  dispatch(x.dtype(), [&]<class T>() {
    launch_grid(device, lines.count, lines.n, MakeKeys<T>{x.data<T>(), lines, descending, keys.data_mut<Index>()});
    cuda::sort_lines(device, keys.data<Index>(), lines.count, lines.n, key_bits<T>, positions.data_mut<Index>());
  });
  if (lines.inner == 1) return;
  launch_grid(device, lines.count, lines.n, FromLines{positions.data<Index>(), lines, y.data_mut<Index>()});
}

#endif

// The first greatest element of a row. Of i64 a double holds no more than 53 bits: the upper halves are compared first, then
// the lower halves of those that agree.
template <class T> struct RowArgmax {
  const T* x;
  Index n;
  Index* y;
  template <class Team> HD void operator()(Index r, Team team) const {
    const T* row = x + r * n;
    Index best;
    if constexpr (std::is_same_v<T, Index>) {
      const Index k = team.template argmax<double>(n, [=](Index j) { return double(row[j] >> 32); }),
                  top = row[k] >> 32;
      best = team.template argmax<double>(
          n, [=](Index j) { return row[j] >> 32 == top ? double(row[j] & 0xffffffff) : -1.0; });
    } else {
      using Real = std::conditional_t<std::is_same_v<T, float>, float, double>;
      best = team.template argmax<Real>(n, [=](Index j) { return Real(row[j]); });
    }
    if (team.leads()) y[r] = best;
  }
};

}  // namespace

Tensor argsort(const Tensor& x, int axis, bool descending) {
  axis = checked_axis("argsort", x.shape(), axis);
  Tensor y = empty(x.shape(), DType::i64, x.device());
  if (x.numel() == 0) return y;
  const Lines lines(x.shape(), axis);
#if defined(__CUDACC__) || defined(GRADUS_EMULATED)
  if (!x.device().is_cpu()) {
    argsort_on_device(x, lines, descending, y);
    return y;
  }
#endif
  argsort_on_cpu(x, lines, descending, y);
  return y;
}

Tensor argsort_indices(const Tensor& indices, [[maybe_unused]] Index n) {
#if defined(__CUDACC__) || defined(GRADUS_EMULATED)
  if (!indices.device().is_cpu() && indices.numel() > 0) {  // indices are keys already
    Tensor y = empty({indices.numel()}, DType::i64, indices.device());
    const int bits = std::bit_width(std::uint64_t(std::max<Index>(1, n - 1)));
    cuda::sort_lines(indices.device(), indices.data<Index>(), 1, indices.numel(), bits, y.data_mut<Index>());
    return y;
  }
#endif
  return argsort(indices, 0);
}

Sorted sort(const Tensor& x, int axis, bool descending) {
  axis = checked_axis("sort", x.shape(), axis);
  const Tensor indices = argsort(x, axis, descending);
  return {gathered(x, axis, indices), indices};
}

Tensor argmax(const Tensor& x, int axis) {
  axis = checked_axis("argmax", x.shape(), axis);
  const Index n = x.shape()[axis];
  if (n == 0) fail("argmax", x.describe() + " has nothing along axis " + std::to_string(axis));
  std::vector<int> axis_last;
  for (int k = 0; k < x.rank(); ++k) {
    if (k != axis) axis_last.push_back(k);
  }
  axis_last.push_back(axis);
  const Tensor rows = axis == x.rank() - 1 ? x : permuted(x, axis_last);
  Tensor y = empty(x.shape().without(axis), DType::i64, x.device());
  dispatch(x.dtype(), [&]<class T>() {
    launch_rows(x.device(), y.numel(), n, RowArgmax<T>{rows.data<T>(), n, y.data_mut<Index>()});
  });
  return y;
}

}  // namespace gradus
