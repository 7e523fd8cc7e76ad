// The hardest negatives of a row of cells: the k = ceil(percent / 100 * negatives) of greatest score; NaN is greater than
// all, ties go by place. All others are left out.
//
// No sort: the bits of a float, its sign turned round, are a number in the order of the scores. The k-th greatest is found
// bit by bit from above, each time by counting how many are not below; then the place up to which ties are kept, by
// halving. A count is one pass over the row: 32 or 64, and log2 n, with no memory beside the row.
#pragma once
#include <bit>
#include <cmath>
#include <type_traits>

#include "losses/logsumexp/multilabel.h"
#include "ops/launch.h"

namespace gradus {

template <class T> using SortKey = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
template <class T> [[gnu::always_inline]] inline HD SortKey<T> sort_key(T v) {
  using Key = SortKey<T>;
  constexpr Key sign = Key(1) << (8 * sizeof(T) - 1);
  const Key bits = std::bit_cast<Key>(v + T(0));  // + 0 makes -0 a 0
  const Key key = bits & sign ? ~bits : bits | sign;
  return v != v ? ~Key(0) : key;
}

template <class T> struct KeepHardest {
  Index n;
  double percent;
  const T* scores;
  std::uint8_t* cells;

  template <class Team> HD void operator()(Index r, Team team) const {
    using Key = SortKey<T>;
    const T* s = scores + r * n;
    std::uint8_t* cell = cells + r * n;
    const auto count = [=](Index size, auto test) {
      return team.template sum<std::int32_t>(
          size, [=](Index j) { return std::int32_t(cell[j] == negative_cell && test(j, sort_key(s[j]))); });
    };
    const std::int32_t all = count(n, [](Index, Key) { return true; });
    const std::int32_t keep = std::int32_t(std::ceil(percent / 100 * double(all)));
    if (keep >= all) return;
    Key least = 0;               // of those kept
    std::int32_t reached = all;  // how many are not below it
    for (Key bit = Key(1) << (8 * sizeof(T) - 1); bit > 0 && reached > keep; bit >>= 1) {
      const Key higher = least | bit;
      const std::int32_t found = count(n, [=](Index, Key k) { return k >= higher; });
      if (found >= keep) least = higher, reached = found;
    }
    Index before = 0, stop = n;  // the last tie kept lies in before .. stop - 1
    if (reached > keep) {
      const std::int32_t ties = keep - count(n, [=](Index, Key k) { return k > least; });
      while (stop - before > 1) {
        const Index middle = before + (stop - before) / 2;
        (count(middle, [=](Index, Key k) { return k == least; }) >= ties ? stop : before) = middle;
      }
    }
    team.each(n, [=](Index j) {
      const Key k = sort_key(s[j]);
      const bool out = cell[j] == negative_cell && (k < least || (k == least && j >= stop));
      cell[j] = out ? std::uint8_t(left_out_cell) : cell[j];
    });
  }
};

}  // namespace gradus
