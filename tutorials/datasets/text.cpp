#include "tutorials/datasets/text.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <vector>

#include "engine/error.h"

namespace gradus {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t most_bytes = std::size_t(64) << 20;

void append_file(const fs::path& path, std::string& text) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail("read_text", "cannot open " + path.string() + "; is it there, and may you read it?");
  // In chunks, because a pipe or a device does not know its size beforehand.
  while (file) {
    std::size_t size = text.size(), chunk = 1 << 16;
    text.resize(size + chunk);
    file.read(text.data() + size, std::streamsize(chunk));
    text.resize(size + std::size_t(file.gcount()));
    if (text.size() > most_bytes) {
      fail("read_text", "more than " + std::to_string(most_bytes >> 20) + " MiB by " + path.string() +
                            "; give a shorter text, such as: head -c 60000000 FILE > SHORTER");
    }
  }
  if (file.bad()) fail("read_text", "reading " + path.string() + " broke off after a part; is the disk sound?");
}

std::vector<fs::path> files_of(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
    bool hidden = entry.path().filename().string().starts_with('.');
    if (entry.is_regular_file(error) && !entry.is_symlink(error) && !hidden) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

std::string read_text(const std::string& path) {
  std::error_code ignored;  // what is no folder is opened as a file, and reported there
  bool folder = fs::is_directory(path, ignored);
  std::string text;
  for (const fs::path& file : folder ? files_of(path) : std::vector<fs::path>{path}) append_file(file, text);
  if (text.empty()) {
    fail("read_text", path + (folder ? " is a folder without text: expected regular files in it" : " is empty") +
                          "; give a file with text in it");
  }
  return text;
}

std::string default_text() {
  const char* licences = "/usr/share/common-licenses";
  if (!fs::is_directory(licences)) {
    fail("default_text", std::string("there is no ") + licences + " on this machine; give a text with: --data FILE");
  }
  return read_text(licences);
}

TextSplit split_text(std::string_view text) {
  auto continues = [](char c) { return (c & 0xC0) == 0x80; };  // a byte inside a UTF-8 character
  std::size_t cut = text.size() / 10 * 9 + text.size() % 10 * 9 / 10;
  while (cut < text.size() && continues(text[cut])) ++cut;
  return {.train = text.substr(0, cut), .held_out = text.substr(cut)};
}

}  // namespace gradus
