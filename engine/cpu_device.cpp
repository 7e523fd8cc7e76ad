// The CPU: memory from the pool, matrix products from engine/gemm.cpp.
#include <cstring>

#include "engine/gemm.h"
#include "engine/parallel.h"
#include "engine/pool.h"

namespace gradus {
namespace {

struct CpuDevice final : Device {
  const char* name() const override { return "cpu"; }
  bool is_cpu() const override { return true; }
  void* allocate(std::size_t bytes) override { return pool_allocate(bytes); }
  void release(void* memory, std::size_t bytes) override { pool_release(memory, bytes); }
  void copy(void* to, const void* from, std::size_t bytes) override {
    each_part(bytes, [=](std::size_t begin, std::size_t count) {
      std::memcpy(static_cast<char*>(to) + begin, static_cast<const char*>(from) + begin, count);
    });
  }
  void fill_zero(void* memory, std::size_t bytes) override {
    each_part(bytes,
              [=](std::size_t begin, std::size_t count) { std::memset(static_cast<char*>(memory) + begin, 0, count); });
  }
  void gemm(DType dtype, const Gemm& g, const void* a, const void* b, void* c) override {
    dispatch_float("gemm", dtype, [&]<class T>() {
      cpu_gemm(g, static_cast<const T*>(a), static_cast<const T*>(b), static_cast<T*>(c));
    });
  }
  void synchronize() override {}

 private:
  template <class F> static void each_part(std::size_t bytes, const F& f) {
    if (bytes == 0) return;
    parallel_for(Index(bytes), Index(1) << 20,
                 [&](Index begin, Index end) { f(std::size_t(begin), std::size_t(end - begin)); });
  }
};

}  // namespace

Device& Device::cpu() {
  static auto* device = new CpuDevice;  // outlives every tensor
  return *device;
}

}  // namespace gradus
