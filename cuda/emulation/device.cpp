// What the emulated device says about itself.
#include <cstring>

#include "cuda/emulation/error.h"
#include "cuda/emulation/settings.h"

using namespace gradus::emulation;

static cudaError_t check_device(int device) {
  if (settings.devices == 0) return report(cudaErrorNoDevice, "no CUDA-capable device is detected");
  if (device != 0) return report(cudaErrorInvalidDevice, "there is one emulated device, number 0");
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = settings.devices;
  return settings.devices ? cudaSuccess : check_device(0);
}
cudaError_t cudaSetDevice(int device) { return check_device(device); }
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return check_device(0);
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int device) {
  *p = {};
  if (const cudaError_t e = check_device(device)) return e;
  std::strcpy(p->name, "emulated device");
  p->totalGlobalMem = settings.memory;
  p->sharedMemPerBlock = 48 * 1024, p->sharedMemPerBlockOptin = 227 * 1024;
  p->sharedMemPerMultiprocessor = 228 * 1024;
  p->major = 9, p->minor = 0;
  p->multiProcessorCount = 4;  // few: loops over more work than there are blocks are really taken
  p->warpSize = 32, p->maxThreadsPerBlock = 1024, p->maxThreadsPerMultiProcessor = 2048, p->regsPerBlock = 65536;
  p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024, p->maxThreadsDim[2] = 64;
  p->maxGridSize[0] = 0x7fffffff, p->maxGridSize[1] = p->maxGridSize[2] = 65535;
  p->l2CacheSize = 50 << 20, p->memoryBusWidth = 5120, p->concurrentKernels = 1;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp p;
  if (const cudaError_t e = cudaGetDeviceProperties(&p, device)) return e;
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock: *value = p.maxThreadsPerBlock; break;
    case cudaDevAttrMultiProcessorCount: *value = p.multiProcessorCount; break;
    case cudaDevAttrComputeCapabilityMajor: *value = p.major; break;
    case cudaDevAttrComputeCapabilityMinor: *value = p.minor; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = int(p.sharedMemPerBlockOptin); break;
    default: return report(cudaErrorInvalidValue, "cudaDeviceGetAttribute: not emulated");
  }
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) { return *version = 12000, cudaSuccess; }
cudaError_t cudaRuntimeGetVersion(int* version) { return *version = 12000, cudaSuccess; }
