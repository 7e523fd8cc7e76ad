// Element types. A tensor knows its type at run time, so user code is never a template, and grad_check can run the same
// user function again in f64. Formulas are templates over T; `dispatch_*` picks the instantiation, once per op.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

#include "engine/error.h"

// The only macro of the project: marks what also runs on a GPU.
#ifdef __CUDACC__
#define HD __host__ __device__
#else
#define HD
#endif

namespace gradus {

using Index = std::int64_t;

enum class DType : std::uint8_t { f32, f64, i32, i64, u8 };

constexpr std::size_t size_of(DType t) {
  constexpr std::size_t bytes[] = {4, 8, 4, 8, 1};
  return bytes[int(t)];
}
constexpr const char* name_of(DType t) {
  constexpr const char* names[] = {"f32", "f64", "i32", "i64", "u8"};
  return names[int(t)];
}
constexpr bool is_floating(DType t) { return t == DType::f32 || t == DType::f64; }

template <class T> struct NotAnElementType;  // never defined: the compiler's message names T
template <class T> constexpr DType dtype_of = NotAnElementType<T>::value;
template <> inline constexpr DType dtype_of<float> = DType::f32;
template <> inline constexpr DType dtype_of<double> = DType::f64;
template <> inline constexpr DType dtype_of<std::int32_t> = DType::i32;
template <> inline constexpr DType dtype_of<std::int64_t> = DType::i64;
template <> inline constexpr DType dtype_of<std::uint8_t> = DType::u8;

// Calls f.operator()<float>() or <double>(); other types are an error of `op`.
template <class F> decltype(auto) dispatch_float(std::string_view op, DType t, F&& f) {
  if (t == DType::f32) return f.template operator()<float>();
  if (t == DType::f64) return f.template operator()<double>();
  fail(op, std::string("needs f32 or f64, got ") + name_of(t) + "; convert with to(DType::f32)");
}

// The same for index tensors, i32 or i64.
template <class F> decltype(auto) dispatch_index(std::string_view op, DType t, F&& f) {
  if (t == DType::i32) return f.template operator()<std::int32_t>();
  if (t == DType::i64) return f.template operator()<std::int64_t>();
  fail(op, std::string("needs indices of type i32 or i64, got ") + name_of(t) + "; convert with to(DType::i64)");
}

// The same for all five types.
template <class F> decltype(auto) dispatch(DType t, F&& f) {
  switch (t) {
    case DType::f32: return f.template operator()<float>();
    case DType::f64: return f.template operator()<double>();
    case DType::i32: return f.template operator()<std::int32_t>();
    case DType::i64: return f.template operator()<std::int64_t>();
    case DType::u8: break;
  }
  return f.template operator()<std::uint8_t>();
}

}  // namespace gradus
