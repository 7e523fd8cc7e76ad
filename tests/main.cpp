// The only file that compiles doctest itself; tests include <doctest/doctest.h> and see just its declarations.
//
// --device=cuda runs the tests with the GPU as default device, so what tests of the CPU make is made there; without a GPU
// it says why and exits with 77, which ctest counts as skipped.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>
#include <cstring>

#include "engine/device.h"

int main(int argc, char** argv) {
  for (int k = 1; k < argc; ++k) {
    if (std::strcmp(argv[k], "--device=cuda") != 0) continue;
    if (!gradus::cuda_available()) {
      std::printf("skipped: %s\n", gradus::why_no_cuda().c_str());
      return 77;
    }
    gradus::set_default_device(gradus::Device::cuda());
  }
  return doctest::Context(argc, argv).run();
}
