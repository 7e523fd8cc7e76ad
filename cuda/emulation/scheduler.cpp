// Grids, and the fibers that run the threads of a block. See scheduler.h.
//
// A fiber runs threads one after another. A thread that waits keeps the fiber, with its stack, until it may go on; another
// fiber takes over. So a kernel without barriers runs in one fiber, as a loop.
#include "cuda/emulation/scheduler.h"

#include <cstdlib>
#include <memory>
#include <numeric>
#include <vector>

#include "cuda/emulation/block.h"
#include "cuda/emulation/check.h"
#include "cuda/emulation/error.h"
#include "cuda/emulation/fiber.h"
#include "cuda/emulation/memory.h"
#include "cuda/emulation/settings.h"

// A section of their own: the checker leaves it alone.
#define GRADUS_BUILTIN __attribute__((section("gradus_builtin")))
GRADUS_BUILTIN uint3 threadIdx{}, blockIdx{};
GRADUS_BUILTIN dim3 blockDim{}, gridDim{};

namespace gradus::emulation {

constinit thread_local Position check_at;
namespace check {
constinit Hooks hooks;
}

static Fiber host;                     // who launched the grid
static Fiber* fiber_of[most_threads];  // of the threads that have begun and not returned
static int me;                         // the running thread
static void (*run_kernel)(const void* call);
static const void* call_now;
static bool flat;     // blocks have one dimension
static bool stopped;  // an error ended the grid

void fail(cudaError_t code, const std::string& text) {
  check_at.in_kernel = false;
  report(code, text);
  end_grid();
}
void end_grid() {
  stopped = true;
  static Fiber abandoned;
  switch_fiber(abandoned, host, Leaving::for_good);
  std::abort();
}

// ---- switching
static void number(int t) {  // the running fiber is now that of thread t
  me = check_at.thread = t;
  const unsigned u = unsigned(t);
  if (flat)
    threadIdx.x = u;
  else
    threadIdx = {u % blockDim.x, u / blockDim.x % blockDim.y, u / (blockDim.x * blockDim.y)};
}
static void become(int t) {  // its fiber is about to run
  const Fiber* f = fiber_of[t];
  check_at.stack = static_cast<const char*>(f->stack), check_at.stack_bytes = f->stack_bytes;
  number(t);
}

static void fiber_main() {
  fiber_begins();
  for (;;) {
    Fiber* mine = fiber_of[me];
    check_at.in_kernel = true;
    run_kernel(call_now);
    check_at.in_kernel = false;
    block_now.returned(me);
    fiber_of[me] = nullptr;
    const int t = block_now.next(me);
    if (t >= 0 && !fiber_of[t]) {  // it has not begun, and can use this very stack
      fiber_of[t] = mine;
      number(t);
      continue;
    }
    give_back(mine);
    if (t >= 0) become(t);
    switch_fiber(*mine, t < 0 ? host : *fiber_of[t], Leaving::for_good);
  }
}

static void let_others_run() {  // until this thread may go on
  Fiber* mine = fiber_of[me];
  const int t = block_now.next(me);
  if (!fiber_of[t]) fiber_of[t] = new_fiber(fiber_main);
  become(t);
  if (fiber_of[t] != mine) switch_fiber(*mine, *fiber_of[t]);
}

// ---- what kernels call
struct Quiet {  // what the emulator touches is not the kernel's doing
  Quiet() { check_at.in_kernel = false; }
  ~Quiet() { check_at.in_kernel = true; }
};
void sync_block(Line line) {
  const Quiet quiet;
  block_now.waits_at_barrier(me, line);
  let_others_run();
}
[[noreturn]] static void refuse_lane(Line line) {
  report(cudaErrorLaunchFailure,
         line.text() + ": lane " + std::to_string(lane_id()) + " calls a warp operation whose mask leaves it out");
  end_grid();
}
static const Parcel& warp_operation(WarpOperation::Kind kind, unsigned mask, unsigned source, Parcel p, Line line) {
  if (!(mask >> lane_id() & 1)) refuse_lane(line);
  WarpOperation& mine = block_now.operation[me];
  mine.kind = kind, mine.line = line, mine.mask = mask, mine.source = source;
  mine.parcel.low = p.low, mine.parcel.high = p.high;  // one by one: as a whole it would go through memory
  block_now.waits_in_warp(me);
  let_others_run();
  return mine.parcel;
}
void sync_warp(unsigned mask, Line line) {
  const Quiet quiet;
  warp_operation(WarpOperation::sync, mask, 0, Parcel{}, line);
}
Parcel exchange(unsigned mask, Parcel mine, unsigned source, Line line) {
  const Quiet quiet;
  return warp_operation(WarpOperation::exchange, mask, source % 32, mine, line);
}
unsigned vote(unsigned mask, bool yes, Line line) {
  const Quiet quiet;
  return unsigned(warp_operation(WarpOperation::vote, mask, 0, Parcel{yes, 0}, line).low);
}
unsigned lane_id() { return unsigned(me) % 32; }
void touch_atomic(void* p, size_t bytes, void* pc) {
  if (check::hooks.atomic) check::hooks.atomic(p, bytes, pc);
}

// ---- dynamic shared memory: of the exact size, so that AddressSanitizer sees its end
static std::unique_ptr<Sixteen[]> dynamic_memory;
static size_t dynamic_bytes = 0;
void* dynamic_shared() { return dynamic_memory.get(); }
bool in_dynamic_shared(const void* p) {
  return size_t(static_cast<const char*>(p) - reinterpret_cast<const char*>(dynamic_memory.get())) < dynamic_bytes;
}
static void resize_dynamic(size_t bytes) {
  if (bytes == dynamic_bytes) return;
  dynamic_bytes = bytes;
  dynamic_memory.reset(bytes ? new_bytes(bytes) : nullptr);
}

// ---- a block, and a grid of them
static void run_block(unsigned number) {
  blockIdx = {number % gridDim.x, number / gridDim.x % gridDim.y, number / (gridDim.x * gridDim.y)};
  if (dynamic_bytes) std::memset(dynamic_memory[0].bytes, 0xFF, dynamic_bytes);  // as floats: NaN
  check_at.new_block();
  block_now.begin();
  const int first = block_now.next(0);
  fiber_of[first] = new_fiber(fiber_main);
  become(first);
  switch_fiber(host, *fiber_of[first]);
}

void run_grid(dim3 grid, dim3 block, size_t shared_bytes, const Where& where, const KernelCall& call) {
  const unsigned blocks = grid.x * grid.y * grid.z;
  gridDim = grid, blockDim = block, threadIdx = {0, 0, 0};
  run_kernel = call.run, call_now = call.call, stopped = false;
  block_now.threads = int(block.x * block.y * block.z), flat = block.y * block.z == 1;
  resize_dynamic(shared_bytes);
  seed_dice(settings.seed);
  check_at.new_grid(block_now.threads, where, call.call, call.call_bytes);
  if (settings.order == Order::random) {
    static std::vector<int> order;
    order.resize(blocks);
    std::iota(order.begin(), order.end(), 0);
    shuffle_order(order.data(), int(blocks));
    for (size_t i = 0; i < blocks && !stopped; ++i) run_block(unsigned(order[i]));
  } else {
    const bool forward = settings.order == Order::forward;
    for (unsigned b = 0; b < blocks && !stopped; ++b) run_block(forward ? b : blocks - 1 - b);
  }
  if (stopped) {  // the waiting threads are abandoned where they stand
    give_back_all_fibers();
    std::fill_n(fiber_of, block_now.threads, nullptr);
    add_to_report(" [kernel launched at " + where.text() + "]");
  }
  check_guards_after(where);
}

}  // namespace gradus::emulation
