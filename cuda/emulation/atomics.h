// Atomic operations. Only one fiber runs at a time, so each is a plain read and write that the checker knows to be atomic.
//
// They are not inlined and not instrumented: the checker sees one atomic access, from the line of the caller.
#pragma once
#include <cstddef>
#include <type_traits>

#define GRADUS_ATOMIC __attribute__((noinline, no_sanitize("thread")))

namespace gradus::emulation {
void touch_atomic(void* p, size_t bytes, void* pc);  // tells the checker, when there is one
}

template <class T> GRADUS_ATOMIC T atomicAdd(T* p, std::type_identity_t<T> v) {
  gradus::emulation::touch_atomic(p, sizeof(T), __builtin_return_address(0));
  const T old = *p;
  *p = old + v;
  return old;
}
template <class T> GRADUS_ATOMIC T atomicMax(T* p, std::type_identity_t<T> v) {
  gradus::emulation::touch_atomic(p, sizeof(T), __builtin_return_address(0));
  const T old = *p;
  *p = old < v ? v : old;
  return old;
}
template <class T> GRADUS_ATOMIC T atomicMin(T* p, std::type_identity_t<T> v) {
  gradus::emulation::touch_atomic(p, sizeof(T), __builtin_return_address(0));
  const T old = *p;
  *p = v < old ? v : old;
  return old;
}
template <class T> GRADUS_ATOMIC T atomicOr(T* p, std::type_identity_t<T> v) {
  gradus::emulation::touch_atomic(p, sizeof(T), __builtin_return_address(0));
  const T old = *p;
  *p = old | v;
  return old;
}
template <class T> GRADUS_ATOMIC T atomicExch(T* p, std::type_identity_t<T> v) {
  gradus::emulation::touch_atomic(p, sizeof(T), __builtin_return_address(0));
  const T old = *p;
  *p = v;
  return old;
}
template <class T> GRADUS_ATOMIC T atomicCAS(T* p, std::type_identity_t<T> expected, std::type_identity_t<T> v) {
  gradus::emulation::touch_atomic(p, sizeof(T), __builtin_return_address(0));
  const T old = *p;
  if (old == expected) *p = v;
  return old;
}
inline void __threadfence() {}
inline void __threadfence_block() {}

#undef GRADUS_ATOMIC
