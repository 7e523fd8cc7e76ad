// What losses over all label-ordered pairs share: the order of the labels, and log-sum-exps over everything ranked
// lower or higher.
//
// Sorted by label, "all j with a lower label than i" is a prefix, so B sums over up to B terms cost one pass after the
// sort. Equal labels form a group; a group is never part of its own prefix, so ties are exact.
//
// All of this runs on the CPU; cosent_device.h holds the form for a GPU. The sort is a radix sort: its time does not depend on the order of the labels, and bytes that are the same in all
// labels cost nothing. Sums are in double, whatever the type of the scores: with k = 1000, k (s_j - s_i) of scores near
// 1 would lose 4 of 7 digits in float.
#pragma once
#include <array>
#include <bit>
#include <string>
#include <vector>

#include "engine/parallel.h"
#include "engine/tensor.h"
#include "ops/launch.h"

namespace gradus::ranked {

struct Order {
  std::vector<std::uint32_t> sample;  // sample[p]: which one is p-th by ascending label; ties in their first order
  std::vector<Index> starts;          // group g is p in starts[g] .. starts[g+1]; one more than there are groups
  Index groups() const { return Index(starts.size()) - 1; }
};

// Unsigned keys in the order of the labels. v + 0 makes -0 a 0: they tie.
inline std::uint32_t sort_key(float v) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(v + 0.f);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}
inline std::uint64_t sort_key(double v) {
  const std::uint64_t bits = std::bit_cast<std::uint64_t>(v + 0.);
  return bits >> 63 ? ~bits : bits | 0x8000000000000000u;
}
inline std::uint64_t sort_key(Index v) { return std::uint64_t(v) ^ 0x8000000000000000u; }
inline std::uint32_t sort_key(std::int32_t v) { return std::uint32_t(v) ^ 0x80000000u; }
inline std::uint32_t sort_key(std::uint8_t v) { return v; }

template <class Key> struct Keyed {
  Key key;
  std::uint32_t sample;
};

// Ascending by key, stable, one byte of the key after the other.
template <class Key> void radix_sort(std::vector<Keyed<Key>>& items) {
  constexpr int bytes = sizeof(Key);
  std::array<std::array<std::uint32_t, 256>, bytes> counts{};
  for (const auto& item : items) {
    for (int b = 0; b < bytes; ++b) ++counts[std::size_t(b)][(item.key >> (8 * b)) & 255];
  }
  std::vector<Keyed<Key>> other(items.size());
  for (int b = 0; b < bytes; ++b) {
    auto& place = counts[std::size_t(b)];
    if (items.empty() || place[(items[0].key >> (8 * b)) & 255] == items.size()) continue;
    std::uint32_t next = 0;
    for (std::uint32_t& c : place) {
      const std::uint32_t count = c;
      c = next;
      next += count;
    }
    for (const auto& item : items) other[place[(item.key >> (8 * b)) & 255]++] = item;
    items.swap(other);
  }
}

template <class T> struct IsNan {
  const T* y;
  HD bool operator()(Index i) const { return y[i] != y[i]; }
};
inline void check_labels(std::string_view op, const Tensor& labels) {
  if (!is_floating(labels.dtype())) return;
  dispatch_float(op, labels.dtype(), [&]<class T>() {
    const Index i = find_first(labels.device(), labels.numel(), IsNan<T>{labels.data<T>()});
    if (i >= 0) fail(op, "label " + std::to_string(i) + " is NaN, which ranks nowhere");
  });
}

// labels [B] of any type without NaN; read on the CPU.
inline Order order_of(const Tensor& given) {
  const Tensor labels = given.detach().cpu();
  const Index B = labels.numel();
  Order order;
  order.sample.resize(std::size_t(B));
  dispatch(labels.dtype(), [&]<class T>() {
    using Key = decltype(sort_key(T()));
    const T* y = labels.data<T>();
    std::vector<Keyed<Key>> items(static_cast<std::size_t>(B));
    for (Index i = 0; i < B; ++i) items[std::size_t(i)] = {sort_key(y[i]), std::uint32_t(i)};
    radix_sort(items);
    for (Index p = 0; p < B; ++p) {
      const auto& item = items[std::size_t(p)];
      order.sample[std::size_t(p)] = item.sample;
      if (p == 0 || item.key != items[std::size_t(p - 1)].key) order.starts.push_back(p);
    }
  });
  order.starts.push_back(B);
  return order;
}

// Exclusive log-sum-exp along the groups, x and out in sorted order:
//   lower:  out_p = log sum_q e^{x_q},  q in groups before that of p;  higher: in groups after it;  no such q: -inf
//
// Sums are kept as sum e^base. The base rises only when an x exceeds it by 300: e^300 times any B fits a double, what
// a rise lets vanish is below e^-300 of what stays, and a sum is never less than 1, so its log is exact enough.
enum class Side { lower, higher };

inline void exclusive_logsumexp(const Order& order, Side side, const std::vector<double>& x, std::vector<double>& out) {
  constexpr double step = 300;
  const Index B = Index(x.size()), G = order.groups();
  std::vector<double> term(x.size());
  out.resize(x.size());
  const bool up = side == Side::lower;
  const auto walk = [&](const auto& group) {
    for (Index g = 0; g < G; ++g) {
      const Index at = up ? g : G - 1 - g;
      group(std::size_t(order.starts[std::size_t(at)]), std::size_t(order.starts[std::size_t(at + 1)]));
    }
  };
  // The bases, then all exponentials, then the sums, then all logarithms: the second and fourth are vector loops.
  double base = B ? x[std::size_t(up ? 0 : B - 1)] : 0;
  const double first_base = base;
  walk([&](std::size_t begin, std::size_t end) {
    for (std::size_t p = begin; p < end; ++p) {
      if (x[p] > base + step) base = x[p];
      out[p] = base;
    }
  });
  const double* in = x.data();
  double *t = term.data(), *o = out.data();
  parallel_for(B, serial_below, [=](Index begin, Index end) {
#pragma omp simd
    for (Index p = begin; p < end; ++p) t[p] = vmath::exp(in[p] - o[p]);
  });
  base = first_base;
  double sum = 0;
  walk([&](std::size_t begin, std::size_t end) {
    const double base_before = base, sum_before = sum;
    for (std::size_t p = begin; p < end; ++p) {
      if (o[p] != base) {
        sum *= vmath::exp(base - o[p]);
        base = o[p];
      }
      sum += t[p];
      o[p] = base_before;
      t[p] = sum_before;
    }
  });
  parallel_for(B, serial_below, [=](Index begin, Index end) {
#pragma omp simd
    for (Index p = begin; p < end; ++p) o[p] += vmath::log(t[p]);
  });
}

// log(1 + sum_p e^{v_p}), 0 for no terms or all -inf. A NaN anywhere gives NaN.
inline double log1p_sum_exp(const std::vector<double>& v) {
  double m = 0;
  for (const double e : v) m = e > m ? e : m;
  const double sum = block_sum<double>(Index(v.size()), [m, e = v.data()](Index p) { return vmath::exp(e[p] - m); });
  return m > 0 ? m + vmath::log(vmath::exp(-m) + sum) : vmath::log1p(sum);
}

}  // namespace gradus::ranked
