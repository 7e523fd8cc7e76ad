#include "models/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <set>

#include "models/file.h"
#include "models/json.h"

namespace gradus {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors is little endian");

constexpr std::uint64_t longest_header = 100'000'000;

// In the order in which their tensors stand in a file.
struct FileType {
  DType dtype;
  std::string_view name;
};
constexpr FileType file_types[] = {
    {DType::i64, "I64"}, {DType::f64, "F64"}, {DType::f32, "F32"}, {DType::i32, "I32"}, {DType::u8, "U8"}};

std::size_t place(DType dtype) {
  const auto same = [dtype](const FileType& t) { return t.dtype == dtype; };
  return std::size_t(std::find_if(std::begin(file_types), std::end(file_types), same) - std::begin(file_types));
}

std::string_view bytes_of(const Tensor& x) {
  return dispatch(x.dtype(), [&]<class T>() {
    return std::string_view(reinterpret_cast<const char*>(x.data<T>()), std::size_t(x.numel()) * sizeof(T));
  });
}

std::string metadata_text(const Metadata& metadata) {
  std::string text = "\"__metadata__\":{";
  for (const auto& [key, value] : metadata) text += json_string(key) + ":" + json_string(value) + ",";
  if (!metadata.empty()) text.pop_back();
  return text + "}";
}

std::string entry_text(const Tensor& x, std::size_t begin) {
  const std::string offsets = std::to_string(begin) + "," + std::to_string(begin + bytes_of(x).size());
  return json_string(x.name()) + ":{\"dtype\":\"" + std::string(file_types[place(x.dtype())].name) +
         "\",\"shape\":" + x.shape().text() + ",\"data_offsets\":[" + offsets + "]}";
}

// ---- reading

struct Entry {
  std::string name, dtype;
  std::vector<Index> shape;
  std::vector<Index> offsets;  // begin, end
};

struct Header {
  std::vector<Entry> entries;
  Metadata metadata;
};

class Reader {
 public:
  explicit Reader(const std::string& path) : path_(path), file_(read_file("read_safetensors", path)) {}

  Safetensors read() {
    Header header = read_header();
    auto& entries = header.entries;
    std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.offsets < b.offsets; });
    Safetensors result{{}, std::move(header.metadata)};
    Index end = 0;
    for (const Entry& entry : entries) {
      if (entry.offsets[0] != end) {
        wrong("the data of '" + entry.name + "' begins at " + std::to_string(entry.offsets[0]) + ", but " +
              std::to_string(end) + " bytes stand before it: tensors overlap or leave a gap");
      }
      end = entry.offsets[1];
      result.tensors.push_back(read_tensor(entry));
    }
    if (std::size_t(end) != data_.size()) {
      wrong(std::to_string(data_.size()) + " bytes of data, but the tensors take " + std::to_string(end) +
            (std::size_t(end) > data_.size() ? ": the file is cut short" : ": bytes are left over"));
    }
    return result;
  }

 private:
  std::string path_, file_;
  std::string_view data_;

  [[noreturn]] void wrong(const std::string& text) const { fail("read_safetensors", path_ + ": " + text); }

  Header read_header() {
    std::uint64_t length = 0;
    if (file_.size() < sizeof length) wrong("too short to be a safetensors file");
    std::memcpy(&length, file_.data(), sizeof length);
    if (length > longest_header || length > file_.size() - sizeof length) {
      wrong("a header of " + std::to_string(length) + " bytes in a file of " + std::to_string(file_.size()) +
            ": cut short, or not a safetensors file");
    }
    const std::string_view text = std::string_view(file_).substr(sizeof length, length);
    data_ = std::string_view(file_).substr(sizeof length + length);

    Header header;
    std::set<std::string> names;
    JsonReader json(text, "read_safetensors", path_);
    json.object([&](const std::string& name) {
      if (!names.insert(name).second) wrong("'" + name + "' appears twice");
      if (name == "__metadata__") {
        json.object([&](const std::string& key) {
          if (!header.metadata.emplace(key, json.string()).second) wrong("metadata '" + key + "' appears twice");
        });
      } else {
        header.entries.push_back(read_entry(json, name));
      }
    });
    json.end();
    return header;
  }

  Entry read_entry(JsonReader& json, const std::string& name) const {
    Entry entry{name, {}, {}, {}};
    std::set<std::string> keys;
    json.object([&](const std::string& key) {
      if (!keys.insert(key).second) wrong("'" + key + "' of '" + name + "' appears twice");
      if (key == "dtype") {
        entry.dtype = json.string();
      } else if (key == "shape") {
        entry.shape = json.counts();
      } else if (key == "data_offsets") {
        entry.offsets = json.counts();
      } else {
        wrong("'" + name + "' has an unknown field '" + key + "'");
      }
    });
    if (keys.size() != 3) wrong("'" + name + "' needs dtype, shape and data_offsets");
    const auto& offsets = entry.offsets;
    if (offsets.size() != 2 || offsets[0] > offsets[1]) wrong("'" + name + "' has wrong data_offsets");
    return entry;
  }

  Shape read_shape(const Entry& entry) const {
    try {
      return Shape(entry.shape);
    } catch (const Error& error) {  // too many axes or elements
      wrong("'" + entry.name + "': " + error.what());
    }
  }

  Tensor read_tensor(const Entry& entry) const {
    const auto named = [&](const FileType& t) { return t.name == entry.dtype; };
    const FileType* type = std::find_if(std::begin(file_types), std::end(file_types), named);
    if (type == std::end(file_types)) {
      wrong("'" + entry.name + "' has type " + entry.dtype + "; known are F32, F64, I32, I64 and U8: convert it first");
    }
    const Shape shape = read_shape(entry);
    const auto bytes = std::size_t(entry.offsets[1] - entry.offsets[0]), each = size_of(type->dtype);
    if (bytes % each != 0 || bytes / each != std::size_t(shape.numel())) {  // a product could overflow
      wrong("'" + entry.name + "' has " + std::to_string(bytes) + " bytes, but is " + entry.dtype + " " + shape.text());
    }
    if (std::size_t(entry.offsets[1]) > data_.size()) wrong("'" + entry.name + "' ends beyond the file, cut short");
    Tensor x = empty(shape, type->dtype, Device::cpu());
    dispatch(x.dtype(), [&]<class T>() { std::memcpy(x.data_mut<T>(), data_.data() + entry.offsets[0], bytes); });
    x.body().name = entry.name;
    return x;
  }
};

}  // namespace

Tensor renamed(const Tensor& x, std::string name) {
  Tensor view = x.detach();
  view.body().name = std::move(name);
  return view;
}

void write_safetensors(const std::string& path, const std::vector<Tensor>& tensors, const Metadata& metadata) {
  std::vector<Tensor> sorted = tensors;
  for (const Tensor& x : sorted) {
    if (!x) fail("write_safetensors", "a tensor is undefined");
    if (x.name().empty() || x.name() == "__metadata__") {
      fail("write_safetensors", x.describe() + " needs a name to be saved under; use named(\"...\")");
    }
  }
  const auto order = [](const Tensor& x) { return std::pair(place(x.dtype()), std::string_view(x.name())); };
  std::sort(sorted.begin(), sorted.end(), [&](const Tensor& a, const Tensor& b) { return order(a) < order(b); });

  std::set<std::string_view> names;
  std::string header = "{";
  if (!metadata.empty()) header += metadata_text(metadata) + ",";
  std::vector<std::string_view> pieces = {{}, {}};  // length and header, known at the end
  std::vector<Tensor> hosts;                        // what the pieces view
  std::size_t offset = 0;
  for (const Tensor& x : sorted) {
    if (!names.insert(x.name()).second) fail("write_safetensors", "two tensors are named '" + x.name() + "'");
    header += entry_text(x, offset) + ",";
    pieces.push_back(bytes_of(hosts.emplace_back(x.host())));
    offset += pieces.back().size();
  }
  if (header.back() == ',') header.pop_back();
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');

  const std::uint64_t length = header.size();
  pieces[0] = {reinterpret_cast<const char*>(&length), sizeof length};
  pieces[1] = header;
  write_file("write_safetensors", path, pieces);
}

Safetensors read_safetensors(const std::string& path) { return Reader(path).read(); }

}  // namespace gradus
