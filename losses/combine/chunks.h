// Sums over all parameters of a network, in two launches: a team adds a chunk, another adds the chunks. One team alone
// would leave the rest of a GPU idle; and the rounding depends on the length only, not on who took part.
#pragma once
#include "engine/dtype.h"

namespace gradus {

inline constexpr Index chunk_length = 16384;
constexpr Index chunks_of(Index n) { return (n + chunk_length - 1) / chunk_length; }

struct Chunk {
  Index begin, length;
};
HD inline Chunk chunk(Index b, Index n) {
  const Index begin = b * chunk_length;
  return {begin, n - begin < chunk_length ? n - begin : chunk_length};
}

}  // namespace gradus
