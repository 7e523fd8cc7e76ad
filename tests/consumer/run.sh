#!/bin/sh
# Builds and runs the consumer project against an installed Gradus, as a subdirectory, and through FetchContent.
# Usage: run.sh BUILD_DIR   (a finished build of Gradus, which is installed below BUILD_DIR/consumer)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
gradus=$(cd "$here/../.." && pwd)
build=$(cd "$1" && pwd)
work=$build/consumer

rm -rf "$work/prefix" # a header that is no longer installed must not linger
cmake --install "$build" --prefix "$work/prefix" >"$work.install.log"

try() {
  how=$1 && shift
  echo "== $how"
  cmake -S "$here" -B "$work/$how" -G Ninja -DHOW="$how" -DGRADUS="$gradus" "$@" >/dev/null
  cmake --build "$work/$how"
  "$work/$how/consumer"
}

try package -DCMAKE_PREFIX_PATH="$work/prefix"
# Not optimised, since these two compile the whole library; one as a shared library, so that this is tried as well.
try subdirectory -DCMAKE_BUILD_TYPE=Debug -DBUILD_SHARED_LIBS=ON
try fetchcontent -DCMAKE_BUILD_TYPE=Debug
