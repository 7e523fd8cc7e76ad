// What the program file tells: lines (by addr2line of Debian's binutils) and the symbol table. See check_source.h.
#include "cuda/emulation/check_source.h"

#include <cxxabi.h>
#include <elf.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <string_view>

extern "C" const char __executable_start, etext;

namespace gradus::emulation::check {

uint32_t place_of(const void* return_address) {
  const auto p = static_cast<const char*>(return_address);
  return p > &__executable_start && p <= &etext ? uint32_t(p - 1 - &__executable_start) : 0;
}

// ---- lines

// This file's path, less its end: the folder in front of all ours.
static std::string_view project_folder() {
  const std::string_view path = __FILE__, end = "cuda/emulation/check_source.cpp";
  return path.ends_with(end) ? path.substr(0, path.size() - end.size()) : std::string_view();
}

static std::string without_folder(const std::string& line) {
  const auto folder = project_folder();
  return line.starts_with(folder) ? line.substr(folder.size()) : line;
}
std::string short_line(const std::string& file, unsigned line) {
  return without_folder(file + ":" + std::to_string(line));
}

static bool of_emulator(std::string_view line) {
  return line.find("cuda/emulation/") != line.npos || line.starts_with("/usr/") || line.starts_with("??");
}

// One run of addr2line for all; starting it takes longest. With -a it repeats each address before its lines.
static std::map<uint32_t, std::string> ask_addr2line(const std::vector<uint32_t>& places) {
  std::map<uint32_t, std::string> lines;
  std::string command = "addr2line -ai -e /proc/" + std::to_string(getpid()) + "/exe";
  for (uint32_t p : places) {
    char address[16];
    std::snprintf(address, sizeof address, " 0x%x", p);
    command += address;
  }
  std::unique_ptr<FILE, int (*)(FILE*)> answer(popen((command + " 2>/dev/null").c_str(), "r"), pclose);
  if (!answer) return lines;
  char text[4096];
  uint32_t place = 0;
  while (std::fgets(text, sizeof text, answer.get())) {
    std::string line = text;
    line = line.substr(0, line.find_first_of(" \n"));
    if (line.starts_with("0x")) {
      place = uint32_t(std::strtoul(line.c_str(), nullptr, 16));
      continue;
    }
    std::string& known = lines[place];
    if (known.empty() || (of_emulator(known) && !of_emulator(line))) known = line;
  }
  return lines;
}

std::vector<std::string> source_lines(const std::vector<uint32_t>& places) {
  static auto& known = *new std::map<uint32_t, std::string>;  // never destroyed: the lint asks at the program's end
  std::vector<uint32_t> unknown;
  for (uint32_t p : places)
    if (p && !known.count(p)) unknown.push_back(p);
  if (!unknown.empty()) {
    const auto lines = ask_addr2line(unknown);
    for (uint32_t p : unknown) {
      const auto found = lines.find(p);
      char address[64];
      std::snprintf(address, sizeof address, "0x%x (no %s)", p, lines.empty() ? "addr2line: install binutils" : "-g1");
      const std::string line = found == lines.end() || found->second.starts_with("??") ? address : found->second;
      known[p] = without_folder(line);
    }
  }
  std::vector<std::string> lines;
  for (uint32_t p : places) lines.push_back(p ? known[p] : "a shared library");
  return lines;
}
std::string source_line(uint32_t place) { return source_lines({place})[0]; }

// ---- symbols

template <class T> static std::vector<T> read_table(std::ifstream& file, size_t offset, size_t count) {
  std::vector<T> table(count);
  file.seekg(std::streamoff(offset));
  file.read(reinterpret_cast<char*>(table.data()), std::streamsize(count * sizeof(T)));
  return table;
}

std::vector<Object> variables_of_program() {
  std::vector<Object> objects;
  std::ifstream file("/proc/self/exe", std::ios::binary);
  const auto header = read_table<Elf64_Ehdr>(file, 0, 1)[0];
  const auto sections = read_table<Elf64_Shdr>(file, header.e_shoff, header.e_shnum);
  // A program that moves (PIE) counts its addresses from 0; __executable_start says where that is.
  const auto origin = header.e_type == ET_DYN ? reinterpret_cast<uintptr_t>(&__executable_start) : 0;
  for (const Elf64_Shdr& s : sections) {
    if (s.sh_type != SHT_SYMTAB) continue;
    const auto names = read_table<char>(file, sections[s.sh_link].sh_offset, sections[s.sh_link].sh_size);
    for (const Elf64_Sym& symbol : read_table<Elf64_Sym>(file, s.sh_offset, s.sh_size / sizeof(Elf64_Sym)))
      if (ELF64_ST_TYPE(symbol.st_info) == STT_OBJECT && symbol.st_size > 0 && symbol.st_shndx != SHN_UNDEF)
        objects.push_back({origin + symbol.st_value, symbol.st_size, &names[symbol.st_name]});
  }
  std::sort(objects.begin(), objects.end(), [](const Object& a, const Object& b) { return a.start < b.start; });
  return objects;
}

std::string readable(const std::string& mangled) {
  int status = 0;
  std::unique_ptr<char, void (*)(void*)> text(abi::__cxa_demangle(mangled.c_str(), nullptr, nullptr, &status),
                                              std::free);
  const std::string name = text ? text.get() : mangled;
  const auto last = name.rfind("::");  // of kernel(float*)::tile, the name of the variable
  return last == name.npos ? name : name.substr(last + 2);
}

}  // namespace gradus::emulation::check
