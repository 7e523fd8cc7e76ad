// What stands in for cuda/ in a program that was built without it: no device, and the reason.
#include "engine/device.h"

namespace gradus {

std::string why_no_cuda() {
  return "this program was built without CUDA: build the target gradus_cuda (needs nvcc), or gradus_emulated, which "
         "runs "
         "the same kernels on the CPU";
}

Device& Device::cuda() { fail("cuda", "no CUDA device: " + why_no_cuda()); }

}  // namespace gradus
