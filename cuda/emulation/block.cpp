// Who runs next in the running block, and when barriers open. See block.h.
#include "cuda/emulation/block.h"

#include <algorithm>
#include <bit>
#include <map>

#include "cuda/emulation/check.h"
#include "cuda/emulation/error.h"
#include "cuda/emulation/language.h"
#include "cuda/emulation/settings.h"

namespace gradus::emulation {

Block block_now;

// ---- the random order
static uint64_t dice_state = 1;
static unsigned dice(unsigned sides) {  // splitmix64
  uint64_t z = dice_state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return unsigned((z >> 32) * sides >> 32);
}
void seed_dice(uint64_t seed) { dice_state = seed * 0x2545f4914f6cdd1du; }
void shuffle_order(int* v, int count) {
  for (int i = count - 1; i > 0; --i) std::swap(v[i], v[dice(unsigned(i) + 1)]);
}

// ---- the queue
void Block::begin() {
  live = threads, at_barrier = begun = queued = held_count = 0, held_warp = -1;
  reversed = settings.order == Order::reverse;
  for (int w = 0; w * 32 < threads; ++w) {
    const int lanes = threads - w * 32;
    alive[w] = lanes >= 32 ? ~0u : (1u << lanes) - 1, waiting[w] = 0;
  }
  if (settings.order != Order::random) return;
  hold_back_a_warp();
  int all[most_threads];
  for (int t = 0; t < threads; ++t) all[t] = t;
  shuffle_in(all, threads);
  begun = threads;
}

// Half the time it is the first warp, which so often does something for the others.
void Block::hold_back_a_warp() { held_warp = dice(2) ? int(dice(unsigned(threads + 31) / 32)) : 0; }

void Block::shuffle_in(const int* who, int count) {
  int order[most_threads];
  std::copy(who, who + count, order);
  shuffle_order(order, count);
  for (int i = 0; i < count; ++i) {
    if (order[i] / 32 == held_warp)
      held[held_count++] = order[i];
    else
      queue[queued++] = order[i];
  }
}

// Into the queue, from whose end the next is taken.
void Block::can_go_on(int warp, uint32_t lanes) {
  const int first = warp * 32;
  if (held_warp >= 0) {
    int who[32], count = 0;
    for (; lanes; lanes &= lanes - 1) who[count++] = first + std::countr_zero(lanes);
    shuffle_in(who, count);
  } else if (reversed) {
    for (; lanes; lanes &= lanes - 1) queue[queued++] = first + std::countr_zero(lanes);
  } else {
    for (; lanes; lanes ^= std::bit_floor(lanes)) queue[queued++] = first + 31 - std::countl_zero(lanes);
  }
}

int Block::next_after_opening() {
  if (!live) return -1;
  const int warps = (threads + 31) / 32;
  if (at_barrier == live)
    open_barrier();
  else
    for (int w = 0; w < warps; ++w) open_warp(reversed ? w : warps - 1 - w);
  if (!queued) {
    if (!held_count) report_deadlock(), end_grid();
    std::copy(held, held + held_count, queue);
    queued = held_count, held_count = 0;
  }
  return queue[--queued];
}

// ---- barriers
void Block::open_barrier() {
  int who[most_threads], count = 0;
  for (int w = 0; w * 32 < threads; ++w)
    for (uint32_t lanes = alive[w]; lanes; lanes &= lanes - 1) who[count++] = w * 32 + std::countr_zero(lanes);
  for (int i = 1; i < count; ++i) {
    if (barrier[who[i]] == barrier[who[0]]) continue;
    report(cudaErrorLaunchFailure, "divergent barrier: thread " + std::to_string(who[0]) + " waits at " +
                                       barrier[who[0]].text() + ", thread " + std::to_string(who[i]) + " at " +
                                       barrier[who[i]].text());
    end_grid();
  }
  at_barrier = 0;
  check_at.new_epoch();
  if (held_warp >= 0) {
    hold_back_a_warp();
    shuffle_in(who, count);
  } else {
    if (!reversed) std::reverse(who, who + count);
    std::copy(who, who + count, queue);
    queued = count;
  }
}

// Opens the operations at which every lane in the mask waits, or has returned.
void Block::open_warp(int warp) {
  const WarpOperation* lane = operation + warp * 32;
  for (uint32_t left = waiting[warp]; left;) {
    const WarpOperation& first = lane[std::countr_zero(left)];
    uint32_t same = 0;  // those who wait for the same operation as the first
    for (uint32_t rest = left & first.mask; rest; rest &= rest - 1) {
      const WarpOperation& other = lane[std::countr_zero(rest)];
      if (other.mask == first.mask && other.kind == first.kind && other.line == first.line) same |= rest & -rest;
    }
    left &= ~same;
    if (same == (alive[warp] & first.mask)) open_operation(warp, same);
  }
}

static void count_votes(WarpOperation* lane, uint32_t lanes) {
  uint64_t votes = 0;
  for (uint32_t rest = lanes; rest; rest &= rest - 1) {
    const int i = std::countr_zero(rest);
    votes |= lane[i].parcel.low << i;
  }
  for (uint32_t rest = lanes; rest; rest &= rest - 1) lane[std::countr_zero(rest)].parcel.low = votes;
}
static void trade_parcels(WarpOperation* lane, uint32_t lanes) {
  Parcel got[32];
  for (uint32_t rest = lanes; rest; rest &= rest - 1) {
    const int i = std::countr_zero(rest);
    const unsigned source = lane[i].source;
    if (!(lanes >> source & 1)) {
      report(cudaErrorLaunchFailure, lane[i].line.text() + ": lane " + std::to_string(i) + " reads from lane " +
                                         std::to_string(source) + ", which takes no part");
      end_grid();
    }
    got[i] = lane[source].parcel;
  }
  for (uint32_t rest = lanes; rest; rest &= rest - 1) lane[std::countr_zero(rest)].parcel = got[std::countr_zero(rest)];
}
void Block::open_operation(int warp, uint32_t lanes) {
  WarpOperation* lane = operation + warp * 32;
  switch (lane[std::countr_zero(lanes)].kind) {
    case WarpOperation::sync: check_at.warp_synced(warp * 32, lanes); break;
    case WarpOperation::vote: count_votes(lane, lanes); break;
    case WarpOperation::exchange: trade_parcels(lane, lanes); break;
  }
  waiting[warp] &= ~lanes;
  can_go_on(warp, lanes);
}

void Block::report_deadlock() const {
  std::map<std::string, int> waits;
  for (int t = 0; t < threads; ++t) {
    if (!(alive[t / 32] >> t % 32 & 1)) continue;
    if (waiting[t / 32] >> t % 32 & 1)
      ++waits["a warp operation at " + operation[t].line.text()];
    else
      ++waits["__syncthreads at " + barrier[t].text()];
  }
  std::string text = "deadlock in block " + std::to_string(blockIdx.x) + ":";
  for (const auto& [where, count] : waits) text += " " + std::to_string(count) + " threads wait for " + where + ",";
  report(cudaErrorLaunchFailure, text + " " + std::to_string(threads - live) + " have returned");
}

}  // namespace gradus::emulation
