#include "engine/dtype.h"

#include <doctest/doctest.h>

using namespace gradus;

TEST_SUITE("dtype") {
  TEST_CASE("every type has a size, a name and a C++ type") {
    for (const DType t : {DType::f32, DType::f64, DType::i32, DType::i64, DType::u8}) {
      CHECK(dispatch(t, []<class T>() { return sizeof(T); }) == size_of(t));
      CHECK(dispatch(t, []<class T>() { return dtype_of<T>; }) == t);
    }
    CHECK(std::string(name_of(DType::f32)) == "f32");
    CHECK(std::string(name_of(DType::u8)) == "u8");
    CHECK(is_floating(DType::f64));
    CHECK(!is_floating(DType::i32));
  }

  TEST_CASE("a formula for floats refuses integers, one for indices refuses floats, and both say what to do") {
    const auto size = []<class T>() { return sizeof(T); };
    CHECK(dispatch_float("exp", DType::f64, size) == 8);
    CHECK(dispatch_index("gather", DType::i32, size) == 4);
    CHECK_THROWS_WITH_AS(dispatch_float("exp", DType::i64, size),
                         "[exp] needs f32 or f64, got i64; convert with to(DType::f32)", Error);
    CHECK_THROWS_WITH_AS(dispatch_index("gather", DType::f32, size),
                         "[gather] needs indices of type i32 or i64, got f32; convert with to(DType::i64)", Error);
  }

  TEST_CASE("a line of the user's program is printed as file and number") {
    CHECK(UserLine{}.text().empty());
    CHECK(UserLine{"/home/me/train.cpp", 41}.text() == "train.cpp:41");
    CHECK(UserLine{"train.cpp", 1}.text() == "train.cpp:1");
    const UserLine here = user_line();
    CHECK(here.line == __LINE__ - 1);
    CHECK(here.text().starts_with("dtype_test.cpp:"));
  }
}
