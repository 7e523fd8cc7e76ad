// Whose memory does a kernel touch: the device's, shared memory, or some that it may not?
#include <algorithm>

#include "cuda/emulation/check_access.h"
#include "cuda/emulation/check_source.h"
#include "cuda/emulation/language.h"

extern "C" {
extern const char __executable_start, __data_start, _end;
extern const char __start_gradus_builtin, __stop_gradus_builtin;
extern const char __start_gradus_constant __attribute__((weak)), __stop_gradus_constant __attribute__((weak));
}

namespace gradus::emulation::check {

static bool between(const char* p, const char& begin, const char& end) { return p >= &begin && p < &end; }
static uintptr_t page_number(const void* p) { return reinterpret_cast<uintptr_t>(p) / page_bytes; }
static std::string bytes_text(ptrdiff_t n) { return std::to_string(n) + (n == 1 ? " byte" : " bytes"); }

[[noreturn]] static void wild(const Request& r) {
  const Pause pause;
  const Allocation* a = allocation_near(r.address);
  if (!a) bad_access("not device memory", r, in_device_memory(r.address) ? "" : "; is it a pointer of the host?");
  const std::string of = " an allocation of " + bytes_text(ptrdiff_t(a->bytes));
  const ptrdiff_t before = a->start - r.address, beyond = -before - ptrdiff_t(a->bytes);
  if (!a->live) bad_access("memory that was freed", r, ", in" + of);
  if (before > 0) bad_access("out of bounds", r, ", " + bytes_text(before) + " before" + of);
  if (beyond < 0) bad_access("out of bounds", r, ", across the end of" + of);
  bad_access("out of bounds", r, ", " + bytes_text(beyond) + " past the end of" + of);
}

// ---- __shared__ arrays: under the emulator, static variables of functions, whose mangled names begin with _ZZ

static Page* const variable_pages = new Page[page_number(&_end) - page_number(&__data_start) + 1];

static bool is_shared(const Object& variable) { return variable.name.starts_with("_ZZ"); }

// A place between two variables, or in one of the host's, was probably reached by going beyond the end of a shared array.
[[noreturn]] static void beyond_variable(const Request& r, const std::vector<Object>& variables, size_t after) {
  const auto at = reinterpret_cast<uintptr_t>(r.address);
  for (size_t i = after; i-- > 0 && at - variables[i].start < variables[i].bytes + 256;) {
    const Object& v = variables[i];
    if (!is_shared(v)) continue;
    const auto beyond = ptrdiff_t(at - v.start) - ptrdiff_t(v.bytes);
    bad_access("out of bounds", r,
               ", " + (beyond < 0 ? "across" : bytes_text(beyond) + " past") + " the end of `" + readable(v.name) +
                   "`, which has " + bytes_text(ptrdiff_t(v.bytes)));
  }
  const bool within = after > 0 && at - variables[after - 1].start < variables[after - 1].bytes;
  bad_access("not device memory", r,
             within ? ": `" + readable(variables[after - 1].name) + "` is a variable of the host" : "");
}

static Page* page_of_variable(const Request& r) {
  Page& page = variable_pages[page_number(r.address) - page_number(&__data_start)];
  if (size_t(r.address - page.start) < page.bytes && size_t(r.address - page.start) + r.bytes <= page.bytes)
    return &page;
  const Pause pause;
  static const std::vector<Object> variables = variables_of_program();
  if (variables.empty()) return &page;  // a program without symbols
  const auto at = reinterpret_cast<uintptr_t>(r.address);
  const auto after = std::upper_bound(variables.begin(), variables.end(), at,
                                      [](uintptr_t address, const Object& v) { return address < v.start; });
  if (after == variables.begin() || !is_shared(after[-1]) || at - after[-1].start + r.bytes > after[-1].bytes)
    beyond_variable(r, variables, size_t(after - variables.begin()));
  page.start = reinterpret_cast<const char*>(after[-1].start), page.bytes = after[-1].bytes;
  return &page;
}

// ---- dynamic shared memory: at most 227 KiB

static Page* const dynamic_pages = new Page[256 * 1024 / page_bytes];

static Page* page_of_dynamic(const Request& r) {
  if (!in_dynamic_shared(r.address + r.bytes - 1)) {
    const Pause pause;
    bad_access("out of bounds", r, ", across the end of dynamic shared memory");
  }
  return &dynamic_pages[page_number(r.address) - page_number(dynamic_shared())];
}

// ----

Page* find_page(const Request& r, Space& space) {
  const char* p = r.address;
  if (in_device_memory(p)) {
    Page* page = device_page(p);
    if (!page || size_t(p - page->start) + r.bytes > page->bytes) wild(r);
    space = Space::global;
    return page;
  }
  space = Space::shared;
  if (in_dynamic_shared(p)) return page_of_dynamic(r);
  if (between(p, __start_gradus_builtin, __stop_gradus_builtin)) return nullptr;  // threadIdx and its like
  const bool constant =
      between(p, __executable_start, __data_start) || between(p, __start_gradus_constant, __stop_gradus_constant);
  if (constant && r.kind == Kind::read) return nullptr;
  if (constant) bad_access("constant memory", r, "");
  if (between(p, __data_start, _end)) return page_of_variable(r);
  wild(r);
}

}  // namespace gradus::emulation::check
