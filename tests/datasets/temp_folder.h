// A folder for the files of one test, removed with everything in it at the end of the test.
#pragma once
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>

struct TempFolder {
  std::string path = (std::filesystem::temp_directory_path() / "gradus_test_XXXXXX").string();

  TempFolder() {
    if (!mkdtemp(path.data())) throw std::runtime_error("cannot make " + path);
  }
  ~TempFolder() { std::filesystem::remove_all(path); }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  // Writes a file of this content, and returns its path.
  std::string write(const std::string& name, const std::string& content) const {
    std::ofstream(path + "/" + name, std::ios::binary) << content;
    return path + "/" + name;
  }
};
