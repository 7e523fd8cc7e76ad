// The CPU: memory from the pool, matrix products from engine/gemm.cpp. And which device is meant when none is named.
#include <algorithm>
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
  void upload(void* to, const void* from, std::size_t bytes) override { copy(to, from, bytes); }
  void download(void* to, const void* from, std::size_t bytes) override { copy(to, from, bytes); }
  void fill(DType dtype, void* memory, Index n, double value) override {
    dispatch(dtype, [&]<class T>() {
      T* out = static_cast<T*>(memory);
      parallel_for(n, Index(1) << 20, [=](Index begin, Index end) { std::fill(out + begin, out + end, T(value)); });
    });
  }
  void count(DType dtype, void* memory, Index n) override {
    dispatch(dtype, [&]<class T>() {
      T* out = static_cast<T*>(memory);
      for (Index i = 0; i < n; ++i) out[i] = T(i);
    });
  }
  void convert(DType from, const void* x, DType to, void* y, Index n) override {
    dispatch(from, [&]<class From>() {
      dispatch(to, [&]<class To>() {
        const From* in = static_cast<const From*>(x);
        To* out = static_cast<To*>(y);
        parallel_for(n, serial_below, [=](Index begin, Index end) {
          for (Index i = begin; i < end; ++i) out[i] = To(in[i]);
        });
      });
    });
  }
  void add(DType dtype, const void* x, void* y, Index n) override {
    dispatch_float("add", dtype, [&]<class T>() {
      const T* in = static_cast<const T*>(x);
      T* out = static_cast<T*>(y);
      parallel_for(n, serial_below, [=](Index begin, Index end) {
#pragma omp simd
        for (Index i = begin; i < end; ++i) out[i] += in[i];
      });
    });
  }
  void gemm(DType dtype, const Gemm& g, const void* a, const void* b, void* c) override {
    dispatch_float("gemm", dtype, [&]<class T>() {
      cpu_gemm(g, static_cast<const T*>(a), static_cast<const T*>(b), static_cast<T*>(c));
    });
  }
  void synchronize() override {}
  std::unique_ptr<Graph> capture(const std::function<void()>& f) override {
    struct Again final : Graph {
      std::function<void()> f;
      void replay() override { f(); }
    };
    f();
    auto again = std::make_unique<Again>();
    again->f = f;
    return again;
  }

 private:
  template <class F> static void each_part(std::size_t bytes, const F& f) {
    if (bytes == 0) return;
    parallel_for(Index(bytes), Index(1) << 20,
                 [&](Index begin, Index end) { f(std::size_t(begin), std::size_t(end - begin)); });
  }
};

Device* chosen = nullptr;
MatmulPrecision precision = MatmulPrecision::exact;

}  // namespace

Device& Device::cpu() {
  static auto* device = new CpuDevice;  // outlives every tensor
  return *device;
}

Device& Device::named(std::string_view name) {
  if (name == "cpu") return cpu();
  if (name == "cuda") return cuda();
  fail("device", "there is no device '" + std::string(name) + "'; use cpu or cuda");
}

Device& default_device() { return chosen ? *chosen : Device::cpu(); }
void set_default_device(Device& device) { chosen = &device; }

MatmulPrecision matmul_precision() { return precision; }
void set_matmul_precision(MatmulPrecision p) { precision = p; }

}  // namespace gradus
