// What the compiler calls: -fsanitize=thread before each load and store, -fsanitize=alignment,bounds where a pointer is
// misaligned or an index too large. Atomic operations stand in check_atomics.cpp.
#include <cstddef>
#include <cstdint>
#include <string>

#include "cuda/emulation/check_access.h"
#include "cuda/emulation/check_source.h"

using namespace gradus::emulation::check;

// Always inlined: the return address is that of the function below that calls it, a place in the instrumented code.
[[gnu::always_inline]] static inline void reads(const void* p, size_t n, Shape shape, const char* function = "") {
  touch(p, n, Kind::read, shape, __builtin_return_address(0), function);
}
[[gnu::always_inline]] static inline void writes(void* p, size_t n, Shape shape, const char* function = "") {
  touch(p, n, Kind::write, shape, __builtin_return_address(0), function);
}

extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_read(void**) {}
void __tsan_vptr_update(void**, void*) {}

void __tsan_read1(void* p) { reads(p, 1, Shape::aligned); }
void __tsan_read2(void* p) { reads(p, 2, Shape::aligned); }
void __tsan_read4(void* p) { reads(p, 4, Shape::aligned); }
void __tsan_read8(void* p) { reads(p, 8, Shape::aligned); }
void __tsan_read16(void* p) { reads(p, 16, Shape::aligned); }
void __tsan_write1(void* p) { writes(p, 1, Shape::aligned); }
void __tsan_write2(void* p) { writes(p, 2, Shape::aligned); }
void __tsan_write4(void* p) { writes(p, 4, Shape::aligned); }
void __tsan_write8(void* p) { writes(p, 8, Shape::aligned); }
void __tsan_write16(void* p) { writes(p, 16, Shape::aligned); }
void __tsan_unaligned_read2(void* p) { reads(p, 2, Shape::any); }
void __tsan_unaligned_read4(void* p) { reads(p, 4, Shape::any); }
void __tsan_unaligned_read8(void* p) { reads(p, 8, Shape::any); }
void __tsan_unaligned_read16(void* p) { reads(p, 16, Shape::any); }
void __tsan_unaligned_write2(void* p) { writes(p, 2, Shape::any); }
void __tsan_unaligned_write4(void* p) { writes(p, 4, Shape::any); }
void __tsan_unaligned_write8(void* p) { writes(p, 8, Shape::any); }
void __tsan_unaligned_write16(void* p) { writes(p, 16, Shape::any); }
void __tsan_read_range(void* p, size_t n) { reads(p, n, Shape::any); }
void __tsan_write_range(void* p, size_t n) { writes(p, n, Shape::any); }

// ---- copies and fills. Compilers turn loops and assignments into them, std::copy is one, and they are what host code
// would most probably touch device memory with; so the program calls ours. Libc's own have a second name, which takes
// the size of the target as well.

void* __memcpy_chk(void*, const void*, size_t, size_t);
void* __memmove_chk(void*, const void*, size_t, size_t);
void* __memset_chk(void*, int, size_t, size_t);
// volatile: or the compiler sees that they are memcpy, and calls ours again.
static void* (*volatile libc_memcpy)(void*, const void*, size_t, size_t) = __memcpy_chk;
static void* (*volatile libc_memmove)(void*, const void*, size_t, size_t) = __memmove_chk;
static void* (*volatile libc_memset)(void*, int, size_t, size_t) = __memset_chk;

void* memcpy(void* to, const void* from, size_t n) {
  reads(from, n, Shape::any, "memcpy"), writes(to, n, Shape::any, "memcpy");
  return libc_memcpy(to, from, n, SIZE_MAX);
}
void* memmove(void* to, const void* from, size_t n) {
  reads(from, n, Shape::any, "memmove"), writes(to, n, Shape::any, "memmove");
  return libc_memmove(to, from, n, SIZE_MAX);
}
void* memset(void* to, int byte, size_t n) {
  writes(to, n, Shape::any, "memset");
  return libc_memset(to, byte, n, SIZE_MAX);
}
// the names that newer clangs use
void* __tsan_memcpy(void* to, const void* from, size_t n) {
  reads(from, n, Shape::any, "memcpy"), writes(to, n, Shape::any, "memcpy");
  return libc_memcpy(to, from, n, SIZE_MAX);
}
void* __tsan_memmove(void* to, const void* from, size_t n) {
  reads(from, n, Shape::any, "memmove"), writes(to, n, Shape::any, "memmove");
  return libc_memmove(to, from, n, SIZE_MAX);
}
void* __tsan_memset(void* to, int byte, size_t n) {
  writes(to, n, Shape::any, "memset");
  return libc_memset(to, byte, n, SIZE_MAX);
}
}

// ---- UBSan, for what the calls above cannot see: a load of a float4 may become four loads of floats, and an index beyond
// the end of one array lands in the next.

struct UbsanPlace {
  const char* file;
  uint32_t line, column;
};
struct UbsanType {
  uint16_t kind, info;
  char name[1];
};
struct UbsanMismatch {
  UbsanPlace place;
  const UbsanType* type;
  unsigned char log_alignment, doing;
};
struct UbsanBounds {
  UbsanPlace place;
  const UbsanType *array, *index;
};

[[noreturn]] static void misaligned(const UbsanMismatch& m) {
  const bool by_kernel = gradus::emulation::check_at.in_kernel;
  gradus::emulation::check_at.in_kernel = false;
  const std::string text = std::string(" takes a ") + m.type->name + " from an address that is no multiple of " +
                           std::to_string(1u << m.log_alignment) + " at " + short_line(m.place.file, m.place.line);
  if (!by_kernel) host_error("misaligned: host code" + text);
  kernel_error("misaligned: " + running_thread() + text);
}
[[noreturn]] static void beyond_array(const UbsanBounds& b, uintptr_t index) {
  const bool by_kernel = gradus::emulation::check_at.in_kernel;
  gradus::emulation::check_at.in_kernel = false;
  const std::string text = " takes element " + std::to_string(int64_t(index)) + " of an array of type " +
                           b.array->name + " at " + short_line(b.place.file, b.place.line);
  if (!by_kernel) host_error("out of bounds: host code" + text);
  kernel_error("out of bounds: " + running_thread() + text);
}

extern "C" {
void __ubsan_handle_type_mismatch_v1(UbsanMismatch* m, uintptr_t) { misaligned(*m); }
void __ubsan_handle_type_mismatch_v1_abort(UbsanMismatch* m, uintptr_t) { misaligned(*m); }
void __ubsan_handle_out_of_bounds(UbsanBounds* b, uintptr_t index) { beyond_array(*b, index); }
void __ubsan_handle_out_of_bounds_abort(UbsanBounds* b, uintptr_t index) { beyond_array(*b, index); }
}
