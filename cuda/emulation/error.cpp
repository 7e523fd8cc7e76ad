// Errors of the emulated device. See error.h.
#include "cuda/emulation/error.h"

namespace gradus::emulation {

static thread_local cudaError_t unread = cudaSuccess;     // for cudaGetLastError()
static thread_local cudaError_t described = cudaSuccess;  // the code that `words` belong to
static thread_local std::string words;

cudaError_t report(cudaError_t code, const std::string& text) {
  if (unread == cudaSuccess) unread = described = code, words = text;
  return code;
}
void add_to_report(const std::string& text) { words += text; }
cudaError_t last_error() { return unread; }

static const char* name(cudaError_t code) {
  switch (code) {
    case cudaSuccess: return "cudaSuccess";
    case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration: return "cudaErrorInvalidConfiguration";
    case cudaErrorInvalidMemcpyDirection: return "cudaErrorInvalidMemcpyDirection";
    case cudaErrorInsufficientDriver: return "cudaErrorInsufficientDriver";
    case cudaErrorNoDevice: return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice: return "cudaErrorInvalidDevice";
    case cudaErrorInvalidResourceHandle: return "cudaErrorInvalidResourceHandle";
    case cudaErrorNotReady: return "cudaErrorNotReady";
    case cudaErrorIllegalAddress: return "cudaErrorIllegalAddress";
    case cudaErrorLaunchFailure: return "cudaErrorLaunchFailure";
    case cudaErrorNotSupported: return "cudaErrorNotSupported";
    case cudaErrorStreamCaptureUnsupported: return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorStreamCaptureInvalidated: return "cudaErrorStreamCaptureInvalidated";
    case cudaErrorStreamCaptureUnjoined: return "cudaErrorStreamCaptureUnjoined";
    case cudaErrorStreamCaptureImplicit: return "cudaErrorStreamCaptureImplicit";
    case cudaErrorCapturedEvent: return "cudaErrorCapturedEvent";
    case cudaErrorUnknown: return "cudaErrorUnknown";
  }
  return "unrecognized error code";
}

}  // namespace gradus::emulation

using namespace gradus::emulation;

cudaError_t cudaPeekAtLastError() { return unread; }
cudaError_t cudaGetLastError() {
  const cudaError_t e = unread;
  unread = cudaSuccess;
  return e;
}
const char* cudaGetErrorName(cudaError_t code) { return name(code); }
const char* cudaGetErrorString(cudaError_t code) {
  if (code == cudaSuccess) return "no error";
  if (code == cudaErrorNoDevice) return "no CUDA-capable device is detected";
  return code == described ? words.c_str() : name(code);
}
