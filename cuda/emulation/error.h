// The last error of each host thread: its CUDA number and what happened, in words.
#pragma once
#include <string>

#include "cuda/emulation/runtime.h"

namespace gradus::emulation {

// Keeps the first error until cudaGetLastError() fetches it. Returns the code.
cudaError_t report(cudaError_t code, const std::string& text);
void add_to_report(const std::string& text);
cudaError_t last_error();

}  // namespace gradus::emulation
