// From an instruction to its line in the source.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace gradus::emulation::check {

// Instructions are kept as distances from the start of the program, which fit into 32 bits. A return address points
// behind its call; one less lies within. 0: not in this program (in a shared library).
uint32_t place_of(const void* return_address);

// "ops/unary.h:33" for each place; needs the debug information of -g1. Where functions were inlined, the innermost one
// that is neither the emulator's nor the standard library's.
std::vector<std::string> source_lines(const std::vector<uint32_t>& places);
std::string source_line(uint32_t place);
std::string short_line(const std::string& file, unsigned line);  // without the folder of the project

// A variable of the program, from its symbol table.
struct Object {
  uintptr_t start;
  size_t bytes;
  std::string name;  // mangled
};
std::vector<Object> variables_of_program();        // by address
std::string readable(const std::string& mangled);  // "tile" of kernel(float*)::tile

}  // namespace gradus::emulation::check
