// Tensors in a file, in the safetensors format (github.com/huggingface/safetensors), which Python reads and writes too:
//
//   8 bytes       n, the length of the header, little endian
//   n bytes       JSON: {"__metadata__": {"key": "text"}, "name": {"dtype": "F32", "shape": [2,3], "data_offsets": [0,24]}}
//   the rest      the elements, little endian, row-major; the offsets count from here and cover every byte once
//
// Types: F32 F64 I32 I64 U8. Equal content gives equal bytes: tensors stand by type, then by name, as Python's writer puts
// them, so that each is aligned.
#pragma once
#include <map>

#include "engine/tensor.h"

namespace gradus {

using Metadata = std::map<std::string, std::string>;

struct Safetensors {
  std::vector<Tensor> tensors;  // each with its name
  Metadata metadata;
};

// Tensors are saved under their names: one without a name, or two with the same, are an error, and nothing is written.
// The file is whole or absent, whatever happens meanwhile (models/file.h).
void write_safetensors(const std::string& path, const std::vector<Tensor>& tensors, const Metadata& metadata = {});

// In the order of the file. Nothing in the file is trusted: a header beyond 100 MB or beyond the file, sizes that overflow,
// overlaps, gaps, missing or extra bytes, repeated names and unknown types are errors that name the file and the tensor.
Safetensors read_safetensors(const std::string& path);

// The same data under another name.
Tensor renamed(const Tensor& x, std::string name);

}  // namespace gradus
