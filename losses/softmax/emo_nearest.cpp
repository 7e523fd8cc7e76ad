// Who is near a label by cosine (emo_cost.h): on the CPU by partial sorting, on a GPU by counting.
#include <algorithm>
#include <bit>
#include <numeric>

#include "losses/softmax/emo_cost.h"
#include "ops/launch.h"

namespace gradus {
namespace {

// Marks the rows begin..end of the CPU's memory.
template <class T> struct SelectedRows {
  const T* s;
  const Index* label;
  Index classes, k;
  std::uint8_t* in_reach;
  void operator()(Index begin, Index end) const {
    const Index keep = k < classes ? k + 1 : classes;
    std::vector<Index> order(std::size_t(classes), 0);
    for (Index r = begin; r < end; ++r) {
      // The label goes first; of the others, the k nearest come before the rest, in any order.
      std::iota(order.begin(), order.end(), Index(0));
      std::swap(order[0], order[std::size_t(label[r])]);
      const auto cosine = [row = s + r * classes](Index i) { return row[i] == row[i] ? row[i] : T(-2); };
      const auto nearer = [&](Index a, Index b) {
        const T u = cosine(a), v = cosine(b);
        return u > v || (u == v && a < b);
      };
      if (keep < classes) std::nth_element(order.begin() + 1, order.begin() + keep, order.end(), nearer);
      std::uint8_t* to = in_reach + r * classes;
      std::fill(to, to + classes, std::uint8_t(0));
      for (Index i = 0; i < keep; ++i) to[order[std::size_t(i)]] = 1;
    }
  }
};

// Cosines as unsigned numbers of the same order: sign and size of a float are those of its bits. -0 is 0, NaN stands
// below all.
HD inline std::uint32_t ordered(float s) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(s == s ? s + 0.f : -2.f);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
HD inline std::uint64_t ordered(double s) {
  const std::uint64_t bits = std::bit_cast<std::uint64_t>(s == s ? s + 0. : -2.);
  return bits & 0x8000000000000000u ? ~bits : bits | 0x8000000000000000u;
}

// The k-th nearest is found bit by bit: a bit of its key is 1 where k or more keys reach that far. Every pass counts over
// the row, in any order. Of keys equal to it, the first ones that are still needed are in reach: their last place is found
// in the same way.
template <class T> struct CountedRow {
  const T* s;
  const Index* label;
  Index classes, k;
  std::uint8_t* in_reach;
  template <class Team> HD void operator()(Index r, Team team) const {
    const T* row = s + r * classes;
    const Index t = label[r], C = classes;
    std::uint8_t* to = in_reach + r * classes;
    if (k >= C - 1) return team.each(C, [=](Index j) { to[j] = 1; });
    using Key = decltype(ordered(T(0)));
    const auto count = [=](auto holds) {
      return team.template sum<Index>(C, [=](Index j) { return Index(holds(ordered(row[j]), j) & (j != t)); });
    };
    Key least = 0;
    for (Key bit = Key(1) << (8 * sizeof(Key) - 1); bit != 0; bit >>= 1) {
      const Key next = least | bit;
      if (count([=](Key key, Index) { return key >= next; }) >= k) least = next;
    }
    const Index needed = k - count([=](Key key, Index) { return key > least; });
    Index end = C;  // equal ones before it are in reach
    if (count([=](Key key, Index) { return key == least; }) > needed) {
      for (Index few = 0; end - few > 1;) {
        const Index middle = few + (end - few) / 2;
        const Index found = count([=](Key key, Index j) { return (key == least) & (j < middle); });
        (found < needed ? few : end) = middle;
      }
    }
    team.each(C, [=](Index j) {
      const Key key = ordered(row[j]);
      to[j] = j == t || key > least || (key == least && j < end);
    });
  }
};

}  // namespace

Tensor nearest_to_labels(const Tensor& cosines, const Tensor& labels, Index k) {
  const Index N = cosines.size(0), C = cosines.size(1);
  Device& device = cosines.device();
  Tensor mask = empty(cosines.shape(), DType::u8, device);
  std::uint8_t* in_reach = mask.data_mut<std::uint8_t>();
  const Index* label = labels.data<Index>();
  dispatch_float("emo_topk", cosines.dtype(), [&]<class T>() {
    const T* s = cosines.data<T>();
    if (!device.is_cpu()) return launch_rows(device, N, C, CountedRow<T>{s, label, C, k, in_reach});
    parallel_for(N, std::max<Index>(1, serial_below / 8 / C), SelectedRows<T>{s, label, C, k, in_reach});
  });
  return mask;
}

}  // namespace gradus
