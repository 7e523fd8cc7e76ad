// The file format: exact bytes, files as Python writes them, and files that are damaged in every way we could think of.
#include "models/safetensors.h"

#include <bit>
#include <cstring>
#include <filesystem>
#include <limits>

#include "models/file.h"
#include "models/json.h"
#include "tests/datasets/temp_folder.h"
#include "tests/models/model_tools.h"
#include "tests/support/leak_guard.h"

using namespace gradus;
using doctest::Contains;

namespace {

std::string length_of(std::uint64_t n) {
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &n, 8);
  return bytes;
}

// A file of this header and this many bytes of data: 0, 1, 2, ...
std::string file_of(const std::string& header, std::size_t data) {
  std::string bytes = length_of(header.size()) + header;
  for (std::size_t i = 0; i < data; ++i) bytes += char(i);
  return bytes;
}

std::string floats(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

// One tensor 'a' with these fields.
std::string entry(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return "{\"a\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}}";
}

}  // namespace

TEST_SUITE("models/safetensors") {
  TEST_CASE("all types, scalars and empty tensors come back as they were") {
    const LeakGuard guard;
    const TempFolder folder;
    const std::string path = folder.path + "/x.safetensors";
    const double infinity = std::numeric_limits<double>::infinity();
    std::vector<Tensor> saved = {tensor({1.5, -infinity, 1e-40}, {3, 1}).named("f"),
                                 tensor({0.1, 0.2}, DType::f64).named("d"),
                                 labels({-5, 1, Index(1) << 60}).named("l"),
                                 tensor({-7, 8}, DType::i32).named("i"),
                                 tensor({0, 255}, DType::u8).named("u"),
                                 scalar(3).named("scalar"),
                                 zeros({0, 4}).named("empty")};
    write_safetensors(path, saved, {{"key", "value"}});
    const Safetensors loaded = read_safetensors(path);
    CHECK(loaded.metadata == Metadata{{"key", "value"}});
    REQUIRE(loaded.tensors.size() == saved.size());
    for (const Tensor& x : saved) {
      for (const Tensor& y : loaded.tensors) {
        if (x.name() != y.name()) continue;
        CHECK(y.describe() == x.describe());
        CHECK(y.to_vector() == x.to_vector());
      }
    }
    CHECK(loaded.tensors[0].at({2}) == double(Index(1) << 60));  // 8-byte types first
  }

  TEST_CASE("the bytes are those of Python's writer") {
    const TempFolder folder;
    const std::string path = folder.path + "/x.safetensors";
    write_safetensors(path, {tensor({1, 2}).named("b"), tensor({3}).named("a")}, {{"format", "pt"}});
    const std::string header =
        R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
        R"("b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})";
    const std::string padded = header + std::string((8 - header.size() % 8) % 8, ' ');
    CHECK(read_file("test", path) == length_of(padded.size()) + padded + floats({3, 1, 2}));
  }

  TEST_CASE("equal content gives equal bytes, in whatever order it was given") {
    const TempFolder folder;
    const Tensor a = ones({2}).named("a"), b = labels({3}).named("b");
    write_safetensors(folder.path + "/1", {a, b});
    write_safetensors(folder.path + "/2", {b, a});
    CHECK(read_file("test", folder.path + "/1") == read_file("test", folder.path + "/2"));
  }

  TEST_CASE("files of other writers are read: white space, key order, escapes, tensors in any order") {
    const TempFolder folder;
    const std::string header =
        " {\n\t\"b\\u00e9\\ud83d\\ude00\\/\\n\" : { \"data_offsets\" : [ 4 , 12 ] , \"shape\" : [ 2 ] , \"dtype\" : "
        "\"F32\" } ,\r\n"
        "\"__metadata__\" : { \"a\\\"b\" : \"\\\\ \\t\" } ,"
        "\"a\":{\"shape\":[],\"dtype\":\"F32\",\"data_offsets\":[0,4]} }  ";
    const std::string path = folder.write("x", length_of(header.size()) + header + floats({3, 1, 2}));
    const Safetensors loaded = read_safetensors(path);
    CHECK(names_of(loaded.tensors) == std::vector<std::string>{"a", "b\u00e9\U0001f600/\n"});
    CHECK(loaded.tensors[0].item() == 3);
    CHECK(loaded.tensors[1].to_vector() == std::vector<double>{1, 2});
    CHECK(loaded.metadata == Metadata{{"a\"b", "\\ \t"}});

    const std::string none = folder.write("none", file_of("{}", 0));
    CHECK(read_safetensors(none).tensors.empty());
  }

  TEST_CASE("names with quotes, backslashes, control characters and UTF-8 survive a round trip") {
    const TempFolder folder;
    const std::string name = "a\"\\\n\x01/\u00e9\U0001f600";
    write_safetensors(folder.path + "/x", {ones({1}).named(name)}, {{name, name}});
    const Safetensors loaded = read_safetensors(folder.path + "/x");
    CHECK(loaded.tensors[0].name() == name);
    CHECK(loaded.metadata.at(name) == name);
  }

  TEST_CASE("every damaged or foreign file is one error that names the file") {
    const LeakGuard guard;
    const TempFolder folder;
    const std::string good = entry("F32", "[2]", "[0,8]");
    const std::string two = R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)";
    struct Case {
      std::string bytes, message;
    };
    const std::vector<Case> cases = {
        {"", "too short"},
        {"abc", "too short"},
        {length_of(1000) + "{}", "a header of 1000 bytes in a file of 10"},
        {length_of(~0ull) + "{}", "not a safetensors file"},
        {length_of(100'000'001) + "{}", "a header of 100000001 bytes"},
        {"PK\3\4 some other kind of file", "not a safetensors file"},
        {file_of("", 0), "expected '{'"},
        {file_of("[]", 0), "expected '{'"},
        {file_of("{} x", 0), "expected the end"},
        {file_of(std::string("{}\0", 3), 0), "expected the end"},
        {file_of("{\"a\"", 0), "expected ':'"},
        {file_of("{\"a", 0), "expected the end of a string"},
        {file_of("{\"\\x\"", 0), "expected an escape"},
        {file_of("{\"\\u12g4\"", 0), "four hexadecimal digits"},
        {file_of("{\"\\ud83d\"", 0), "surrogates"},
        {file_of("{\"a\nb\"", 0), "control character"},
        {file_of("{\"a\":1}", 0), "expected '{'"},
        {file_of(good, 7), "cut short"},
        {file_of(good, 9), "bytes are left over"},
        {file_of(good + ",", 8), "expected the end"},
        {file_of(entry("F32", "[2]", "[0,4]"), 4), "'a' has 4 bytes, but is F32 [2]"},
        {file_of(entry("F32", "[2]", "[0,7]"), 7), "'a' has 7 bytes"},
        {file_of(entry("F32", "[2]", "[4,12]"), 12), "overlap or leave a gap"},
        {file_of(entry("F32", "[2]", "[8,0]"), 8), "wrong data_offsets"},
        {file_of(entry("F32", "[2]", "[0]"), 8), "wrong data_offsets"},
        {file_of(entry("F32", "[2]", "[0,8,8]"), 8), "wrong data_offsets"},
        {file_of(entry("F32", "[-2]", "[0,8]"), 8), "expected a count"},
        {file_of(entry("F32", "[2.0]", "[0,8]"), 8), "expected ']'"},
        {file_of(entry("F32", "[02]", "[0,8]"), 8), "expected a count"},
        {file_of(entry("F32", "[2,]", "[0,8]"), 8), "expected a count"},
        {file_of(entry("F32", "[99999999999999999999]", "[0,8]"), 8), "expected a count"},
        {file_of(entry("F32", "[4611686018427387904,4]", "[0,0]"), 0), "too many elements"},
        {file_of(entry("F64", "[2305843009213693952]", "[0,0]"), 0), "'a' has 0 bytes"},
        {file_of(entry("F32", "[1,1,1,1,1,1,1]", "[0,4]"), 4), "at most 6 axes"},
        {file_of(entry("BF16", "[4]", "[0,8]"), 8), "'a' has type BF16; known are F32"},
        {file_of(entry("f32", "[2]", "[0,8]"), 8), "has type f32"},
        {file_of("{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8), "needs dtype, shape and data_offsets"},
        {file_of("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}", 8), "'dtype' of 'a' appears twice"},
        {file_of("{\"a\":{\"extra\":1}}", 8), "unknown field 'extra'"},
        {file_of(two + R"("a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})", 8), "'a' appears twice"},
        {file_of(two + R"("b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})", 6), "overlap or leave a gap"},
        {file_of(two + R"("b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 4), "overlap or leave a gap"},
        {file_of(two + R"("b":{"dtype":"U8","shape":[4],"data_offsets":[5,9]}})", 9), "overlap or leave a gap"},
        {file_of(R"({"__metadata__":{"a":1}})", 0), "expected '\"'"},
        {file_of(R"({"__metadata__":{"a":"1","a":"2"}})", 0), "metadata 'a' appears twice"},
        {file_of(R"({"__metadata__":{},"__metadata__":{}})", 0), "'__metadata__' appears twice"},
    };
    for (const Case& c : cases) {
      CAPTURE(c.message);
      const std::string path = folder.write("bad", c.bytes);
      CHECK_THROWS_WITH_AS(read_safetensors(path), Contains(c.message.c_str()), Error);
      CHECK_THROWS_WITH_AS(read_safetensors(path), Contains(("[read_safetensors] " + path + ": ").c_str()), Error);
    }
  }

  TEST_CASE("a file cut anywhere, or with any byte of its header changed, never crashes the reader") {
    const TempFolder folder;
    write_safetensors(folder.path + "/x", {ones({2, 3}).named("a"), labels({1, 2}).named("b")}, {{"k", "v"}});
    const std::string whole = read_file("test", folder.path + "/x");
    for (std::size_t n = 0; n < whole.size(); ++n) {
      CHECK_THROWS_AS(read_safetensors(folder.write("cut", whole.substr(0, n))), Error);
    }
    const std::size_t header_end = whole.size() - 40;
    for (std::size_t n = 0; n < header_end; ++n) {
      for (const char c : {'\0', '"', '9', '}', '\xff'}) {
        std::string changed = whole;
        changed[n] = c;
        try {
          read_safetensors(folder.write("changed", changed));  // a changed name is still a good file
        } catch (const Error&) {}
      }
    }
  }

  TEST_CASE("what cannot be saved is an error, and the file that was there stays") {
    const TempFolder folder;
    const std::string path = folder.write("x", "precious");
    CHECK_THROWS_WITH_AS(write_safetensors(path, {ones({2})}), Contains("needs a name"), Error);
    CHECK_THROWS_WITH_AS(write_safetensors(path, {Tensor()}), Contains("undefined"), Error);
    CHECK_THROWS_WITH_AS(write_safetensors(path, {ones({2}).named("a"), ones({1}).named("a")}),
                         Contains("two tensors are named 'a'"), Error);
    CHECK(read_file("test", path) == "precious");
  }

  TEST_CASE("a place that cannot be written or read is an error with the system's reason") {
    const TempFolder folder;
    CHECK_THROWS_WITH_AS(write_safetensors(folder.path + "/no/x", {}), Contains("No such file or directory"), Error);
    CHECK_THROWS_WITH_AS(read_safetensors(folder.path + "/no"), Contains("No such file or directory"), Error);
    CHECK_THROWS_AS(read_safetensors(folder.path), Error);
    std::filesystem::create_directory(folder.path + "/d");
    CHECK_THROWS_WITH_AS(write_safetensors(folder.path + "/d", {}), Contains("cannot write"), Error);
    CHECK(std::distance(std::filesystem::directory_iterator(folder.path), {}) == 1);  // no temporary file is left
  }

  TEST_CASE("numbers are written so that they read back equal, and what is no number is null") {
    CHECK(json_number(0.1) == "0.1");
    CHECK(json_number(3) == "3");
    CHECK(json_number(std::numeric_limits<double>::quiet_NaN()) == "null");
    CHECK(json_number(-std::numeric_limits<double>::infinity()) == "null");
  }
}
