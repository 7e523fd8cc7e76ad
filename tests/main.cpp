// The only file that compiles doctest itself; tests include <doctest/doctest.h> and see just its declarations.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
