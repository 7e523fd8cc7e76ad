// Atomic operations of code compiled with -fsanitize=thread, which asks us to carry them out: std::atomic in host code.
// Kernels use those of atomics.h. All orders are taken for the strongest one.
#include <cstdint>

#include "cuda/emulation/check_access.h"

using namespace gradus::emulation::check;

template <class T> [[gnu::always_inline]] static inline void seen(volatile T* p) {
  touch(const_cast<T*>(p), sizeof(T), Kind::atomic, Shape::aligned, __builtin_return_address(0), "std::atomic");
}
template <class T> [[gnu::always_inline]] static inline bool exchanges(volatile T* p, T* expected, T v) {
  seen(p);
  return __atomic_compare_exchange_n(p, expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

extern "C" {

void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
void __tsan_atomic_signal_fence(int) { __atomic_signal_fence(__ATOMIC_SEQ_CST); }

// ---- 8 bits
uint8_t __tsan_atomic8_load(const volatile uint8_t* p, int) {
  return seen(const_cast<volatile uint8_t*>(p)), __atomic_load_n(p, __ATOMIC_SEQ_CST);
}
void __tsan_atomic8_store(volatile uint8_t* p, uint8_t v, int) { seen(p), __atomic_store_n(p, v, __ATOMIC_SEQ_CST); }
uint8_t __tsan_atomic8_exchange(volatile uint8_t* p, uint8_t v, int) {
  return seen(p), __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);
}
uint8_t __tsan_atomic8_fetch_add(volatile uint8_t* p, uint8_t v, int) {
  return seen(p), __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST);
}
uint8_t __tsan_atomic8_fetch_sub(volatile uint8_t* p, uint8_t v, int) {
  return seen(p), __atomic_fetch_sub(p, v, __ATOMIC_SEQ_CST);
}
uint8_t __tsan_atomic8_fetch_and(volatile uint8_t* p, uint8_t v, int) {
  return seen(p), __atomic_fetch_and(p, v, __ATOMIC_SEQ_CST);
}
uint8_t __tsan_atomic8_fetch_or(volatile uint8_t* p, uint8_t v, int) {
  return seen(p), __atomic_fetch_or(p, v, __ATOMIC_SEQ_CST);
}
uint8_t __tsan_atomic8_fetch_xor(volatile uint8_t* p, uint8_t v, int) {
  return seen(p), __atomic_fetch_xor(p, v, __ATOMIC_SEQ_CST);
}
uint8_t __tsan_atomic8_fetch_nand(volatile uint8_t* p, uint8_t v, int) {
  return seen(p), __atomic_fetch_nand(p, v, __ATOMIC_SEQ_CST);
}
bool __tsan_atomic8_compare_exchange_strong(volatile uint8_t* p, uint8_t* e, uint8_t v, int, int) {
  return exchanges(p, e, v);
}
bool __tsan_atomic8_compare_exchange_weak(volatile uint8_t* p, uint8_t* e, uint8_t v, int, int) {
  return exchanges(p, e, v);
}
uint8_t __tsan_atomic8_compare_exchange_val(volatile uint8_t* p, uint8_t e, uint8_t v, int, int) {
  return exchanges(p, &e, v), e;
}

// ---- 16 bits
uint16_t __tsan_atomic16_load(const volatile uint16_t* p, int) {
  return seen(const_cast<volatile uint16_t*>(p)), __atomic_load_n(p, __ATOMIC_SEQ_CST);
}
void __tsan_atomic16_store(volatile uint16_t* p, uint16_t v, int) { seen(p), __atomic_store_n(p, v, __ATOMIC_SEQ_CST); }
uint16_t __tsan_atomic16_exchange(volatile uint16_t* p, uint16_t v, int) {
  return seen(p), __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);
}
uint16_t __tsan_atomic16_fetch_add(volatile uint16_t* p, uint16_t v, int) {
  return seen(p), __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST);
}
uint16_t __tsan_atomic16_fetch_sub(volatile uint16_t* p, uint16_t v, int) {
  return seen(p), __atomic_fetch_sub(p, v, __ATOMIC_SEQ_CST);
}
uint16_t __tsan_atomic16_fetch_and(volatile uint16_t* p, uint16_t v, int) {
  return seen(p), __atomic_fetch_and(p, v, __ATOMIC_SEQ_CST);
}
uint16_t __tsan_atomic16_fetch_or(volatile uint16_t* p, uint16_t v, int) {
  return seen(p), __atomic_fetch_or(p, v, __ATOMIC_SEQ_CST);
}
uint16_t __tsan_atomic16_fetch_xor(volatile uint16_t* p, uint16_t v, int) {
  return seen(p), __atomic_fetch_xor(p, v, __ATOMIC_SEQ_CST);
}
uint16_t __tsan_atomic16_fetch_nand(volatile uint16_t* p, uint16_t v, int) {
  return seen(p), __atomic_fetch_nand(p, v, __ATOMIC_SEQ_CST);
}
bool __tsan_atomic16_compare_exchange_strong(volatile uint16_t* p, uint16_t* e, uint16_t v, int, int) {
  return exchanges(p, e, v);
}
bool __tsan_atomic16_compare_exchange_weak(volatile uint16_t* p, uint16_t* e, uint16_t v, int, int) {
  return exchanges(p, e, v);
}
uint16_t __tsan_atomic16_compare_exchange_val(volatile uint16_t* p, uint16_t e, uint16_t v, int, int) {
  return exchanges(p, &e, v), e;
}

// ---- 32 bits
uint32_t __tsan_atomic32_load(const volatile uint32_t* p, int) {
  return seen(const_cast<volatile uint32_t*>(p)), __atomic_load_n(p, __ATOMIC_SEQ_CST);
}
void __tsan_atomic32_store(volatile uint32_t* p, uint32_t v, int) { seen(p), __atomic_store_n(p, v, __ATOMIC_SEQ_CST); }
uint32_t __tsan_atomic32_exchange(volatile uint32_t* p, uint32_t v, int) {
  return seen(p), __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);
}
uint32_t __tsan_atomic32_fetch_add(volatile uint32_t* p, uint32_t v, int) {
  return seen(p), __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST);
}
uint32_t __tsan_atomic32_fetch_sub(volatile uint32_t* p, uint32_t v, int) {
  return seen(p), __atomic_fetch_sub(p, v, __ATOMIC_SEQ_CST);
}
uint32_t __tsan_atomic32_fetch_and(volatile uint32_t* p, uint32_t v, int) {
  return seen(p), __atomic_fetch_and(p, v, __ATOMIC_SEQ_CST);
}
uint32_t __tsan_atomic32_fetch_or(volatile uint32_t* p, uint32_t v, int) {
  return seen(p), __atomic_fetch_or(p, v, __ATOMIC_SEQ_CST);
}
uint32_t __tsan_atomic32_fetch_xor(volatile uint32_t* p, uint32_t v, int) {
  return seen(p), __atomic_fetch_xor(p, v, __ATOMIC_SEQ_CST);
}
uint32_t __tsan_atomic32_fetch_nand(volatile uint32_t* p, uint32_t v, int) {
  return seen(p), __atomic_fetch_nand(p, v, __ATOMIC_SEQ_CST);
}
bool __tsan_atomic32_compare_exchange_strong(volatile uint32_t* p, uint32_t* e, uint32_t v, int, int) {
  return exchanges(p, e, v);
}
bool __tsan_atomic32_compare_exchange_weak(volatile uint32_t* p, uint32_t* e, uint32_t v, int, int) {
  return exchanges(p, e, v);
}
uint32_t __tsan_atomic32_compare_exchange_val(volatile uint32_t* p, uint32_t e, uint32_t v, int, int) {
  return exchanges(p, &e, v), e;
}

// ---- 64 bits
uint64_t __tsan_atomic64_load(const volatile uint64_t* p, int) {
  return seen(const_cast<volatile uint64_t*>(p)), __atomic_load_n(p, __ATOMIC_SEQ_CST);
}
void __tsan_atomic64_store(volatile uint64_t* p, uint64_t v, int) { seen(p), __atomic_store_n(p, v, __ATOMIC_SEQ_CST); }
uint64_t __tsan_atomic64_exchange(volatile uint64_t* p, uint64_t v, int) {
  return seen(p), __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);
}
uint64_t __tsan_atomic64_fetch_add(volatile uint64_t* p, uint64_t v, int) {
  return seen(p), __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST);
}
uint64_t __tsan_atomic64_fetch_sub(volatile uint64_t* p, uint64_t v, int) {
  return seen(p), __atomic_fetch_sub(p, v, __ATOMIC_SEQ_CST);
}
uint64_t __tsan_atomic64_fetch_and(volatile uint64_t* p, uint64_t v, int) {
  return seen(p), __atomic_fetch_and(p, v, __ATOMIC_SEQ_CST);
}
uint64_t __tsan_atomic64_fetch_or(volatile uint64_t* p, uint64_t v, int) {
  return seen(p), __atomic_fetch_or(p, v, __ATOMIC_SEQ_CST);
}
uint64_t __tsan_atomic64_fetch_xor(volatile uint64_t* p, uint64_t v, int) {
  return seen(p), __atomic_fetch_xor(p, v, __ATOMIC_SEQ_CST);
}
uint64_t __tsan_atomic64_fetch_nand(volatile uint64_t* p, uint64_t v, int) {
  return seen(p), __atomic_fetch_nand(p, v, __ATOMIC_SEQ_CST);
}
bool __tsan_atomic64_compare_exchange_strong(volatile uint64_t* p, uint64_t* e, uint64_t v, int, int) {
  return exchanges(p, e, v);
}
bool __tsan_atomic64_compare_exchange_weak(volatile uint64_t* p, uint64_t* e, uint64_t v, int, int) {
  return exchanges(p, e, v);
}
uint64_t __tsan_atomic64_compare_exchange_val(volatile uint64_t* p, uint64_t e, uint64_t v, int, int) {
  return exchanges(p, &e, v), e;
}
}
