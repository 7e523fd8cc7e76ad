// Allocations of the emulated device, its guard zones, and pinned host memory. See memory.h.
//
// Addresses come from one reserved range, so that a pointer tells by its value whose memory it points to. Under
// AddressSanitizer they come from malloc, whose red zones are better guards; the checker brings its own as well.
// Fresh and freed memory is filled with 0xFF: as floats, NaN.
#include "cuda/emulation/memory.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <map>

#include "cuda/emulation/check.h"
#include "cuda/emulation/error.h"
#include "cuda/emulation/settings.h"
#include "cuda/emulation/streams.h"

namespace gradus::emulation {

#if defined(__SANITIZE_ADDRESS__)
constexpr bool address_sanitizer = true;
#elif defined(__has_feature)
constexpr bool address_sanitizer = __has_feature(address_sanitizer);
#else
constexpr bool address_sanitizer = false;
#endif

constexpr size_t guard = 256;  // bytes before and after each allocation
constexpr unsigned char guard_byte = 0xA5;
// By start, with the bytes asked for. Never destroyed: other static objects may free device memory when a program ends.
using Allocations = std::map<const char*, size_t>;
static Allocations &allocations = *new Allocations, &pinned = *new Allocations;
static size_t bytes_in_use = 0;

// ---- the range
static bool uses_range() { return !address_sanitizer && !check::hooks.allocate; }
static char* range = nullptr;
static size_t range_bytes = 0;
static std::map<size_t, size_t>* gaps = nullptr;  // free pieces of the range: offset and size

static void reserve_range() {
  range_bytes = settings.memory + (size_t(1) << 30);  // room for the guards
  void* p = mmap(nullptr, range_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) {
    range_bytes = 0;
    return;
  }
  madvise(p, range_bytes, MADV_DONTDUMP);
  range = static_cast<char*>(p);
  gaps = new std::map<size_t, size_t>{{0, range_bytes}};
}
static size_t taken_by(size_t bytes) { return guard + (bytes + 255) / 256 * 256 + guard; }
static char* take(size_t bytes) {  // the first gap that is large enough
  if (!range) reserve_range();
  if (!range) return nullptr;
  const size_t need = taken_by(bytes);
  for (auto gap = gaps->begin(); gap != gaps->end(); ++gap) {
    if (gap->second < need) continue;
    const auto [offset, size] = *gap;
    gaps->erase(gap);
    if (size > need) (*gaps)[offset + need] = size - need;
    return range + offset;
  }
  return nullptr;
}
static void put_back(char* p, size_t bytes) {
  size_t offset = size_t(p - range), size = taken_by(bytes);
  auto after = gaps->lower_bound(offset);
  if (after != gaps->end() && after->first == offset + size) size += after->second, after = gaps->erase(after);
  if (after != gaps->begin()) {
    const auto before = std::prev(after);
    if (before->first + before->second == offset) {
      before->second += size;
      return;
    }
  }
  (*gaps)[offset] = size;
}

// ---- allocations
static char* allocate(size_t bytes) {
  if (bytes_in_use + bytes > settings.memory) return nullptr;
  char* p = nullptr;
  if (check::hooks.allocate) {
    p = static_cast<char*>(check::hooks.allocate(bytes));
  } else if (address_sanitizer) {
    void* exact = nullptr;
    if (posix_memalign(&exact, 256, bytes) == 0) p = static_cast<char*>(exact);
  } else if (char* start = take(bytes)) {
    p = start + guard;
    std::memset(start, guard_byte, guard);
    std::memset(p + bytes, guard_byte, taken_by(bytes) - guard - bytes);
  }
  if (!p) return nullptr;
  std::memset(p, 0xFF, bytes);
  allocations[p] = bytes;
  bytes_in_use += bytes;
  check::define(p, bytes, false);
  return p;
}

static std::string guard_damage(const char* p, size_t bytes) {  // "" when there is none
  static const auto intact = [] {
    struct Zone {
      unsigned char bytes[2 * guard];
    } zone;
    std::memset(zone.bytes, guard_byte, sizeof zone.bytes);
    return zone;
  }();
  const size_t tail = taken_by(bytes) - guard - bytes;
  const bool before = std::memcmp(p - guard, intact.bytes, guard) != 0;
  const bool after = std::memcmp(p + bytes, intact.bytes, tail) != 0;
  if (!before && !after) return "";
  return std::string(after ? "past the end of" : "before the start of") + " an allocation of " + std::to_string(bytes) +
         " bytes";
}
static void repair_guards(const char* p, size_t bytes) {  // each damage is reported once
  std::memset(const_cast<char*>(p) - guard, guard_byte, guard);
  std::memset(const_cast<char*>(p) + bytes, guard_byte, taken_by(bytes) - guard - bytes);
}
void check_guards(const std::string& suspect) {
  if (!uses_range()) return;
  for (const auto& [p, bytes] : allocations) {
    const std::string damage = guard_damage(p, bytes);
    if (damage.empty()) continue;
    repair_guards(p, bytes);
    report(cudaErrorIllegalAddress, suspect + " wrote " + damage);
  }
}
// Where there are many allocations, not after each of many small kernels.
bool guards_are_due() {
  constexpr size_t few = 16;
  static size_t waited = 0;
  if (allocations.size() > few && ++waited < allocations.size()) return false;
  waited = 0;
  return true;
}
void check_guards_after(const Where& launch) {
  if (!uses_range() || !guards_are_due()) return;
  for (const auto& [p, bytes] : allocations)
    if (!guard_damage(p, bytes).empty()) return check_guards("the kernel " + launch.text());
}

void release(void* pointer) {
  const AtWork at_work;
  char* p = static_cast<char*>(pointer);
  const auto found = allocations.find(p);
  if (found == allocations.end()) {
    report(cudaErrorInvalidValue, "cudaFree of a pointer that cudaMalloc did not give, or that is free already");
    return;
  }
  const size_t bytes = found->second;
  if (uses_range()) {
    const std::string damage = guard_damage(p, bytes);
    if (!damage.empty()) report(cudaErrorIllegalAddress, "something before cudaFree wrote " + damage);
  }
  allocations.erase(found);
  bytes_in_use -= bytes;
  std::memset(p, 0xFF, bytes);
  if (check::hooks.release)
    check::hooks.release(p);
  else if (address_sanitizer)
    std::free(p);
  else
    put_back(p - guard, bytes);
}

// ---- whose memory is it?
bool find_allocation(const void* p, const char*& start, size_t& bytes) {
  auto it = allocations.upper_bound(static_cast<const char*>(p));
  if (it == allocations.begin()) return false;
  --it;
  start = it->first, bytes = it->second;
  return true;
}
bool on_device(const void* p, size_t bytes) {
  const char* start = nullptr;
  size_t size = 0;
  if (!find_allocation(p, start, size)) return false;
  const size_t offset = size_t(static_cast<const char*>(p) - start);
  return offset <= size && bytes <= size - offset;
}
bool is_device(const void* p) {
  if (uses_range()) return size_t(static_cast<const char*>(p) - range) < range_bytes;
  const Lock lock;
  return on_device(p, 1);
}
bool is_pinned(const void* p) {
  auto it = pinned.upper_bound(static_cast<const char*>(p));
  return it != pinned.begin() && (--it, size_t(static_cast<const char*>(p) - it->first) < it->second);
}

}  // namespace gradus::emulation

using namespace gradus::emulation;

cudaError_t cudaMalloc(void** p, size_t bytes) {
  const Lock lock;
  if (const cudaError_t e = forbid_in_capture("cudaMalloc")) return e;
  const AtWork at_work;
  *p = nullptr;
  if (bytes == 0) return cudaSuccess;
  *p = allocate(bytes);
  if (*p) return cudaSuccess;
  return report(cudaErrorMemoryAllocation, "out of memory: " + std::to_string(bytes) + " bytes asked for, " +
                                               std::to_string(settings.memory - bytes_in_use) + " free");
}
cudaError_t cudaFree(void* p) {
  const Lock lock;
  if (!p) return cudaSuccess;
  if (const cudaError_t e = forbid_in_capture("cudaFree")) return e;
  drain_all();  // as CUDA does
  release(p);
  return last_error();
}
cudaError_t cudaMallocAsync(void** p, size_t bytes, cudaStream_t) { return cudaMalloc(p, bytes); }
cudaError_t cudaFreeAsync(void* p, cudaStream_t s) {
  const Lock lock;
  if (const cudaError_t e = forbid_in_capture("cudaFreeAsync")) return e;
  return enqueue(s, [p] { release(p); });
}
cudaError_t cudaMallocHost(void** p, size_t bytes) {
  const Lock lock;
  if (const cudaError_t e = forbid_in_capture("cudaMallocHost")) return e;
  *p = nullptr;
  if (bytes == 0) return cudaSuccess;
  if (posix_memalign(p, 4096, bytes) != 0) return report(cudaErrorMemoryAllocation, "no pinned host memory left");
  pinned[static_cast<const char*>(*p)] = bytes;
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* p) {
  const Lock lock;
  if (!p) return cudaSuccess;
  if (const cudaError_t e = forbid_in_capture("cudaFreeHost")) return e;
  drain_all();
  if (!pinned.erase(static_cast<const char*>(p)))
    return report(cudaErrorInvalidValue, "cudaFreeHost of a pointer that cudaMallocHost did not give");
  std::free(p);
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  const Lock lock;
  *total = settings.memory, *free = settings.memory - bytes_in_use;
  return cudaSuccess;
}
